"""Made-up wheels for tests."""

import base64
import hashlib
import zipfile
from pathlib import Path


def make_wheel(
    folder: Path, name: str, version: str, files: dict[str, str], requires: tuple[str, ...] = ()
) -> Path:
    """Write a pure-Python wheel.

    Args:
        folder: Where to write it.
        name: Name of the distribution.
        version: Version of the distribution.
        files: Contents by path; bare names such as `entry_points.txt` belong to the folder dist-info.
        requires: Requirements.
    """
    stem = f"{name.replace('-', '_')}-{version}"
    information = f"{stem}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    metadata += "".join(f"Requires-Dist: {requirement}\n" for requirement in requires)
    extras = {part.split("extra == ")[1].strip("'\"") for part in requires if "extra == " in part}
    metadata += "".join(f"Provides-Extra: {extra}\n" for extra in sorted(extras))
    content = {
        **{
            path if "/" in path or path.endswith(".py") else f"{information}/{path}": text
            for path, text in files.items()
        },
        f"{information}/METADATA": metadata,
        f"{information}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(
        f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b'=').decode()},"
        f"{len(text.encode())}\n"
        for path, text in content.items()
    )
    target = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(target, "w") as archive:
        for path, text in {**content, f"{information}/RECORD": f"{record}{information}/RECORD,,\n"}.items():
            archive.writestr(zipfile.ZipInfo(path), text)  # a fixed time
    return target
