"""tinyedge's own wheel: built from the checkout that runs, or put together again from what is installed.

In: a folder. Out: a wheel in it, byte for byte the same each time. Knows pip, and no index.
"""

import base64
import csv
import hashlib
import importlib.metadata
import importlib.util
import io
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Sequence
from pathlib import Path

import tinyedge
from tinyedge.core.errors import DeployError

DISTRIBUTION = "tinyedge-lm"  # on the package index; `tinyedge` there is another project
WHEEL_PATTERN = "tinyedge_lm-*.whl"
PACKAGE_ROOT = Path(tinyedge.__file__).resolve().parents[1]
# What an installer adds to a wheel's files; the last is of an installation that something was changed in.
INSTALLERS = ("INSTALLER", "REQUESTED", "direct_url.json", "RECORD", "uv_cache.json")
EPOCH = (1980, 1, 1, 0, 0, 0)  # the oldest time that a zip can hold
LAST_LINE_CHARACTERS = 300
NO_NETWORK = (
    *("NewConnectionError", "name resolution", "Name or service not known", "Connection refused"),
    *("ConnectTimeout", "Network is unreachable", "ProxyError", "Connection reset"),
)


def own_wheel(folder: Path) -> Path:
    """Makes tinyedge's wheel in `folder`. Raises DeployError where that cannot be done."""
    if is_checkout(PACKAGE_ROOT):
        # The backend is fetched anew for each build unless it is there.
        isolation = ["--no-build-isolation"] if importlib.util.find_spec("hatchling") else []
        pip(
            "wheel", "--no-deps", *isolation, "--wheel-dir", folder, PACKAGE_ROOT, doing="build its own wheel"
        )
        return next(folder.glob(WHEEL_PATTERN))
    try:
        distribution = importlib.metadata.distribution(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        raise DeployError(
            f"{PACKAGE_ROOT} is neither a checkout nor an installed tinyedge, so it has no wheel to send",
            "install tinyedge with pip, or run it from its checkout",
        ) from None
    return wheel_of(distribution, folder)


def own_digest() -> str:
    """Of this very tinyedge, without making its wheel: of all that goes into one."""
    digest = hashlib.sha256()
    if is_checkout(PACKAGE_ROOT):
        metadata = (PACKAGE_ROOT / "pyproject.toml").read_bytes()
        folders = [PACKAGE_ROOT / "tinyedge", PACKAGE_ROOT / "export" / "deploy"]
    else:
        metadata = repr(importlib.metadata.requires(DISTRIBUTION)).encode()
        folders = [PACKAGE_ROOT / "tinyedge"]
    digest.update(metadata)
    for folder in folders:
        for file in sorted(folder.rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                content = hashlib.sha256(file.read_bytes()).digest()
                digest.update(str(file.relative_to(folder)).encode() + b"\0" + content)
    return digest.hexdigest()


def is_checkout(root: Path) -> bool:
    """Whether tinyedge's sources are there, with what a build needs."""
    try:
        return bool(tomllib.loads((root / "pyproject.toml").read_text())["project"]["name"] == DISTRIBUTION)
    except (OSError, ValueError, KeyError):
        return False


def wheel_of(distribution: importlib.metadata.Distribution, folder: Path) -> Path:
    """The wheel that a distribution was installed from, by its RECORD; without scripts and bytecode.

    Raises DeployError where a file is missing or was changed since.
    """
    name, version = distribution.metadata["Name"], distribution.version
    wheel_text = distribution.read_text("WHEEL")
    if not distribution.files or wheel_text is None:
        raise DeployError(f"{name} {version} has no record of its files", "install it again with pip")
    record = io.StringIO()
    rows = csv.writer(record, lineterminator="\n")
    tags = next(line.split(": ")[1] for line in wheel_text.splitlines() if line.startswith("Tag: "))
    stem = f"{re.sub(r'[-_.]+', '_', name)}-{version}"
    path = folder / f"{stem}-{tags}.whl"
    information = f"{stem}.dist-info"
    packages = {file.parts[0] for file in distribution.files if file.parts[1:] == ("__init__.py",)}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(distribution.files, key=str):
            inside = file.parts[0] in {*packages, information} and "__pycache__" not in file.parts
            if not inside or file.name in INSTALLERS:
                continue
            try:
                content = Path(str(file.locate())).read_bytes()
            except OSError as failure:
                raise DeployError(
                    f"{file.locate()} cannot be read: {failure.strerror}", "install tinyedge again"
                ) from None
            found = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            if file.hash is None or file.hash.value != found:
                raise DeployError(
                    f"{file.locate()} was changed after it was installed", "install tinyedge again"
                )
            rows.writerow((file, f"sha256={found}", len(content)))
            archive.writestr(_entry(str(file)), content)
        rows.writerow((f"{information}/RECORD", "", ""))
        archive.writestr(_entry(f"{information}/RECORD"), record.getvalue())
    return path


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, EPOCH)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o100644 << 16
    return entry


def pip(*arguments: str | Path, doing: str) -> None:
    """Runs pip to its end. Raises DeployError with its reason; `doing` completes "pip cannot ..."."""
    command = [sys.executable, *_pip(), *map(str, arguments)]
    command += ["--quiet", "--disable-pip-version-check", "--no-input", "--retries", "1"]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False
    )
    if done.returncode == 0:
        return
    if any(sign in done.stderr for sign in NO_NETWORK):
        raise DeployError(
            f"pip cannot {doing}: it does not reach the package index",
            "the kit is made with a network; PIP_INDEX_URL names another index",
        )
    # Those of a build inside it are indented.
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip().startswith("ERROR: ")]
    reason = (lines or done.stderr.strip().splitlines() or ["it does not say why"])[-1].removeprefix(
        "ERROR: "
    )
    raise DeployError(
        f"pip cannot {doing}: {reason[:LAST_LINE_CHARACTERS]}", "PIP_INDEX_URL names another index"
    )


def _pip() -> Sequence[str]:
    """pip where it is installed, else the one that Python carries for new environments."""
    if importlib.util.find_spec("pip"):
        return ("-m", "pip")
    bundled = importlib.util.find_spec("ensurepip")
    folders = [Path("/usr/share/python-wheels")]  # where Debian has it
    if bundled and bundled.origin:
        folders.insert(0, Path(bundled.origin).parent / "_bundled")
    for folder in folders:
        for wheel in sorted(folder.glob("pip-*.whl")):
            return (f"{wheel}/pip",)
    raise DeployError("pip is not installed, and a kit is made with it", "on Debian: apt install python3-pip")
