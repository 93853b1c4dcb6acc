"""`crypto.py LIBCRYPTO WORK`: OpenSSL's libcrypto 1.1 between marks, 4 KiB at a time, then 8 KiB as often.

The published figures are of the functions alone, so a byte costs what the second step costs more: both have
the same calls from Python.

WORK is sha1, sha256, sha512, sha3-256, chacha20, poly1305, aes-BITS-cbc or aes-BITS-cbc-decrypt. The
environment variable OPENSSL_armcap chooses the code: 0 for integer instructions, 1 for NEON.
"""

import ctypes
import os
import sys
from typing import Any

BLOCKS, TIMES = (4096, 8192), 128
POLY1305 = 1061  # NID_poly1305
library, work = sys.argv[1:]
crypto = ctypes.CDLL(library)
data = ctypes.create_string_buffer(max(BLOCKS))
output = ctypes.create_string_buffer(max(BLOCKS) + 64)
length = ctypes.c_int()
key = ctypes.create_string_buffer(64)


def pointer(name: str, *arguments: object) -> ctypes.c_void_p:
    """Call a function that returns a pointer; None is the null pointer."""
    function = getattr(crypto, name)
    function.restype = ctypes.c_void_p
    value = function(*arguments)
    if not value:
        sys.exit(f"{name} failed")
    return ctypes.c_void_p(value)


def require(name: str, *arguments: object) -> None:
    """Call a function that returns 1 if it succeeds."""
    if getattr(crypto, name)(*arguments) != 1:
        sys.exit(f"{name} failed")


if work.startswith(("chacha20", "aes")):
    context = pointer("EVP_CIPHER_CTX_new")
    cipher = pointer("EVP_" + work.replace("-decrypt", "").replace("-", "_"))
    require("EVP_CipherInit_ex", context, cipher, None, key, key, int(not work.endswith("decrypt")))
    update: tuple[Any, ...] = ("EVP_CipherUpdate", context, output, ctypes.byref(length), data)
else:
    context = pointer("EVP_MD_CTX_new")
    if work == "poly1305":
        mac = pointer("EVP_PKEY_new_raw_private_key", POLY1305, None, key, ctypes.c_size_t(32))
        require("EVP_DigestSignInit", context, None, None, None, mac)
    else:
        require("EVP_DigestInit_ex", context, pointer("EVP_" + work.replace("-", "_")), None)
    update = ("EVP_DigestUpdate", context, data)
sizes = [ctypes.c_size_t(block) for block in BLOCKS]
require(*update, sizes[-1])  # warm up
os.getsid(0)
os.getsid(0)
for size in sizes:
    for _ in range(TIMES):
        require(*update, size)
    os.getsid(0)
