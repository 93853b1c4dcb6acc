"""The wheels that a board needs, and the lock that says which, by hash.

In: a WheelPlatform, tinyedge's own wheel, an empty folder. Out: the folder filled, and Packages. What is
needed is what the wheel's own metadata requires, the extra `serve` included.
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
from tinyedge.deploy.own_wheel import DISTRIBUTION, pip

EXTRA = "serve"
MAX_ROUNDS = 5  # of asking pip for what it left out; one is usual


@dataclass(frozen=True)
class Package:
    """A wheel. name: normalized. pythons: those that need it. unpacked: its bytes once installed."""

    name: str
    version: str
    file: str
    sha256: str
    pythons: tuple[str, ...]
    size: int
    unpacked: int

    def to_dict(self) -> dict[str, Any]:
        """As in kit.json."""
        return {**vars(self), "pythons": list(self.pythons)}

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> "Package":
        """The reverse."""
        return cls(**{**value, "pythons": tuple(value["pythons"])})


@dataclass(frozen=True)
class Wheel:
    """What a wheel says of itself. requires: as in its metadata."""

    path: Path
    name: str
    version: str
    requires: tuple[str, ...]

    @classmethod
    def read(cls, path: Path) -> "Wheel":
        """Raises DeployError where the file is no wheel."""
        from packaging.utils import canonicalize_name

        try:
            with zipfile.ZipFile(path) as archive:
                (name,) = [
                    n for n in archive.namelist() if n.endswith(".dist-info/METADATA") and n.count("/") == 1
                ]
                metadata = email.message_from_bytes(archive.read(name))
        except (OSError, ValueError, zipfile.BadZipFile) as failure:
            raise DeployError(f"{path} is not a wheel: {failure}", "get it again") from None
        requires = tuple(metadata.get_all("Requires-Dist", ()))
        return cls(path, canonicalize_name(metadata["Name"]), metadata["Version"], requires)


def fill(folder: Path, board: WheelPlatform, own: Path) -> list[Package]:
    """Downloads into `folder` what `board` needs to run the wheel `own`, which is put there too.

    Raises DeployError where there is no network, or no wheel for the board.
    """
    needed_by: dict[Path, list[str]] = {}
    for python in board.pythons:
        into = folder / f".{python}"
        into.mkdir()
        for wheel in _resolve(into, board, python, own):
            target = folder / wheel.path.name
            wheel.path.rename(target)
            needed_by.setdefault(target, []).append(python)
        for left in into.iterdir():
            left.unlink()
        into.rmdir()
    # No part of what is installed: the board makes its environment with it, so it needs no python3-venv.
    pip(
        "download",
        "--dest",
        folder,
        "--no-deps",
        "--only-binary=:all:",
        "pip",
        doing="get itself for the board",
    )
    return [package(path, pythons) for path, pythons in sorted(needed_by.items())]


def lock(packages: Iterable[Package], board: WheelPlatform, note: str) -> str:
    """`requirements.lock`, as `pip install --require-hashes` reads it."""
    versions: dict[tuple[str, str], list[Package]] = {}
    for one in packages:
        versions.setdefault((one.name, one.version), []).append(one)
    lines = [f"# {note}"]
    for (name, version), wheels in sorted(versions.items()):
        pythons = {python for wheel in wheels for python in wheel.pythons}
        line = f"{name}=={version}"
        if pythons < set(board.pythons):
            line += " ; " + " or ".join(f'python_version == "{python}"' for python in sorted(pythons))
        lines.append(" \\\n    ".join([line, *sorted(f"--hash=sha256:{wheel.sha256}" for wheel in wheels)]))
    return "\n".join(lines) + "\n"


def _resolve(folder: Path, board: WheelPlatform, python: str, own: Path) -> list[Wheel]:
    """The wheels of one Python, own first; they are in `folder`, perhaps with others.

    pip chooses wheels for the board but asks the Python that runs it for `python_version < "3.13"` and the
    like: on 3.13 it leaves out what 3.11 needs. So what is needed is found here, and asked for by name.
    """
    asked = [f"{own}[{EXTRA}]"]
    constraints = folder / "constraints"
    for _ in range(MAX_ROUNDS):
        _download(
            folder,
            board,
            python,
            [*asked, "--constraint", str(constraints)] if constraints.exists() else asked,
        )
        wheels = {wheel.name: wheel for wheel in map(Wheel.read, sorted(folder.glob("*.whl")))}
        needed, missing = needs(wheels, DISTRIBUTION, EXTRA, board.markers(python))
        if not missing:
            return needed
        constraints.write_text(
            "".join(f"{w.name}=={w.version}\n" for w in wheels.values() if w.name != DISTRIBUTION)
        )
        asked = missing
    raise DeployError(
        f"pip does not give what tinyedge needs with Python {python}: {missing[0]}",
        "PIP_INDEX_URL names another index",
    )


def needs(
    wheels: dict[str, Wheel], root: str, extra: str, markers: dict[str, str]
) -> tuple[list[Wheel], list[str]]:
    """What `root` needs, and what that needs: the wheels, and requirements that none of them fulfils."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    found: dict[str, Wheel] = {}
    missing: list[str] = []
    queue: list[tuple[str, frozenset[str]]] = [(root, frozenset({extra}))]
    seen = set(queue)
    while queue:
        name, extras = queue.pop(0)
        wheel = found[name] = wheels[name]
        for text in wheel.requires:
            wanted = Requirement(text)
            if wanted.marker and not any(
                wanted.marker.evaluate({**markers, "extra": one}) for one in extras or {""}
            ):
                continue
            other = wheels.get(canonicalize_name(wanted.name))
            if other is None or not wanted.specifier.contains(other.version, prereleases=True):
                missing.append(f"{wanted.name}{wanted.specifier}")
                continue
            step = (other.name, frozenset(wanted.extras))
            if step not in seen:
                seen.add(step)
                queue.append(step)
    return list(found.values()), missing


def _download(folder: Path, board: WheelPlatform, python: str, asked: Sequence[str]) -> None:
    platforms = [word for name in board.platforms for word in ("--platform", name)]
    abis = [word for name in board.abis(python) for word in ("--abi", name)]
    pip(
        *("download", "--dest", folder, "--only-binary=:all:", "--implementation", "cp"),
        *("--python-version", python, *abis, *platforms, *asked),
        doing=f"get the wheels of Python {python} on {board.machine}",
    )


def package(path: Path, pythons: Sequence[str]) -> Package:
    """What a lock has to know of a wheel."""
    wheel = Wheel.read(path)
    content = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
    digest = hashlib.sha256(content).hexdigest()
    return Package(wheel.name, wheel.version, path.name, digest, tuple(pythons), len(content), unpacked)
