"""The mixture of a language model with a table of n-grams.

In: the model's logits and the tokens so far. Out: log probabilities of the next token. Does not know how the
weights were chosen. Numpy is all that it needs.

    p(w) = (1 - weight) softmax(logits)[w] + weight p_ngram(w)

The weight depends on the number of tokens that the table matched, and is in the table. No log probability is
infinite: p is at least 2**-126, the smallest normal number in single precision.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tinyedge.core.arrays import Logits, TokenIds
from tinyedge.ngram.lookup import distribution
from tinyedge.ngram.table import NgramTable

if TYPE_CHECKING:
    from tinyedge.text.evaluate import LanguageModel

SMALLEST = np.finfo(np.float32).tiny


def mix(logits: Logits, table: NgramTable, context: Sequence[int]) -> Logits:
    """Mix one prediction.

    Args:
        logits: The model's, (V,).
        table: The table, of the same vocabulary.
        context: The tokens so far.

    Returns:
        Log probabilities, (V,).

    Raises:
        BundleError: The file of the table is damaged.
    """
    ngram, matched = distribution(table, context)
    weight = np.float32(table.weights[matched])
    shifted = logits - logits.max()
    model = np.exp(shifted)
    total = model.sum(dtype=np.float32)
    if weight == 0:  # keeps tokens whose exponential is zero in single precision
        return np.asarray(shifted - np.log(total), dtype=np.float32)
    mixed = (1 - weight) / total * model + weight * ngram
    return np.asarray(np.log(np.maximum(mixed, SMALLEST)), dtype=np.float32)


class MixedModel:
    """A language model mixed with a table; it is evaluated like any model.

    Args:
        model: The language model.
        table: The table, of the same vocabulary.
    """

    def __init__(self, model: "LanguageModel", table: NgramTable) -> None:
        self._model = model
        self._table = table

    @property
    def context(self) -> int:
        """Largest number of positions that the language model sees."""
        return self._model.context

    def logits(self, inputs: TokenIds, first: int) -> Logits:
        """Compute log probabilities after each of the tokens `inputs[first:]`, (len(inputs) - first, V)."""
        tokens = inputs.tolist()
        rows = zip(range(first, len(tokens)), self._model.logits(inputs, first), strict=True)
        return np.stack(
            [mix(row, self._table, tokens[max(0, at + 1 - self._table.order) : at + 1]) for at, row in rows]
        )
