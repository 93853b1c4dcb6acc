"""Runs in the guest: execute one instruction of each extension, each in its own process, and print JSON.

{"instructions": {name: "runs" | "SIGILL" | "status N"}, "hwcap": bits}; the host evaluates it.
"""

import ctypes
import json
import mmap
import os
import signal

HWCAP = 16  # of getauxval
RETURN = 0xD65F03C0

# The only argument, in x0, is the address of memory that may be overwritten.
ENCODINGS = {
    "neon": 0x4E20CC00,  # fmla v0.4s, v0.4s, v0.4s
    "crc32": 0x9AC04C00,  # crc32x w0, w0, x0
    "aes": 0x4E284800,  # aese v0.16b, v0.16b
    "pmull": 0x0EE0E000,  # pmull v0.1q, v0.1d, v0.1d
    "sha1": 0x5E280800,  # sha1h s0, s0
    "sha256": 0x5E282800,  # sha256su0 v0.4s, v0.4s
    "atomics": 0xB8200001,  # ldadd w0, w1, [x0]
    "rdm": 0x6E808400,  # sqrdmlah v0.4s, v0.4s, v0.4s
    "lrcpc": 0xB8BFC000,  # ldapr w0, [x0]
    "fp16": 0x4E401400,  # fadd v0.8h, v0.8h, v0.8h
    "dotprod": 0x4E809400,  # sdot v0.4s, v0.16b, v0.16b
    "i8mm": 0x4E80A400,  # smmla v0.4s, v0.16b, v0.16b
    "bf16": 0x6E40FC00,  # bfdot v0.4s, v0.8h, v0.8h
    "sha3": 0xCE000000,  # eor3 v0.16b, v0.16b, v0.16b, v0.16b
    "sve": 0x2518E3E0,  # ptrue p0.b
}


def execute(encoding: int) -> str:
    """Execute one instruction in a child process and return how the process ended."""
    child = os.fork()
    if child == 0:
        code = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        code.write(encoding.to_bytes(4, "little") + RETURN.to_bytes(4, "little"))
        scratch = ctypes.create_string_buffer(64)
        function = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(ctypes.addressof(ctypes.c_char.from_buffer(code)))
        function(ctypes.addressof(scratch))
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGILL:
        return "SIGILL"
    return "runs" if status == 0 else f"status {status}"


library = ctypes.CDLL(None)
library.getauxval.restype = ctypes.c_ulong
library.getauxval.argtypes = [ctypes.c_ulong]
found = {name: execute(encoding) for name, encoding in ENCODINGS.items()}
print(json.dumps({"instructions": found, "hwcap": library.getauxval(HWCAP)}))
