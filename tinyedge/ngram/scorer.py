"""The probability of each token of a text, many positions at a time: for evaluation.

In: a table and texts. Out: the probability that `lookup.distribution` gives each token, the same bits. Does
not know models. Holds the complete table in memory, about 20 bytes for each n-gram.
"""

import numpy as np
import numpy.typing as npt

from tinyedge.core.arrays import IndexArray, Logits, TokenIds
from tinyedge.ngram.counts import TOKEN_BITS, PackedNgrams, pack
from tinyedge.ngram.table import NgramTable


class TableScorer:
    """A table, prepared to score texts.

    Args:
        table: The table. All of it is read and checked.

    Raises:
        BundleError: The file is damaged.
    """

    def __init__(self, table: NgramTable) -> None:
        self._unigrams = table.unigrams
        self._ngrams: list[PackedNgrams] = [np.arange(table.vocab_size, dtype=np.uint64)]
        self._alphas: list[Logits] = []
        self._gammas: list[Logits] = []
        self._has_row: list[npt.NDArray[np.bool_]] = []
        for order in range(2, table.order + 1):
            parents, tokens, alphas = table.level(order)
            if not len(tokens):  # pruned, and all longer ones with them
                break
            sizes = np.bincount(parents, minlength=len(self._ngrams[-1]))
            self._ngrams.append((self._ngrams[-1][parents] << np.uint64(TOKEN_BITS)) | tokens)
            self._alphas.append(alphas.astype(np.float32))
            sums = np.bincount(parents, weights=alphas, minlength=len(sizes))
            self._gammas.append((1.0 - sums).astype(np.float32))
            self._has_row.append(sizes > 0)

    def score(self, tokens: TokenIds) -> tuple[Logits, IndexArray]:
        """Compute the probability of each token but the first, given those before.

        Args:
            tokens: A text, (T,).

        Returns:
            Probabilities (T - 1,), and the number of matched tokens at each (T - 1,).
        """
        probabilities = self._unigrams[tokens[1:]]
        matched = np.zeros(len(probabilities), dtype=np.intp)
        for length, (alphas, gammas, has_row) in enumerate(
            zip(self._alphas, self._gammas, self._has_row, strict=True), start=1
        ):
            ngrams = pack(tokens, length + 1)
            context, is_known = _find(self._ngrams[length - 1], ngrams >> np.uint64(TOKEN_BITS))
            is_known &= has_row[context]
            entry, is_listed = _find(self._ngrams[length], ngrams)
            shorter = probabilities[length - 1 :]
            interpolated = gammas[context] * shorter + np.where(is_listed, alphas[entry], np.float32(0))
            probabilities[length - 1 :] = np.where(is_known, interpolated, shorter)
            matched[length - 1 :][is_known] = length
        return probabilities, matched


def _find(known: PackedNgrams, wanted: PackedNgrams) -> tuple[IndexArray, npt.NDArray[np.bool_]]:
    """Return the index of each wanted n-gram, 0 if it is unknown, and whether it is known."""
    index = np.searchsorted(known, wanted)
    index[index == len(known)] = 0
    return index, known[index] == wanted
