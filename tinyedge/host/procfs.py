"""Small files of /proc and /sys. A file that is missing or has unexpected content is None, never an error.

In: paths. Out: text and numbers. Imported by the measured worker of `tinyedge bench`, so it stays small.
"""

import contextlib
import sys
from pathlib import Path

ROOT = Path("/")


def has_kernel_files(root: Path = ROOT) -> bool:
    """Return whether `root` has /proc and /sys: on Linux, and in the recorded copy of a machine.

    Elsewhere (macOS, BSD) the readings come from psutil and the standard library. On Linux the files are read
    directly, because psutil adds 0.4 MB to `tinyedge bench` and 0.5 MB to `tinyedge serve` (7.2.2, x86-64).
    """
    return sys.platform == "linux" or root != ROOT


def read_text(path: Path) -> str | None:
    """Read a small file and strip it; device-tree strings end with NUL. None if it is missing or empty."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\0\n ") or None
    except OSError:
        return None


def read_fields(text: str | None) -> dict[str, str]:
    """Parse `key : value` lines. A key that is repeated for every core keeps its first value."""
    fields: dict[str, str] = {}
    for line in (text or "").splitlines():
        key, colon, value = line.partition(":")
        if colon:
            fields.setdefault(key.strip(), value.strip())
    return fields


def read_number(text: str | None) -> int | None:
    """Parse an integer that may be followed by a unit, as in `426208 kB`."""
    with contextlib.suppress(ValueError, IndexError):
        return int((text or "").split()[0])
    return None
