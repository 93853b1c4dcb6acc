"""The file `ngrams.bin`: what is where.

In: the size of the vocabulary and the number of n-grams of each order. Out: offsets. Does not read or write.

All numbers are little-endian. Every part begins at a multiple of 64 bytes; the bytes between are zero.

    0      magic, 8 bytes: "tengrams"
    8      version, uint32: 1
    12     order N, uint32: 2-4
    16     size V of the vocabulary, uint32
    20     E_2, E_3, E_4: n-grams of order 2-4, three uint32; 0 above N
    32     weights of the mixture by the matched tokens 0-3, four float32; 0 from N on
    64     codebooks of the orders 2-4, three times 256 float32, increasing; all 0 above N
    3136   hashes of the blocks of 4 KiB of the body, BLAKE2b of 16 bytes each; the last may be shorter

The body begins at a multiple of 4096 bytes, the size of a page:

    unigram probabilities, V float32
    for each order n = 2 ... N:
        rows, uint32: E_(n-1) + 1 of them (E_1 is V). The continuations of n-gram i of order n - 1 are the
            n-grams rows[i] ... rows[i + 1] - 1 of order n
        tokens, E_n uint16: the last token of each n-gram, increasing in a row
        codes, E_n uint8: alpha of each n-gram, an index into the order's codebook

The root is the BLAKE2b hash of 32 bytes of everything before the body; it thus covers the complete file.
A codebook's numbers are 0 or in MIN_ALPHA-1. Every one is then a multiple of 2**-52, so the sum of a row in
double precision is exact in any order.
"""

import struct
from collections.abc import Sequence
from typing import NamedTuple

MAGIC = b"tengrams"
VERSION = 1
HEADER = struct.Struct("<8s3I3I4f")
CODEBOOKS_OFFSET = 64
CODEBOOK_SIZE = 256
HASHES_OFFSET = CODEBOOKS_OFFSET + 3 * 4 * CODEBOOK_SIZE
HASH_BYTES = 16
BLOCK_BYTES = 1 << 12
PAGE_BYTES = 1 << 12
ALIGNMENT = 64
MIN_ALPHA = 2.0**-29
MAX_ENTRIES = (1 << 32) - 1  # what a row start can address


class Part(NamedTuple):
    """An array in the body."""

    offset: int
    """Position of its first byte in the file."""

    items: int
    """Number of its elements."""


class TableLayout:
    """Where the parts of a file are.

    Args:
        vocab_size: Number of tokens of the vocabulary.
        entries: Number of n-grams of order 2, 3, and so on.
    """

    def __init__(self, vocab_size: int, entries: Sequence[int]) -> None:
        self.vocab_size = vocab_size
        self.entries = tuple(entries)
        self.order = len(self.entries) + 1
        items = [(4, vocab_size)]
        for contexts, ngrams in zip((vocab_size, *self.entries), self.entries, strict=False):
            items += [(4, contexts + 1), (2, ngrams), (1, ngrams)]
        offsets, end = [], 0
        for size, number in items:
            offsets.append(end)
            end += _round_up(size * number, ALIGNMENT)
        self.blocks = -(-end // BLOCK_BYTES)
        """Number of blocks of the body."""
        self.body_offset = _round_up(HASHES_OFFSET + HASH_BYTES * self.blocks, PAGE_BYTES)
        """Position of the body."""
        self.file_bytes = self.body_offset + end
        """Size of the file."""
        parts = [
            Part(self.body_offset + offset, number)
            for offset, (_, number) in zip(offsets, items, strict=True)
        ]
        self.unigrams = parts[0]
        """The unigram probabilities."""
        self.rows, self.tokens, self.codes = parts[1::3], parts[2::3], parts[3::3]
        """The parts of order 2, 3, and so on."""

    @staticmethod
    def entry_bytes(length: int, order: int) -> int:
        """Return the bytes that an n-gram of `length` tokens needs in a table of an order."""
        return 3 if length == order else 7  # token, code, and the row of its continuations


def _round_up(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple
