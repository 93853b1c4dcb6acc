"""Hashes are those of hashlib, and loading them does not load OpenSSL."""

import hashlib
import subprocess
import sys

from tinyedge.core.hashes import hash_blake2b, hash_sha256


def test_the_hashes_are_those_of_other_programs() -> None:
    for data in (b"", b"abc", bytes(range(256)) * 999):
        assert hash_sha256(data) == hashlib.sha256(data).hexdigest()
        assert hash_blake2b(data) == hashlib.blake2b(data, digest_size=32).hexdigest()


def test_blake2b_does_not_load_openssl() -> None:
    program = (
        "import sys; from tinyedge.core.hashes import hash_blake2b; hash_blake2b(b'abc');"
        " assert '_hashlib' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
