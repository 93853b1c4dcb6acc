"""The wheels that a board needs, and the lock file that pins them by hash.

In: a WheelPlatform, tinyedge's own wheel, that of its kernels, an empty folder. Out: the folder with all
wheels, and a Package for each. The requirements come from the wheel's own metadata, with the extra `serve`.
"""

import email
import hashlib
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyedge.boards.wheel_platform import WheelPlatform
from tinyedge.core.errors import DeployError
from tinyedge.deploy.own_wheel import DISTRIBUTION, run_pip

EXTRAS = frozenset({"serve"})
KERNELS_EXTRA = "kernels"  # only with a wheel of the kernels: the package index may have none
MAX_ROUNDS = 5  # of downloads until no requirement is missing; one or two are usual


@dataclass(frozen=True)
class Package:
    """A wheel in the wheelhouse, as kit.json and the lock file describe it."""

    name: str
    """Normalized name of the distribution."""
    version: str
    """Version of the distribution."""
    file: str
    """File name of the wheel."""
    sha256: str
    """SHA-256 of the wheel, in hexadecimal."""
    pythons: tuple[str, ...]
    """Versions of Python that need this wheel."""
    size: int
    """Size of the wheel, in bytes."""
    unpacked: int
    """Size of its files once installed, in bytes, without bytecode."""

    def to_dict(self) -> dict[str, Any]:
        """Return the entry in kit.json."""
        return {**vars(self), "pythons": list(self.pythons)}

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> "Package":
        """Create a package from its entry in kit.json."""
        return cls(**{**value, "pythons": tuple(value["pythons"])})


@dataclass(frozen=True)
class Wheel:
    """Metadata of a wheel file."""

    path: Path
    """The file."""
    name: str
    """Normalized name of the distribution."""
    version: str
    """Version of the distribution."""
    requires: tuple[str, ...]
    """Requirements, as `Requires-Dist` has them."""

    @classmethod
    def read(cls, path: Path) -> "Wheel":
        """Read the metadata of a wheel; raise DeployError if the file is not a wheel."""
        from packaging.utils import canonicalize_name

        try:
            with zipfile.ZipFile(path) as archive:
                (name,) = [
                    n for n in archive.namelist() if n.endswith(".dist-info/METADATA") and n.count("/") == 1
                ]
                metadata = email.message_from_bytes(archive.read(name))
        except (OSError, ValueError, zipfile.BadZipFile) as failure:
            raise DeployError(f"{path} is not a wheel: {failure}", "download it again") from None
        requires = tuple(metadata.get_all("Requires-Dist", ()))
        return cls(path, canonicalize_name(metadata["Name"]), metadata["Version"], requires)


def fill_wheelhouse(
    folder: Path, board: WheelPlatform, own: Path, kernels: Path | None = None
) -> list[Package]:
    """Download all wheels that a board needs to run tinyedge.

    Args:
        folder: An empty folder for the wheels.
        board: Platform of the board.
        own: tinyedge's own wheel; it is copied to `folder` too.
        kernels: Wheel of the native kernels, which is copied too; None for a board without them.

    Returns:
        The wheels that are installed; pip's own wheel is in the folder, but not in this list.

    Raises:
        DeployError: The package index cannot be reached, or has no wheel for the board.
    """
    needed_by: dict[Path, list[str]] = {}
    for python in board.pythons:
        downloads = folder / f".{python}"
        downloads.mkdir()
        for wheel in _download_requirements(downloads, board, python, own, kernels):
            target = folder / wheel.path.name
            wheel.path.rename(target)
            needed_by.setdefault(target, []).append(python)
        for unused in downloads.iterdir():
            unused.unlink()
        downloads.rmdir()
    # pip is not installed on the board: it installs from its own wheel, so the board needs no python3-venv.
    run_pip(
        "download",
        "--dest",
        folder,
        "--no-deps",
        "--only-binary=:all:",
        "pip",
        task="download its own wheel for the board",
    )
    return [describe_package(path, pythons) for path, pythons in sorted(needed_by.items())]


def format_lock(packages: Iterable[Package], board: WheelPlatform, note: str) -> str:
    """Format `requirements.lock` for `pip install --require-hashes`; `note` is its first comment."""
    versions: dict[tuple[str, str], list[Package]] = {}
    for package in packages:
        versions.setdefault((package.name, package.version), []).append(package)
    lines = [f"# {note}"]
    for (name, version), wheels in sorted(versions.items()):
        pythons = {python for wheel in wheels for python in wheel.pythons}
        line = f"{name}=={version}"
        if pythons < set(board.pythons):
            line += " ; " + " or ".join(f'python_version == "{python}"' for python in sorted(pythons))
        lines.append(" \\\n    ".join([line, *sorted(f"--hash=sha256:{wheel.sha256}" for wheel in wheels)]))
    return "\n".join(lines) + "\n"


def _download_requirements(
    folder: Path, board: WheelPlatform, python: str, own: Path, kernels: Path | None
) -> list[Wheel]:
    """Download the wheels for one version of Python; `folder` may then hold others too.

    `pip download` chooses wheels for the board, but evaluates markers such as `python_version < "3.13"` for
    the Python that runs pip: on 3.13 it skips what 3.11 needs. So the requirements are resolved here, and
    the missing ones are requested by name.

    Returns:
        The wheels that are needed, tinyedge's own first.
    """
    extras = EXTRAS | ({KERNELS_EXTRA} if kernels else set())
    requested = [f"{own}[{','.join(sorted(extras))}]", *([str(kernels)] if kernels else [])]
    constraints = folder / "constraints"
    for _ in range(MAX_ROUNDS):
        _download(
            folder,
            board,
            python,
            [*requested, "--constraint", str(constraints)] if constraints.exists() else requested,
        )
        wheels = {wheel.name: wheel for wheel in map(Wheel.read, sorted(folder.glob("*.whl")))}
        needed, missing = resolve_requirements(wheels, DISTRIBUTION, extras, board.markers(python))
        if not missing:
            return needed
        constraints.write_text(
            "".join(f"{w.name}=={w.version}\n" for w in wheels.values() if w.name != DISTRIBUTION)
        )
        requested = missing
    raise DeployError(
        f"pip cannot download a requirement of tinyedge on Python {python}: {missing[0]}",
        "PIP_INDEX_URL selects another index",
    )


def resolve_requirements(
    wheels: dict[str, Wheel], root: str, extras: frozenset[str], markers: dict[str, str]
) -> tuple[list[Wheel], list[str]]:
    """Find the direct and indirect requirements of a distribution among the wheels at hand.

    Args:
        wheels: Wheels by normalized name.
        root: Name of the distribution.
        extras: Its extras to include.
        markers: Values of the environment markers.

    Returns:
        The wheels that are needed, `root` first, and the requirements that no wheel satisfies.
    """
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    found: dict[str, Wheel] = {}
    missing: list[str] = []
    queue: list[tuple[str, frozenset[str]]] = [(root, extras)]
    seen = set(queue)
    while queue:
        name, chosen = queue.pop(0)
        wheel = found[name] = wheels[name]
        for text in wheel.requires:
            requirement = Requirement(text)
            if requirement.marker and not any(
                requirement.marker.evaluate({**markers, "extra": item}) for item in chosen or {""}
            ):
                continue
            other = wheels.get(canonicalize_name(requirement.name))
            if other is None or not requirement.specifier.contains(other.version, prereleases=True):
                missing.append(f"{requirement.name}{requirement.specifier}")
                continue
            step = (other.name, frozenset(requirement.extras))
            if step not in seen:
                seen.add(step)
                queue.append(step)
    return list(found.values()), missing


def _download(folder: Path, board: WheelPlatform, python: str, requested: Sequence[str]) -> None:
    platforms = [word for name in board.platforms for word in ("--platform", name)]
    abis = [word for name in board.abis(python) for word in ("--abi", name)]
    run_pip(
        *("download", "--dest", folder, "--only-binary=:all:", "--implementation", "cp"),
        *("--python-version", python, *abis, *platforms, *requested),
        task=f"download the wheels for Python {python} on {board.machine}",
    )


def describe_package(path: Path, pythons: Sequence[str]) -> Package:
    """Compute the entry of a wheel in the lock file; `pythons` are the versions of Python that need it."""
    wheel = Wheel.read(path)
    content = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
    digest = hashlib.sha256(content).hexdigest()
    return Package(wheel.name, wheel.version, path.name, digest, tuple(pythons), len(content), unpacked)
