"""`memory.py LIBRARY WORK BYTES`: go through memory once, between marks.

WORK is memset, memcpy (of the C library), neon_read, neon_read_prefetched or random_read (of LIBRARY, made
from loops.c). BYTES is the size of the block. random_read, which needs a power of two, reads a million bytes:
first of a block of two bytes, then of this one, so that the steps differ by what leaving the cache costs.
"""

import ctypes
import mmap
import os
import sys
from typing import Any

READS = 1_000_000
FILL = 0xCC  # as tinymembench; for zeros, memset has an instruction that loads no line
library, work, size = sys.argv[1], sys.argv[2], int(sys.argv[3])
memory = mmap.mmap(-1, 2 * size)  # aligned to pages, as large blocks of malloc() almost are
source = ctypes.addressof(ctypes.c_char.from_buffer(memory))
target = source + size
loops, libc = ctypes.CDLL(library), ctypes.CDLL(None)
for function in (libc.memset, libc.memcpy, loops.neon_read, loops.neon_read_prefetched, loops.random_read):
    function.argtypes = [ctypes.c_size_t] * (2 + (function.__name__ in ("memset", "memcpy", "random_read")))
    function.restype = None
libc.memset(source, 0, 2 * size)  # pages of its own, instead of one page of zeros
choices: dict[str, list[tuple[Any, tuple[int, ...]]]] = {
    "memset": [(libc.memset, (target, FILL, size))],
    "memcpy": [(libc.memcpy, (target, source, size))],
    "neon_read": [(loops.neon_read, (source, size))],
    "neon_read_prefetched": [(loops.neon_read_prefetched, (source, size))],
    "random_read": [
        (loops.random_read, (source, READS, 1)),
        (loops.random_read, (source, READS, size.bit_length() - 1)),
    ],
}
steps = choices[work]
for function, arguments in steps:  # warm up
    function(*arguments)
os.getsid(0)
os.getsid(0)
for function, arguments in steps:
    function(*arguments)
    os.getsid(0)
