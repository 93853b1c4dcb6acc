"""Where the twin lives and how a program is started: one folder that may be deleted at any time."""

import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tinyedge.core.errors import TinyEdgeError

REPOSITORY = Path(__file__).resolve().parents[2]
SOURCES = Path(__file__).resolve().parent
DEFAULT_FOLDER = REPOSITORY / "build" / "twin"
SUITES = {"bookworm": "3.11", "trixie": "3.13"}  # Raspberry Pi OS follows Debian; each suite has its Python
TAIL = 1500  # characters of a failed program's output that are worth showing


class TwinError(TinyEdgeError):
    """The twin cannot be built or does not do what the board does."""


class UnavailableError(TwinError):
    """This machine has not what a twin is built from: programs, Debian's packages or a network."""


@dataclass(frozen=True)
class Twin:
    """The folder of one twin. suite: the Debian of its root."""

    folder: Path
    suite: str = "bookworm"

    @property
    def python_version(self) -> str:
        """Of the board's Python, as in 3.11."""
        return SUITES[self.suite]

    @property
    def tools(self) -> Path:
        """Debian's QEMU for single programs, and pip, with all they need, unpacked."""
        return self.folder / "tools"

    @property
    def system_tools(self) -> Path:
        """Debian's QEMU for a whole machine, with all it needs, unpacked."""
        return self.folder / "system-tools"

    @property
    def root(self) -> Path:
        """The board's file system."""
        return self.folder / f"root-{self.suite}"

    @property
    def packages(self) -> Path:
        """Python packages inside the root, those that tinyedge needs."""
        return self.root / "opt" / "packages"

    @property
    def product(self) -> Path:
        """tinyedge inside the root, as its wheel installs it; apart, so that a change replaces it alone."""
        return self.root / "opt" / "tinyedge"

    @property
    def wheels(self) -> Path:
        """What was downloaded for `packages`."""
        return self.folder / f"wheels-{self.suite}"

    @property
    def bad_packages(self) -> Path:
        """The onnxruntime that a Pi cannot run; never inside the root."""
        return self.folder / f"bad-packages-{self.suite}"

    @property
    def kernel(self) -> Path:
        """Debian's arm64 kernel, unpacked."""
        return self.folder / "kernel"

    @property
    def image(self) -> Path:
        """The root as a disk."""
        return self.folder / "disk.ext4"

    @property
    def plugin(self) -> Path:
        """The counting plugin, compiled."""
        return self.folder / "counter.so"


def twin_at(folder: Path | None, suite: str) -> Twin:
    """The twin in `folder`, else in $TWIN, else in build/twin."""
    chosen = folder or Path(os.environ.get("TWIN") or DEFAULT_FOLDER)
    return Twin(chosen.resolve(), suite)


def checkout_environment() -> dict[str, str]:
    """This machine's environment, in which Python finds this checkout's tinyedge first."""
    paths = [str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def run(
    command: Sequence[str | Path],
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    error: type[TwinError] = TwinError,
) -> str:
    """Runs a program to its end and returns its output. Raises `error` with the end of what it said."""
    done = subprocess.run(
        list(map(str, command)), env=env, cwd=cwd, text=True, errors="replace",
        stdin=subprocess.DEVNULL, capture_output=True, check=False,
    )  # fmt: skip
    if done.returncode:
        said = f"{done.stdout}{done.stderr}".strip()[-TAIL:]
        raise error(f"{shlex.join(map(str, command[:4]))} ... exited with {done.returncode}: {said}")
    return done.stdout


def tool(folder: Path, name: str, preload: Path | None = None) -> list[str]:
    """A program unpacked in `folder`, with its own loader and libraries: the host's may be of any age."""
    first = ["--preload", str(preload)] if preload else []
    libraries = [folder / part / "x86_64-linux-gnu" for part in ("lib", "usr/lib")]
    loader = folder / "lib64" / "ld-linux-x86-64.so.2"
    return [str(loader), *first, "--library-path", ":".join(map(str, libraries)), str(folder / name)]


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A folder to fill, which takes the name `path` only when the block ends without an exception."""
    unfinished = path.with_name(f".{path.name}.new")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    yield unfinished
    shutil.rmtree(path, ignore_errors=True)
    unfinished.rename(path)
