"""A bundle's table of n-grams as the kernels take it: its mapped memory, and where each part is.

In: a mapped file. Out: the arguments of `tinyedge_kernels.Ngrams`. Nothing is read, and no numpy.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from tinyedge.ngram.layout import BLOCK_BYTES, CODEBOOK_SIZE, CODEBOOKS_OFFSET
from tinyedge.ngram.mapped_file import NgramFile

Level: TypeAlias = tuple[int, int, int, int, int]


class NgramParts(NamedTuple):
    """The arguments, in their order; all offsets are in bytes from the beginning of the file."""

    file: memoryview
    """Content of the file."""
    checked: bytearray
    """For each block, 1 if it was compared with its hash."""
    check: Callable[[int], None]
    """Compares a block with its hash."""
    vocab_size: int
    """Number of tokens."""
    block_bytes: int
    """Size of a block."""
    body: int
    """Offset of the first block."""
    unigrams: int
    """Offset of the unigram probabilities."""
    levels: tuple[Level, ...]
    """Of order 2, 3, and so on: number of n-grams, offsets of the codebook, the rows, tokens and codes."""
    weights: tuple[float, ...]
    """Weight of the table in the mixture, by the number of matched tokens."""


def list_parts(ngrams: NgramFile) -> NgramParts:
    """List the parts of a table."""
    layout = ngrams.layout
    levels = tuple(
        (entries, CODEBOOKS_OFFSET + 4 * CODEBOOK_SIZE * number, rows.offset, tokens.offset, codes.offset)
        for number, (entries, rows, tokens, codes) in enumerate(
            zip(layout.entries, layout.rows, layout.tokens, layout.codes, strict=True)
        )
    )
    return NgramParts(
        file=ngrams.data,
        checked=ngrams.is_checked,
        check=ngrams.check,
        vocab_size=layout.vocab_size,
        block_bytes=BLOCK_BYTES,
        body=layout.body_offset,
        unigrams=layout.unigrams.offset,
        levels=levels,
        weights=ngrams.weights,
    )
