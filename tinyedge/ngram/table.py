"""Reading of the n-grams of a mapped file, a part at a time.

In: a mapped file. Out: rows of n-grams. Does not know contexts or models. Numpy is all that it needs.

Whatever the file contains, an answer is a valid row or a BundleError: row starts, tokens and sums are checked
where they are used, because the writer of a file with valid hashes may have written wrong content.
"""

import functools
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, TypeVar

import numpy as np

from tinyedge.core.arrays import Booleans, IndexArray, Logits, TokenIds
from tinyedge.ngram.layout import BLOCK_BYTES, CODEBOOK_SIZE, CODEBOOKS_OFFSET, MIN_ALPHA, Part
from tinyedge.ngram.mapped_file import NgramFile

if TYPE_CHECKING:
    import numpy.typing as npt

RowStarts: TypeAlias = "npt.NDArray[np.uint32]"
Codes: TypeAlias = "npt.NDArray[np.uint8]"
Number = TypeVar("Number", bound=np.generic)

ROWS_AT_ONCE = 1 << 14  # that are checked together: the arrays for it are small beside the table


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


class TableLevel(NamedTuple):
    """All n-grams of an order, checked. All but `gammas` are views of the file.

    E is the number of its n-grams, E' that of its contexts: the n-grams of the order below.
    """

    rows: RowStarts
    """Index of the first continuation of each context, and E, (E' + 1,)."""

    tokens: TokenIds
    """The last token of each n-gram, increasing in a row, (E,)."""

    codes: Codes
    """alpha of each n-gram, as an index into the codebook, (E,)."""

    codebook: Logits
    """The values of alpha, (256,)."""

    gammas: Logits
    """Weight of the shorter context, for each context; 1 if it has no continuation, (E',)."""

    def find(self, contexts: IndexArray, is_known: Booleans, tokens: TokenIds) -> tuple[IndexArray, Booleans]:
        """Find n-grams, by a binary search for all of them at the same time.

        Args:
            contexts: Index of the context of each; of an unknown one, the index that it would have, (T,).
            is_known: Whether the context is in the table, (T,).
            tokens: The last token of each, (T,).

        Returns:
            The index of each n-gram; of an unknown one, the index that it would have, (T,). And whether it is
            known, (T,).
        """
        low = self.rows[contexts].astype(np.intp)
        end = high = self.rows[contexts + is_known].astype(np.intp)  # an unknown context has an empty row
        while (low < high).any():
            middle = (low + high) // 2
            is_before = low < high
            is_before[is_before] = self.tokens[middle[is_before]] < tokens[is_before]
            low, high = np.where(is_before, middle + 1, low), np.where(is_before, high, middle)
        is_listed = low < end
        is_listed[is_listed] = self.tokens[low[is_listed]] == tokens[is_listed]
        return low, is_listed


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

    def level(self, order: int) -> TableLevel:
        """Read and check all n-grams of an order, from 2 on.

        Raises:
            BundleError: The file is damaged.
        """
        starts, entries = self.layout.rows[order - 2], self.layout.entries[order - 2]
        rows = self._read(starts, np.dtype("<u4"), 0, starts.items)
        if rows[0] != 0 or rows[-1] != entries or (rows[1:] < rows[:-1]).any():
            raise self.file.make_error(f"has invalid rows of order {order}")
        tokens = self._read(self.layout.tokens[order - 2], np.dtype("<u2"), 0, entries)
        codes = self._read(self.layout.codes[order - 2], np.dtype("u1"), 0, entries)
        level = TableLevel(rows, tokens, codes, self.codebooks[order - 2], np.ones(len(rows) - 1, np.float32))
        for start in range(0, len(level.gammas), ROWS_AT_ONCE):
            self._check_rows(level, order, slice(start, start + ROWS_AT_ONCE))
        return level

    def _check_rows(self, level: TableLevel, order: int, rows: slice) -> None:
        """Check some rows and set their gammas."""
        bounds = level.rows[rows.start : rows.stop + 1]
        entries = slice(bounds[0], bounds[-1])
        firsts = bounds[:-1][bounds[:-1] < bounds[1:]] - bounds[0]  # of each row that is not empty
        tokens = level.tokens[entries]
        increases = tokens[1:] > tokens[:-1]
        increases[firsts[1:] - 1] = True  # from the last token of a row to the first of the next one
        if (tokens >= self.vocab_size).any() or not increases.all():
            raise self.file.make_error(f"has tokens in a row of order {order} that do not increase")
        if len(firsts):
            alphas = level.codebook.astype(np.float64)[level.codes[entries]]
            sums = np.add.reduceat(alphas, firsts)
            if (sums > 1).any():
                raise self.file.make_error(f"has probabilities in a row of order {order} with a sum above 1")
            level.gammas[rows][bounds[:-1] < bounds[1:]] = 1.0 - sums

    def _read(self, part: Part, kind: "np.dtype[Number]", start: int, stop: int) -> "npt.NDArray[Number]":
        """Return elements of a part, after a check of the blocks that they are in."""
        first, last = part.offset + kind.itemsize * start, part.offset + kind.itemsize * stop
        body = self.layout.body_offset
        for block in range((first - body) // BLOCK_BYTES, -(-(last - body) // BLOCK_BYTES)):
            if not self.file.is_checked[block]:
                self.file.check(block)
        return np.frombuffer(self.file.data, kind, stop - start, first)
