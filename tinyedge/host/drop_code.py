"""Removal of executed program code from this process's memory.

Importing ONNX Runtime and loading a graph execute code that answering never executes again. The pages of that
code stay resident until memory is short: 9 of 64 MB on the board (docs/device.md).
"""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

MADV_DONTNEED = 4  # linux/mman.h
MAPS = Path("/proc/self/maps")


@contextlib.contextmanager
def drop_before_and_after() -> Iterator[None]:
    """Drop code before and after the body loads something, so that neither adds to the peak of the other."""
    drop_executed_code()
    yield
    drop_executed_code()


def drop_executed_code(maps: Path = MAPS) -> None:
    """Drop the code pages that this process has executed so far; the kernel maps them again when they run.

    The pages stay in the kernel's cache while there is room, so a page that runs again costs a soft fault. It
    is read as it is in the file: breakpoints of a debugger are lost. Does nothing if the system is not Linux.

    Args:
        maps: The process's list of mappings.
    """
    in_kernels = getattr(sys.modules.get("tinyedge_kernels"), "drop_executed_code", None)
    if in_kernels and maps is MAPS:
        in_kernels()  # the same, without loading ctypes
        return
    import ctypes

    try:
        lines = maps.read_bytes().split(b"\n")
        madvise = ctypes.CDLL(None).madvise
    except (OSError, AttributeError):
        return
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    for line in lines:
        span, _, rest = line.partition(b" ")  # permissions, offset, device, inode, name
        # Only code of files that exist: a program may have written its own code into a deleted file's memory.
        if rest.startswith(b"r-xp ") and rest.split()[3] != b"0" and not line.endswith(b" (deleted)"):
            begin, end = (int(address, 16) for address in span.split(b"-"))
            madvise(begin, end - begin, MADV_DONTNEED)
