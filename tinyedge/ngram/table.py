"""Reading of the n-grams of a mapped file, a part at a time.

In: a mapped file. Out: rows of n-grams. Does not know contexts or models. Numpy is all that it needs.

Whatever the file contains, an answer is a valid row or a BundleError: row starts, tokens and sums are checked
where they are used, because the writer of a file with valid hashes may have written wrong content.
"""

import functools
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np

from tinyedge.core.arrays import Doubles, IndexArray, Logits, TokenIds
from tinyedge.ngram.layout import BLOCK_BYTES, CODEBOOK_SIZE, CODEBOOKS_OFFSET, MIN_ALPHA, Part
from tinyedge.ngram.mapped_file import NgramFile

if TYPE_CHECKING:
    import numpy.typing as npt

Number = TypeVar("Number", bound=np.generic)


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
    """The n-grams of a file. Several threads may read it.

    Args:
        file: The mapped file.
    """

    def __init__(self, file: NgramFile) -> None:
        self.file = file
        """The mapped file."""
        self.layout = file.layout
        """Where the parts of the file are."""
        self.order = file.layout.order
        """Tokens in the longest n-gram."""
        self.vocab_size = file.layout.vocab_size
        """Number of tokens of the vocabulary."""
        self.weights = file.weights
        """Weight of the table in the mixture, 0-1, by the number of matched tokens."""

    @functools.cached_property
    def unigrams(self) -> Logits:
        """Probabilities of the tokens without context, (V,).

        Raises:
            BundleError: They are damaged.
        """
        values = self._read(self.layout.unigrams, np.dtype("<f4"), 0, self.vocab_size)
        if not (values > 0).all() or not abs(float(values.sum(dtype=np.float64)) - 1) < 1e-3:
            raise self.file.make_error("has probabilities of tokens that are not positive with a sum of 1")
        return values.astype(np.float32)

    @functools.cached_property
    def codebooks(self) -> Logits:
        """The values of alpha of order 2, 3, and so on, (order - 1, 256).

        Raises:
            BundleError: A value is outside 0-1 or too small.
        """
        count = (self.order - 1) * CODEBOOK_SIZE
        values = np.frombuffer(self.file.data, "<f4", count, CODEBOOKS_OFFSET).astype(np.float32)
        if not ((values == 0) | ((values >= MIN_ALPHA) & (values <= 1))).all():
            raise self.file.make_error("has an invalid codebook")
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
            raise self.file.make_error(f"has an invalid row {context} of order {order}")
        if first == last:
            return None
        tokens = self._read(self.layout.tokens[order - 2], np.dtype("<u2"), first, last)
        if int(tokens[-1]) >= self.vocab_size or not (tokens[1:] > tokens[:-1]).all():
            raise self.file.make_error(f"has tokens in row {context} of order {order} that do not increase")
        alphas = self.codebooks[order - 2][
            self._read(self.layout.codes[order - 2], np.dtype("u1"), first, last)
        ]
        gamma = 1.0 - float(alphas.sum(dtype=np.float64))
        if gamma < 0:
            raise self.file.make_error(
                f"has probabilities in row {context} of order {order} with a sum above 1"
            )
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
            raise self.file.make_error(f"has invalid rows of order {order}")
        parents = np.repeat(np.arange(len(rows) - 1), np.diff(rows))
        tokens = self._read(self.layout.tokens[order - 2], np.dtype("<u2"), 0, entries)
        does_not_increase = (tokens[1:] <= tokens[:-1]) & (parents[1:] == parents[:-1])
        if (tokens >= self.vocab_size).any() or does_not_increase.any():
            raise self.file.make_error(f"has tokens in a row of order {order} that do not increase")
        codes = self._read(self.layout.codes[order - 2], np.dtype("u1"), 0, entries)
        alphas = self.codebooks[order - 2][codes].astype(np.float64)
        if (np.bincount(parents, weights=alphas) > 1).any():
            raise self.file.make_error(f"has probabilities in a row of order {order} with a sum above 1")
        return parents, tokens, alphas

    def _read(self, part: Part, kind: "np.dtype[Number]", start: int, stop: int) -> "npt.NDArray[Number]":
        """Return elements of a part, after a check of the blocks that they are in."""
        first, last = part.offset + kind.itemsize * start, part.offset + kind.itemsize * stop
        body = self.layout.body_offset
        for block in range((first - body) // BLOCK_BYTES, -(-(last - body) // BLOCK_BYTES)):
            if not self.file.is_checked[block]:
                self.file.check(block)
        return np.frombuffer(self.file.data, kind, stop - start, first)
