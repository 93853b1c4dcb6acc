"""The board that is emulated, the folder that holds the emulation, and how programs are started.

Everything lives in one folder, which may be deleted at any time.
"""

import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tinyedge.boards.board import Board
from tinyedge.boards.load import load_board
from tinyedge.core.errors import TinyEdgeError, UsageError

REPOSITORY = Path(__file__).resolve().parents[2]
SOURCES = Path(__file__).resolve().parent
REPORTS = REPOSITORY / "bench" / "reports"
DEFAULT_FOLDER = REPOSITORY / "build" / "twin"
OUTPUT_TAIL = 1500  # characters of a failed program's output that a message shows
MB = 1 << 20

T = TypeVar("T")


class TwinError(TinyEdgeError):
    """The twin cannot be built, or behaves differently from the board."""


class UnavailableError(TwinError):
    """This machine lacks what a twin is built from: programs, Debian's packages or a network."""


def require(value: T | None, board: Board, field: str) -> T:
    """A value that a board's file may leave out, but not if the board is emulated.

    Raises:
        UsageError: It is left out.
    """
    if value is None:
        raise UsageError(f"board {board.name}: {field} is missing, which the emulation needs")
    return value


# The board that is counted, booted and modelled: counter/core.c has its caches. `check` emulates others too.
BOARD = load_board("pi-zero-2w")
EMULATION = require(BOARD.emulation, BOARD, "emulation")
MEMORY = require(BOARD.memory, BOARD, "memory")
CORES = require(BOARD.processor.cores, BOARD, "processor.cores")
LATENCY = require(BOARD.cost_model, BOARD, "cost_model").latency_model


@dataclass(frozen=True)
class Twin:
    """The folder of one twin."""

    folder: Path
    """Where everything is built."""
    suite: str = "bookworm"
    """Debian suite of its root; one of those of the board."""
    board: Board = BOARD
    """The board. Each has a root of its own, with its /proc/cpuinfo."""

    @property
    def python_version(self) -> str:
        """Version of the board's Python, such as "3.11"."""
        return self.board.debian[self.suite]

    @property
    def _system(self) -> str:
        """Suite and board, for names of folders."""
        return self.suite if self.board.name == BOARD.name else f"{self.suite}-{self.board.name}"

    @property
    def tools(self) -> Path:
        """Debian's QEMU for single programs, and pip, with their dependencies, unpacked."""
        return self.folder / "tools"

    @property
    def system_tools(self) -> Path:
        """Debian's QEMU for a complete machine, with its dependencies, unpacked."""
        return self.folder / "system-tools"

    @property
    def root(self) -> Path:
        """The board's file system."""
        return self.folder / f"root-{self._system}"

    @property
    def packages(self) -> Path:
        """Python packages that tinyedge needs, inside the root."""
        return self.root / "opt" / "packages"

    @property
    def product(self) -> Path:
        """Tinyedge inside the root, as its wheel installs it; a change replaces only this folder."""
        return self.root / "opt" / "tinyedge"

    @property
    def wheels(self) -> Path:
        """Wheels that were downloaded for `packages`."""
        return self.folder / f"wheels-{self._system}"

    @property
    def bad_packages(self) -> Path:
        """The onnxruntime that a Pi cannot run; never inside the root."""
        return self.folder / f"bad-packages-{self._system}"

    @property
    def kernel(self) -> Path:
        """Debian's arm64 kernel, unpacked."""
        return self.folder / "kernel"

    @property
    def image(self) -> Path:
        """The root as a disk image."""
        return self.folder / "disk.ext4"

    @property
    def plugin(self) -> Path:
        """The counting plugin, compiled."""
        return self.folder / "counter.so"


def locate_twin(folder: Path | None, suite: str, board: Board = BOARD) -> Twin:
    """The twin in `folder`, else in $TWIN, else in build/twin.

    Raises:
        UsageError: The board does not run the suite, or its file lacks what an emulation needs.
    """
    if suite not in board.debian:
        raise UsageError(f"--suite {suite}: board {board.name} runs {', '.join(board.debian)}")
    require(board.emulation, board, "emulation")
    require(board.processor.cores, board, "processor.cores")
    require(board.processor.midr, board, "processor.midr")
    chosen = folder or Path(os.environ.get("TWIN") or DEFAULT_FOLDER)
    return Twin(chosen.resolve(), suite, board)


def checkout_environment() -> dict[str, str]:
    """This machine's environment, changed so that Python finds this checkout's tinyedge first."""
    paths = [str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def run(
    command: Sequence[str | Path],
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    error: type[TwinError] = TwinError,
) -> str:
    """Run a program and return its output.

    Args:
        command: Program and arguments.
        env: Environment; None for this process's.
        cwd: Folder to run in; None for the current one.
        error: Class of the exception.

    Raises:
        TwinError: Or the class that was passed, if the program fails, with the end of its output.
    """
    done = subprocess.run(
        list(map(str, command)), env=env, cwd=cwd, text=True, errors="replace",
        stdin=subprocess.DEVNULL, capture_output=True, check=False,
    )  # fmt: skip
    if done.returncode:
        output = f"{done.stdout}{done.stderr}".strip()[-OUTPUT_TAIL:]
        raise error(f"{shlex.join(map(str, command[:4]))} ... exited with {done.returncode}: {output}")
    return done.stdout


def loader_command(folder: Path, name: str, preload: Path | None = None) -> list[str]:
    """Command of a program that was unpacked in `folder`, with its own loader and libraries.

    The host's libraries may be older or newer.
    """
    first = ["--preload", str(preload)] if preload else []
    libraries = [folder / part / "x86_64-linux-gnu" for part in ("lib", "usr/lib")]
    loader = folder / "lib64" / "ld-linux-x86-64.so.2"
    return [str(loader), *first, "--library-path", ":".join(map(str, libraries)), str(folder / name)]


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """A folder to fill, which is renamed to `path` only if the block ends without an exception.

    Yields:
        The folder, empty and under a temporary name.
    """
    unfinished = path.with_name(f".{path.name}.new")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    yield unfinished
    shutil.rmtree(path, ignore_errors=True)
    unfinished.rename(path)
