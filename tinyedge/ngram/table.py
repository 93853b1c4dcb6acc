"""Reading of `ngrams.bin`, a part at a time.

In: a file and its root. Out: rows of n-grams. Does not know contexts or models. Numpy is all that it needs.

The file is mapped. Opening reads what is before the body and compares it with the root; a block of the body
is compared with its hash when it is first used. Whatever the file contains, an answer is a valid row or a
BundleError: row starts, tokens and sums are checked where they are used, because the writer of a file with
valid hashes may have written wrong content. The file must not change while it is mapped: a block is not
checked again, and reading behind the end of a shortened file ends the process (SIGBUS).
"""

import functools
import mmap
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np

from tinyedge.core import files
from tinyedge.core.arrays import Doubles, IndexArray, Logits, TokenIds
from tinyedge.core.errors import BundleError
from tinyedge.core.hashes import hash_blake2b
from tinyedge.ngram.layout import (
    BLOCK_BYTES,
    CODEBOOK_SIZE,
    CODEBOOKS_OFFSET,
    HASH_BYTES,
    HASHES_OFFSET,
    HEADER,
    MAGIC,
    MIN_ALPHA,
    VERSION,
    Part,
    TableLayout,
)

if TYPE_CHECKING:
    import numpy.typing as npt

Number = TypeVar("Number", bound=np.generic)

MAX_VOCAB_SIZE = 1 << 15
REMEDY = "copy the bundle again, or export it again"


class NgramRow(NamedTuple):
    """The continuations of a context."""

    tokens: TokenIds
    """Tokens that follow, increasing, (R,)."""

    alphas: Logits
    """alpha of each, (R,)."""

    gamma: np.float32
    """Weight of the shorter context: 1 - sum of `alphas` in double precision, then rounded."""

    first: int
    """Index of the first of these n-grams among those of its order."""


class NgramTable:
    """A table of n-grams. Several threads may read it.

    Args:
        data: Content of the file.
        root: The expected root, in hexadecimal; None to accept any.
        name: Name of the file in error messages.

    Raises:
        BundleError: The file is damaged, of another version, or has another root.
    """

    def __init__(self, data: bytes | mmap.mmap, root: str | None = None, name: str = "ngrams.bin") -> None:
        self._data = memoryview(data)
        self._name = name
        if len(self._data) < HASHES_OFFSET:
            raise self._error(f"has {len(self._data)} bytes, its header alone needs {HASHES_OFFSET}")
        magic, version, order, vocab_size, *numbers = HEADER.unpack_from(self._data)
        if magic != MAGIC:
            raise self._error("is not a table of n-grams")
        if version != VERSION:
            raise self._error(f"has version {version}, this version reads {VERSION}")
        if not 2 <= order <= 4 or not 1 <= vocab_size <= MAX_VOCAB_SIZE:
            raise self._error(f"has order {order} and {vocab_size} tokens, which no table has")
        self.order: int = order
        """Tokens in the longest n-gram."""
        self.vocab_size: int = vocab_size
        """Number of tokens of the vocabulary."""
        self.weights: tuple[float, ...] = tuple(numbers[3 : 3 + order])
        """Weight of the table in the mixture, 0-1, by the number of matched tokens."""
        self.layout = TableLayout(vocab_size, numbers[: order - 1])
        """Where the parts of the file are."""
        if len(self._data) != self.layout.file_bytes:
            raise self._error(f"has {len(self._data)} bytes, {self.layout.file_bytes} expected")
        self.root = hash_blake2b(self._data[: self.layout.body_offset])
        """Hash that covers the complete file."""
        if root is not None and root != self.root:
            raise self._error(f"has root {self.root}, {root} expected")
        if not all(0 <= weight <= 1 for weight in self.weights) or any(
            [*numbers[order - 1 : 3], *numbers[3 + order :]]
        ):
            raise self._error("has an invalid header")
        self._is_checked = bytearray(self.layout.blocks)

    @classmethod
    def open(cls, path: Path, root: str | None = None) -> "NgramTable":
        """Map a file; see `NgramTable`."""
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
        touched = self.layout.body_offset + BLOCK_BYTES * sum(self._is_checked)
        return min(touched, self.layout.file_bytes)  # the last block may be shorter

    @functools.cached_property
    def unigrams(self) -> Logits:
        """Probabilities of the tokens without context, (V,).

        Raises:
            BundleError: They are damaged.
        """
        values = self._read(self.layout.unigrams, np.dtype("<f4"), 0, self.vocab_size)
        if not (values > 0).all() or not abs(float(values.sum(dtype=np.float64)) - 1) < 1e-3:
            raise self._error("has probabilities of tokens that are not positive with a sum of 1")
        return values.astype(np.float32)

    @functools.cached_property
    def codebooks(self) -> Logits:
        """The values of alpha of order 2, 3, and so on, (order - 1, 256).

        Raises:
            BundleError: A value is outside 0-1 or too small.
        """
        count = (self.order - 1) * CODEBOOK_SIZE
        values = np.frombuffer(self._data, "<f4", count, CODEBOOKS_OFFSET).astype(np.float32)
        if not ((values == 0) | ((values >= MIN_ALPHA) & (values <= 1))).all():
            raise self._error("has an invalid codebook")
        return values.reshape(self.order - 1, CODEBOOK_SIZE)

    def row(self, order: int, context: int) -> NgramRow | None:
        """Read the continuations of a context; None if it has none.

        Args:
            order: Order of the continuations, from 2 on.
            context: Index of the context among the n-grams of order - 1. Of order 1, it is the token.

        Raises:
            BundleError: The file is damaged.
        """
        first, last = self._read(self.layout.rows[order - 2], np.dtype("<u4"), context, context + 2).tolist()
        entries = self.layout.entries[order - 2]
        if not first <= last <= entries or last - first > self.vocab_size:
            raise self._error(f"has an invalid row {context} of order {order}")
        if first == last:
            return None
        tokens = self._read(self.layout.tokens[order - 2], np.dtype("<u2"), first, last)
        if int(tokens[-1]) >= self.vocab_size or not (tokens[1:] > tokens[:-1]).all():
            raise self._error(f"has tokens in row {context} of order {order} that do not increase")
        alphas = self.codebooks[order - 2][
            self._read(self.layout.codes[order - 2], np.dtype("u1"), first, last)
        ]
        gamma = 1.0 - float(alphas.sum(dtype=np.float64))
        if gamma < 0:
            raise self._error(f"has probabilities in row {context} of order {order} with a sum above 1")
        return NgramRow(tokens, alphas, np.float32(gamma), first)

    def level(self, order: int) -> tuple[IndexArray, TokenIds, Doubles]:
        """Read and check all n-grams of an order, from 2 on.

        Returns:
            For each n-gram: index of its context in the order below, last token and alpha, all (E,).

        Raises:
            BundleError: The file is damaged.
        """
        starts, entries = self.layout.rows[order - 2], self.layout.entries[order - 2]
        rows = self._read(starts, np.dtype("<u4"), 0, starts.items).astype(np.int64)
        if rows[0] != 0 or rows[-1] != entries or (rows[1:] < rows[:-1]).any():
            raise self._error(f"has invalid rows of order {order}")
        parents = np.repeat(np.arange(len(rows) - 1), np.diff(rows))
        tokens = self._read(self.layout.tokens[order - 2], np.dtype("<u2"), 0, entries)
        does_not_increase = (tokens[1:] <= tokens[:-1]) & (parents[1:] == parents[:-1])
        if (tokens >= self.vocab_size).any() or does_not_increase.any():
            raise self._error(f"has tokens in a row of order {order} that do not increase")
        codes = self._read(self.layout.codes[order - 2], np.dtype("u1"), 0, entries)
        alphas = self.codebooks[order - 2][codes].astype(np.float64)
        if (np.bincount(parents, weights=alphas) > 1).any():
            raise self._error(f"has probabilities in a row of order {order} with a sum above 1")
        return parents, tokens, alphas

    def _read(self, part: Part, kind: "np.dtype[Number]", start: int, stop: int) -> "npt.NDArray[Number]":
        """Return elements of a part, after a check of the blocks that they are in."""
        first, last = part.offset + kind.itemsize * start, part.offset + kind.itemsize * stop
        body = self.layout.body_offset
        for block in range((first - body) // BLOCK_BYTES, -(-(last - body) // BLOCK_BYTES)):
            if not self._is_checked[block]:
                self._check(block)
        return np.frombuffer(self._data, kind, stop - start, first)

    def _check(self, block: int) -> None:
        start = self.layout.body_offset + block * BLOCK_BYTES
        offset = HASHES_OFFSET + HASH_BYTES * block
        if (
            hash_blake2b(self._data[start : start + BLOCK_BYTES], HASH_BYTES)
            != self._data[offset : offset + HASH_BYTES].hex()
        ):
            raise self._error(f"is damaged between bytes {start} and {start + BLOCK_BYTES}")
        self._is_checked[block] = 1

    def _error(self, reason: str) -> BundleError:
        return BundleError(f"{self._name} {reason}", REMEDY)
