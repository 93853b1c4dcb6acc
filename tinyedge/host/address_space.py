"""The limit of this process's address space (`ulimit -v`), and a check before numpy is imported under one.

In: /proc/self/limits, which needs no import. Out: the limit, or MemoryError. Does not know any command.
"""

import sys
from collections.abc import Sequence

LIMITS_FILE = "/proc/self/limits"
# numpy's OpenBLAS ends the process without an exception if it cannot reserve its buffers.
NUMPY_BYTES = 80 << 20


def read_limit() -> int:
    """Return the limit in bytes, or 0 if there is none."""
    try:
        with open(LIMITS_FILE, encoding="ascii") as file:  # noqa: PTH123  # pathlib is not loaded yet
            words = next((line.split() for line in file if line.startswith("Max address space")), [])
    except OSError:  # the system is not Linux
        return 0
    return int(words[3]) if words[3:] and words[3].isdecimal() else 0


def check_before_numpy() -> None:
    """Under a limit, have the import of numpy raise MemoryError if numpy does not fit."""
    if read_limit():
        sys.meta_path.insert(0, _NumpyCheck())


class _NumpyCheck:
    """A finder of modules that finds none."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: object = None) -> None:
        """Check the free address space when numpy is imported.

        Raises:
            MemoryError: numpy does not fit.
        """
        if name != "numpy":
            return
        import mmap

        sys.meta_path.remove(self)
        try:
            mmap.mmap(-1, NUMPY_BYTES).close()
        except OSError:
            raise MemoryError from None
