"""The file `ngrams.bin` on a device: mapped into memory, and checked as far as it is used.

In: a file and its root. Out: its header, and blocks whose hashes were compared. Does not know numpy, so that
a plain start of the device does not load it.

Opening reads what is before the body and compares it with the root; a block of the body is compared with its
hash when it is first used. The file must not change while it is mapped: a block is not checked again, and
reading behind the end of a shortened file ends the process (SIGBUS).
"""

import mmap
from pathlib import Path

from tinyedge.core import files
from tinyedge.core.errors import BundleError
from tinyedge.core.hashes import hash_blake2b
from tinyedge.ngram.layout import (
    BLOCK_BYTES,
    HASH_BYTES,
    HASHES_OFFSET,
    HEADER,
    MAGIC,
    VERSION,
    TableLayout,
)

MAX_VOCAB_SIZE = 1 << 15
REMEDY = "copy the bundle again, or export it again"


class NgramFile:
    """A mapped file. Several threads may use it.

    Args:
        data: Content of the file.
        root: The expected root, in hexadecimal; None to accept any.
        name: Name of the file in error messages.

    Raises:
        BundleError: The file is damaged, of another version, or has another root.
    """

    def __init__(
        self, data: bytes | bytearray | mmap.mmap, root: str | None = None, name: str = "ngrams.bin"
    ) -> None:
        self.data = memoryview(data)
        """Content of the file. `check` a block before its use."""
        self.name = name
        """Name in error messages."""
        if len(self.data) < HASHES_OFFSET:
            raise self.make_error(f"has {len(self.data)} bytes, its header alone needs {HASHES_OFFSET}")
        magic, version, order, vocab_size, *numbers = HEADER.unpack_from(self.data)
        if magic != MAGIC:
            raise self.make_error("is not a table of n-grams")
        if version != VERSION:
            raise self.make_error(f"has version {version}, this version reads {VERSION}")
        if not 2 <= order <= 4 or not 1 <= vocab_size <= MAX_VOCAB_SIZE:
            raise self.make_error(f"has order {order} and {vocab_size} tokens, which no table has")
        self.weights: tuple[float, ...] = tuple(numbers[3 : 3 + order])
        """Weight of the table in the mixture, 0-1, by the number of matched tokens."""
        self.layout = TableLayout(vocab_size, numbers[: order - 1])
        """Where the parts of the file are."""
        if len(self.data) != self.layout.file_bytes:
            raise self.make_error(f"has {len(self.data)} bytes, {self.layout.file_bytes} expected")
        self.root = hash_blake2b(self.data[: self.layout.body_offset])
        """Hash that covers the complete file."""
        if root is not None and root != self.root:
            raise self.make_error(f"has root {self.root}, {root} expected")
        if not all(0 <= weight <= 1 for weight in self.weights) or any(
            [*numbers[order - 1 : 3], *numbers[3 + order :]]
        ):
            raise self.make_error("has an invalid header")
        self.is_checked = bytearray(self.layout.blocks)
        """For each block of the body, 1 if it was compared with its hash."""

    @classmethod
    def open(cls, path: Path, root: str | None = None) -> "NgramFile":
        """Map a file; see `NgramFile`."""
        files.require_file(path, BundleError, REMEDY)
        try:
            with files.open_regular(path) as file:
                data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as failure:  # ValueError: it became empty
            raise BundleError(f"{path} cannot be read: {failure}", REMEDY) from None
        return cls(data, root, str(path))

    @property
    def touched_bytes(self) -> int:
        """Bytes of the file that were read so far, in whole blocks."""
        touched = self.layout.body_offset + BLOCK_BYTES * sum(self.is_checked)
        return min(touched, self.layout.file_bytes)  # the last block may be shorter

    def check(self, block: int) -> None:
        """Compare a block of the body with its hash.

        Raises:
            BundleError: They differ.
        """
        start = self.layout.body_offset + block * BLOCK_BYTES
        offset = HASHES_OFFSET + HASH_BYTES * block
        if (
            hash_blake2b(self.data[start : start + BLOCK_BYTES], HASH_BYTES)
            != self.data[offset : offset + HASH_BYTES].hex()
        ):
            raise self.make_error(f"is damaged between bytes {start} and {start + BLOCK_BYTES}")
        self.is_checked[block] = 1

    def check_all(self) -> None:
        """Compare every block with its hash; errors are those of `check`."""
        for block in range(self.layout.blocks):
            self.check(block)

    def make_error(self, reason: str) -> BundleError:
        """Return the error for a file that cannot be used."""
        return BundleError(f"{self.name} {reason}", REMEDY)
