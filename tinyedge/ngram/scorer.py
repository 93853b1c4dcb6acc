"""The probability of each token of a text, many positions at a time: for evaluation.

In: a table and texts. Out: the probability that `lookup.distribution` gives each token, the same bits. Does
not know models. Beside the file, it holds 4 bytes for each context.
"""

import numpy as np

from tinyedge.core.arrays import IndexArray, Logits, TokenIds
from tinyedge.ngram.table import NgramTable, TableLevel


class TableScorer:
    """A table, prepared to score texts.

    Args:
        table: The table. All of it is read and checked.

    Raises:
        BundleError: The file is damaged.
    """

    def __init__(self, table: NgramTable) -> None:
        self._unigrams = table.unigrams
        self._levels: list[TableLevel] = []
        for order in range(2, table.order + 1):
            level = table.level(order)
            if not len(level.tokens):  # pruned, and all longer ones with them
                break
            self._levels.append(level)

    def score(self, tokens: TokenIds) -> tuple[Logits, IndexArray]:
        """Compute the probability of each token but the first, given those before.

        Args:
            tokens: A text, (T,).

        Returns:
            Probabilities (T - 1,), and the number of matched tokens at each (T - 1,).
        """
        probabilities = self._unigrams[tokens[1:]]
        matched = np.zeros(len(probabilities), dtype=np.intp)
        contexts = tokens[:-1].astype(np.intp)  # index of each in its level, 0 if it is unknown
        is_known = np.ones(len(contexts), dtype=np.bool_)
        for length, level in enumerate(self._levels, start=1):
            has_row = level.rows[contexts] < level.rows[contexts + is_known]
            entries, is_listed = level.find(contexts, is_known, tokens[length:])
            entries[~is_listed] = 0
            alphas = np.where(is_listed, level.codebook[level.codes[entries]], np.float32(0))
            shorter = probabilities[length - 1 :]
            interpolated = level.gammas[contexts] * shorter + alphas
            probabilities[length - 1 :] = np.where(has_row, interpolated, shorter)
            matched[length - 1 :][has_row] = length
            contexts, is_known = entries[:-1], is_listed[:-1]  # the n-gram is the next position's context
        return probabilities, matched
