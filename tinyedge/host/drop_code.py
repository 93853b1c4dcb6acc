"""Pages of program code, and when they have done their work.

Importing ONNX Runtime and loading a graph run code that answering never does again, and a page that has run
stays part of the process until memory is short: 9 of 64 MB on the board (docs/device.md).
"""

import contextlib
import ctypes
from collections.abc import Iterator
from pathlib import Path

MADV_DONTNEED = 4  # linux/mman.h
MAPS = Path("/proc/self/maps")


@contextlib.contextmanager
def trimmed() -> Iterator[None]:
    """For loading: code that ran before it is not there beside what is loaded, nor is what loads it later."""
    give_back()
    yield
    give_back()


def give_back(maps: Path = MAPS) -> None:
    """Takes the code that has run so far out of this process's memory; what runs again comes back by itself.

    The kernel keeps the pages in its cache while it has room, so that one that comes back costs a soft fault.
    It comes back as it is in the file: what a debugger has changed in it is gone. Does nothing where the
    system is not Linux.
    """
    try:
        lines = maps.read_bytes().split(b"\n")
        madvise = ctypes.CDLL(None).madvise
    except (OSError, AttributeError):
        return
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    for line in lines:
        span, _, about = line.partition(b" ")  # rights, offset, device, inode, name
        # A file's code, and one that is there: memory that a program fills with code may be a deleted one's.
        if about.startswith(b"r-xp ") and about.split()[3] != b"0" and not line.endswith(b" (deleted)"):
            begin, end = (int(address, 16) for address in span.split(b"-"))
            madvise(begin, end - begin, MADV_DONTNEED)
