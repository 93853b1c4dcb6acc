"""A table of n-grams in numpy, with the interface of `tinyedge_kernels._kernels.Ngrams`."""

from collections.abc import Callable, Sequence
from typing import TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from tests.kernels.reference import Floats, Row

Buffer: TypeAlias = bytes | bytearray | memoryview
Level: TypeAlias = tuple[int, int, int, int, int]
Number = TypeVar("Number", np.uint8, np.uint16, np.uint32, np.float32)

CODES = 256


class NgramsError(Exception):
    """A table has wrong content."""


class Ngrams:
    """A table in memory."""

    def __init__(
        self,
        file: Buffer,
        checked: bytearray,
        check: Callable[[int], object],
        vocab_size: int,
        block_bytes: int,
        body: int,
        unigrams: int,
        levels: tuple[Level, ...],
        weights: tuple[float, ...],
    ) -> None:
        """Keep the arguments.

        Raises:
            NgramsError: A value of alpha is not 0 or 2^-29 to 1.
        """
        self._file, self._checked, self._check = file, checked, check
        self._block_bytes, self._body = block_bytes, body
        self.vocab_size = vocab_size
        self._unigrams, self._levels, self._weights = unigrams, levels, weights
        self._alphas = [np.frombuffer(file, np.float32, CODES, level[1]) for level in levels]
        for alphas in self._alphas:
            if not ((alphas == 0) | ((alphas >= 2.0**-29) & (alphas <= 1))).all():
                raise NgramsError("has an invalid codebook")

    def find(self, text: Sequence[int]) -> tuple[Floats, list[Row], np.float32]:
        """Return the unigrams, the rows that exist, the shortest context first, and the table's weight.

        Raises:
            NgramsError: The table has wrong content.
        """
        unigrams = self._read(np.float32, self._unigrams, 0, self.vocab_size)
        if not (unigrams > 0).all() or abs(float(unigrams.sum(dtype=np.float64)) - 1) >= 1e-3:
            raise NgramsError("has probabilities of tokens that are not positive with a sum of 1")
        rows, matched = [], 0
        for length in range(1, min(len(self._levels), len(text)) + 1):
            row = self._find_row(text[len(text) - length :])
            if row is not None:
                rows.append(row)
                matched = length
        return unigrams, rows, np.float32(self._weights[matched])

    def _find_row(self, context: Sequence[int]) -> Row | None:
        at = context[0]
        for order, following in enumerate((*context[1:], None), start=2):
            entries, _, rows, tokens, codes = self._levels[order - 2]
            first, end = map(int, self._read(np.uint32, rows, at, at + 2))
            if not first <= end <= entries or end - first > self.vocab_size:
                raise NgramsError(f"has an invalid row {at} of order {order}")
            listed = self._read(np.uint16, tokens, first, end)
            if following is not None:
                place = int(np.searchsorted(listed, following))
                if place == len(listed) or listed[place] != following:
                    return None
                at = first + place
        if first == end:
            return None
        if (listed[1:] <= listed[:-1]).any() or listed[-1] >= self.vocab_size:
            raise NgramsError(f"has tokens in row {at} of order {order} that do not increase")
        row = Row(listed.astype(np.int32), self._alphas[order - 2][self._read(np.uint8, codes, first, end)])
        if row.gamma < 0:
            raise NgramsError(f"has probabilities in row {at} of order {order} with a sum above 1")
        return row

    def _read(self, kind: type[Number], offset: int, first: int, end: int) -> npt.NDArray[Number]:
        size = np.dtype(kind).itemsize
        start, stop = offset + first * size - self._body, offset + end * size - self._body
        for block in range(start // self._block_bytes, -(-stop // self._block_bytes)):
            if not self._checked[block]:
                self._check(block)
        return np.frombuffer(self._file, kind, end - first, offset + first * size)
