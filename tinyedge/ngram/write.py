"""Writing of `ngrams.bin`.

In: a trie and the weights of the mixture. Out: the bytes of the file, or the file. Does not know how the
n-grams were chosen. The same trie and weights give the same bytes.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tinyedge.core import files
from tinyedge.core.arrays import Doubles, Logits
from tinyedge.core.errors import UsageError
from tinyedge.core.hashes import hash_blake2b
from tinyedge.ngram.counts import TOKEN_MASK
from tinyedge.ngram.layout import (
    BLOCK_BYTES,
    CODEBOOK_SIZE,
    CODEBOOKS_OFFSET,
    HASH_BYTES,
    HASHES_OFFSET,
    HEADER,
    MAGIC,
    MAX_ENTRIES,
    MIN_ALPHA,
    VERSION,
    TableLayout,
)
from tinyedge.ngram.table import Codes
from tinyedge.ngram.trie import NgramTrie


def write_table(path: Path, trie: NgramTrie, weights: Sequence[float]) -> str:
    """Write a table, atomically.

    Args:
        path: The file to create or replace.
        trie: The n-grams.
        weights: Weight of the table in the mixture by the number of matched tokens, 0 to order - 1; each 0-1.

    Returns:
        The root: the hash that covers the complete file, in hexadecimal.

    Raises:
        OSError: The file cannot be written.
        UsageError: The weights do not fit.
    """
    data = encode_table(trie, weights)
    files.write_bytes(path, data)
    return hash_root(data, TableLayout(trie.vocab_size, [len(level.ngrams) for level in trie.levels[1:]]))


def hash_root(data: bytes, layout: TableLayout) -> str:
    """Return the root of a file's content."""
    return hash_blake2b(memoryview(data)[: layout.body_offset])


def encode_table(trie: NgramTrie, weights: Sequence[float] = ()) -> bytes:
    """Return the content of the file; see `write_table`. Without weights, all are 0."""
    layout = TableLayout(trie.vocab_size, [len(level.ngrams) for level in trie.levels[1:]])
    data = start_table(layout, weights)
    place(data, layout.unigrams.offset, trie.levels[0].alphas.astype("<f4"))
    for number, level in enumerate(trie.levels[1:]):
        codebook = make_codebook(level.alphas)
        rows = np.searchsorted(level.parents, np.arange(layout.rows[number].items))
        place(data, CODEBOOKS_OFFSET + 4 * CODEBOOK_SIZE * number, codebook.astype("<f4"))
        place(data, layout.rows[number].offset, rows.astype("<u4"))
        place(data, layout.tokens[number].offset, (level.ngrams & TOKEN_MASK).astype("<u2"))
        place(data, layout.codes[number].offset, encode_alphas(level.alphas, codebook))
    hash_blocks(data, layout)
    return bytes(data)


def start_table(layout: TableLayout, weights: Sequence[float]) -> bytearray:
    """Return the content of a file that has only its header.

    Raises:
        UsageError: The weights do not fit, or there are too many n-grams.
    """
    weights = weights or [0.0] * layout.order
    if len(weights) != layout.order or not all(0 <= weight <= 1 for weight in weights):
        raise UsageError(f"weights must be {layout.order} numbers in 0-1", parameters=("weights",))
    if max(layout.entries) > MAX_ENTRIES:
        raise UsageError(f"a table has at most {MAX_ENTRIES} n-grams of each order", "prune it")
    data = bytearray(layout.file_bytes)
    counts = [*layout.entries, *[0] * (3 - len(layout.entries))]
    padded = [*weights, *[0.0] * (4 - len(weights))]
    HEADER.pack_into(data, 0, MAGIC, VERSION, layout.order, layout.vocab_size, *counts, *padded)
    return data


def place(data: bytearray, offset: int, values: "np.ndarray[tuple[int], np.dtype[np.generic]]") -> None:
    """Write an array at a position, in its own type."""
    np.frombuffer(data, values.dtype, len(values), offset)[:] = values


def hash_blocks(data: bytearray, layout: TableLayout) -> None:
    """Write the hashes of the blocks, after all parts of the body are in their places."""
    with memoryview(data)[layout.body_offset :] as body:
        for block in range(layout.blocks):
            digest = hash_blake2b(body[block * BLOCK_BYTES : (block + 1) * BLOCK_BYTES], HASH_BYTES)
            offset = HASHES_OFFSET + HASH_BYTES * block
            data[offset : offset + HASH_BYTES] = bytes.fromhex(digest)


def encode_alphas(alphas: Doubles, codebook: Logits) -> Codes:
    """Return the code of each alpha: the index of the largest value of the codebook that is not larger."""
    return (np.searchsorted(codebook.astype(np.float64), alphas, side="right") - 1).astype(np.uint8)


def make_codebook(alphas: Doubles) -> Logits:
    """Choose the 256 values to which alphas are rounded down, so that the sum of no row exceeds 1.

    The first is 0, the others go from the smallest to the largest alpha. They are evenly spaced in the bits
    of a float, which is close to a geometric series and exact integer arithmetic.

    Args:
        alphas: (E,), each in 0-1.

    Returns:
        Increasing values, (256,).
    """
    large = alphas[alphas >= MIN_ALPHA]
    if not len(large):
        return np.zeros(CODEBOOK_SIZE, dtype=np.float32)
    ends = np.array([large.min(), large.max()])
    rounded = ends.astype(np.float32)
    rounded = np.where(rounded > ends, np.nextafter(rounded, np.float32(0)), rounded).astype(np.float32)
    first, last = rounded.view(np.uint32).astype(np.int64)
    bits = first + (last - first) * np.arange(CODEBOOK_SIZE - 1) // (CODEBOOK_SIZE - 2)
    return np.concatenate([np.zeros(1, dtype=np.float32), bits.astype(np.uint32).view(np.float32)])
