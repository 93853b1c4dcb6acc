"""tinyedge's own wheel: built from the checkout, or rebuilt from the installed package.

In: a folder. Out: a wheel in it, with the same bytes each time. Knows pip, but not which index it uses.
"""

import base64
import csv
import hashlib
import importlib.metadata
import importlib.util
import io
import os
import re
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import tinyedge
from tinyedge.core.errors import DeployError
from tinyedge.core.printable import printable
from tinyedge.host.process_group import run_in_group

DISTRIBUTION = "tinyedge-lm"  # on the package index; `tinyedge` there is another project
WHEEL_PATTERN = "tinyedge_lm-*.whl"
PACKAGE_ROOT = Path(tinyedge.__file__).resolve().parents[1]
# Files that an installer adds to those of the wheel.
INSTALLERS = ("INSTALLER", "REQUESTED", "direct_url.json", "RECORD", "uv_cache.json")
BUILT = ".so"  # kernels that were compiled in the checkout: not a source
EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip file can store
LAST_LINE_CHARACTERS = 300
NO_NETWORK = (
    *("NewConnectionError", "name resolution", "Name or service not known", "Connection refused"),
    *("ConnectTimeout", "Network is unreachable", "ProxyError", "Connection reset"),
)


def build_own_wheel(folder: Path) -> Path:
    """Make tinyedge's wheel in `folder`.

    Raises:
        DeployError: The build failed, or tinyedge is neither a checkout nor an intact installation.
    """
    if is_checkout(PACKAGE_ROOT):
        # Use an installed build backend: an isolated build downloads it each time.
        isolation = ["--no-build-isolation"] if importlib.util.find_spec("hatchling") else []
        run_pip(
            "wheel",
            "--no-deps",
            *isolation,
            "--wheel-dir",
            folder,
            PACKAGE_ROOT,
            task="build tinyedge's own wheel",
        )
        return next(folder.glob(WHEEL_PATTERN))
    try:
        distribution = importlib.metadata.distribution(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        raise DeployError(
            f"{PACKAGE_ROOT} is neither a checkout nor an installed tinyedge, so no wheel can be made of it",
            "install tinyedge with pip, or run it from a checkout",
        ) from None
    return rebuild_wheel(distribution, folder)


def compute_own_digest() -> str:
    """Return a SHA-256 digest of all files that go into the wheels of tinyedge and its kernels."""
    digest = hashlib.sha256()
    if is_checkout(PACKAGE_ROOT):
        metadata = (PACKAGE_ROOT / "pyproject.toml").read_bytes()
        folders = [PACKAGE_ROOT / "tinyedge", PACKAGE_ROOT / "export"]
    else:
        metadata = repr(importlib.metadata.requires(DISTRIBUTION)).encode()
        folders = [PACKAGE_ROOT / "tinyedge"]
    digest.update(metadata)
    for folder in folders:
        for file in sorted(folder.rglob("*")):
            if file.is_file() and file.suffix != BUILT and "__pycache__" not in file.parts:
                content = hashlib.sha256(file.read_bytes()).digest()
                digest.update(str(file.relative_to(folder)).encode() + b"\0" + content)
    return digest.hexdigest()


def is_checkout(root: Path) -> bool:
    """Return whether the folder is a checkout of tinyedge, with the metadata that a build needs."""
    try:
        return bool(tomllib.loads((root / "pyproject.toml").read_text())["project"]["name"] == DISTRIBUTION)
    except (OSError, ValueError, KeyError):
        return False


def rebuild_wheel(distribution: importlib.metadata.Distribution, folder: Path) -> Path:
    """Rebuild the wheel that a distribution was installed from, by its RECORD.

    Scripts and bytecode are left out: the installer creates them again.

    Args:
        distribution: An installed distribution.
        folder: Where to write the wheel.

    Raises:
        DeployError: A file is missing or was changed after the installation.
    """
    name, version = distribution.metadata["Name"], distribution.version
    wheel_text = distribution.read_text("WHEEL")
    if not distribution.files or wheel_text is None:
        raise DeployError(f"{name} {version} has no record of its files", "reinstall it with pip")
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
                    f"{file.locate()} cannot be read: {failure.strerror}", "reinstall tinyedge"
                ) from None
            found = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            if file.hash is None or file.hash.value != found:
                raise DeployError(f"{file.locate()} was changed after it was installed", "reinstall tinyedge")
            rows.writerow((file, f"sha256={found}", len(content)))
            archive.writestr(_make_entry(str(file)), content)
        rows.writerow((f"{information}/RECORD", "", ""))
        archive.writestr(_make_entry(f"{information}/RECORD"), record.getvalue())
    return path


def _make_entry(name: str) -> zipfile.ZipInfo:
    """Return an archive entry with a fixed time and mode, so that the wheel is reproducible."""
    entry = zipfile.ZipInfo(name, EPOCH)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o100644 << 16
    return entry


def run_pip(*arguments: str | Path, task: str, environment: Mapping[str, str] | None = None) -> None:
    """Run pip. If this process is interrupted, pip and the programs that it has started are killed.

    Args:
        arguments: Command and arguments.
        task: Completes "pip cannot ..." in an error.
        environment: Variables in addition to those of this process.

    Raises:
        DeployError: pip failed; the message has pip's own reason.
    """
    command = [sys.executable, *_find_pip(), *map(str, arguments)]
    command += ["--quiet", "--disable-pip-version-check", "--no-input", "--retries", "1"]
    # pip leaves its temporary folders behind when it is killed.
    with tempfile.TemporaryDirectory(prefix="tinyedge-pip-") as temporary:
        result = run_in_group(command, {**os.environ, **(environment or {}), "TMPDIR": temporary})
    # The exit code alone proves nothing: in a process that ignores SIGCHLD, `subprocess` always reports 0.
    if result.returncode == 0 and "\nERROR: " not in f"\n{result.stderr}":
        return
    if any(sign in result.stderr for sign in NO_NETWORK):
        raise DeployError(
            f"pip cannot {task}: the package index cannot be reached",
            "making a kit needs a network; PIP_INDEX_URL selects another index",
        )
    # Errors of a build inside pip are indented.
    lines = [line.strip() for line in result.stderr.splitlines() if line.strip().startswith("ERROR: ")]
    reason = (lines or result.stderr.strip().splitlines() or ["no error message"])[-1].removeprefix("ERROR: ")
    raise DeployError(
        f"pip cannot {task}: {printable(reason, LAST_LINE_CHARACTERS)}", "PIP_INDEX_URL selects another index"
    )


def _find_pip() -> Sequence[str]:
    """Return Python's arguments that run pip: the installed one, else the one that ensurepip bundles."""
    if importlib.util.find_spec("pip"):
        return ("-m", "pip")
    bundled = importlib.util.find_spec("ensurepip")
    folders = [Path("/usr/share/python-wheels")]  # Debian moves it here
    if bundled and bundled.origin:
        folders.insert(0, Path(bundled.origin).parent / "_bundled")
    for folder in folders:
        for wheel in sorted(folder.glob("pip-*.whl")):
            return (f"{wheel}/pip",)
    raise DeployError("pip is not installed, and making a kit needs it", "on Debian: apt install python3-pip")
