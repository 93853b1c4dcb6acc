"""Hashes of bytes, as hexadecimal digits. Nothing is imported before it is needed: hashlib loads OpenSSL."""


def hash_blake2b(data: "bytes | memoryview", size: int = 32) -> str:
    """Return the BLAKE2b hash of `size` bytes (RFC 7693); of 32, `b2sum --length 256` prints it."""
    try:
        # What `hashlib.blake2b` is. hashlib itself would load OpenSSL: 10 M instructions and 4 MB of a board.
        from _blake2 import blake2b
    except ImportError:  # a Python that builds it in another way
        from hashlib import blake2b
    return blake2b(data, digest_size=size).hexdigest()


def hash_sha256(data: "bytes | memoryview") -> str:
    """Return the SHA-256 hash, as `sha256sum` prints it."""
    from hashlib import sha256

    return sha256(data).hexdigest()
