"""Tables of n-grams for the tests: of random texts, and damaged ones with valid hashes."""

import struct
from collections.abc import Sequence

import numpy as np

from tinyedge.core.hashes import hash_blake2b
from tinyedge.ngram.counts import count_ngrams
from tinyedge.ngram.estimate import estimate
from tinyedge.ngram.layout import BLOCK_BYTES, HASH_BYTES, HASHES_OFFSET, TableLayout
from tinyedge.ngram.mapped_file import NgramFile
from tinyedge.ngram.write import encode_table

WEIGHTS = (0.05, 0.2, 0.4, 0.7)


def make_text(vocab_size: int, length: int = 3000, seed: int = 0) -> list[int]:
    """Draw tokens, the lower ones more often, so that many n-grams occur twice."""
    draws = np.random.default_rng(seed).zipf(1.4, length)
    return [int(token) for token in (draws - 1) % vocab_size]


def make_content(
    vocab_size: int,
    order: int = 4,
    weights: Sequence[float] = WEIGHTS,
    text: Sequence[int] | None = None,
) -> bytearray:
    """Make a table of a text, by default a random one; the content of its file."""
    tokens = np.array(make_text(vocab_size) if text is None else text, dtype=np.uint16)
    return bytearray(encode_table(estimate(count_ngrams([tokens], vocab_size, order)), weights[:order]))


def read_layout(content: bytes | bytearray) -> TableLayout:
    """Return where the parts of a table are."""
    return NgramFile(bytes(content)).layout


def write_part(content: bytearray, offset: int, form: str, *values: float) -> None:
    """Write numbers into the body of a table, and the hashes that belong to it then."""
    layout = read_layout(content)
    struct.pack_into(form, content, offset, *values)
    for block in range(layout.blocks):
        start = layout.body_offset + block * BLOCK_BYTES
        digest = bytes.fromhex(hash_blake2b(bytes(content[start : start + BLOCK_BYTES]), HASH_BYTES))
        at = HASHES_OFFSET + HASH_BYTES * block
        content[at : at + HASH_BYTES] = digest
