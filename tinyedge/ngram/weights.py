"""The choice of the mixture's weights on held-out text.

In: what the model and the table predicted. Out: a weight for each number of matched tokens. Does not know
files.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tinyedge.core.arrays import Doubles, IndexArray
from tinyedge.core.errors import CorpusError
from tinyedge.ngram.scorer import TableScorer
from tinyedge.text.evaluate import LanguageModel, Window, negative_log_likelihood

MIN_TOKENS = 100  # to choose a weight from; a few tokens would often choose 0 or 1
_HALVINGS = 30  # of the interval 0-1 of a weight: more than a float32 distinguishes


@dataclass(frozen=True)
class PredictedTokens:
    """What a model and a table of n-grams predicted for the tokens of a text."""

    model: Doubles
    """The model's probability of each token, (T,)."""

    ngram: Doubles
    """The table's probability of each token, (T,)."""

    matched: IndexArray
    """Number of tokens that the table matched, (T,)."""

    def mixed_nats(self, weights: Sequence[float]) -> float:
        """Compute the negative log-likelihood of all tokens under the mixture.

        Args:
            weights: Weight of the table by the number of matched tokens.
        """
        return -float(np.log(self.mix(weights)).sum())

    def mix(self, weights: Sequence[float]) -> Doubles:
        """Compute the mixture's probability of each token, (T,); the argument is that of `mixed_nats`."""
        weight = np.asarray(weights)[self.matched]
        return np.asarray((1 - weight) * self.model + weight * self.ngram, dtype=np.float64)


def predict_tokens(model: LanguageModel, scorer: TableScorer, windows: Sequence[Window]) -> PredictedTokens:
    """Predict the targets of some windows with both.

    Raises:
        CorpusError: The text has no token to predict.
    """
    return PredictedTokens(predict_with_model(model, windows), *predict_with_table(scorer, windows))


def predict_with_model(model: LanguageModel, windows: Sequence[Window]) -> Doubles:
    """Compute the model's probability of each target, (T,).

    Raises:
        CorpusError: The text has no token to predict.
    """
    if not windows:
        raise CorpusError("the held-out text has nothing to predict", "give a text with a sentence in it")
    losses = [
        negative_log_likelihood(model.logits(window.inputs, window.first), window.targets)
        for window in windows
    ]
    return np.asarray(np.exp(-np.concatenate(losses)), dtype=np.float64)


def predict_with_table(scorer: TableScorer, windows: Sequence[Window]) -> tuple[Doubles, IndexArray]:
    """Compute the table's probability of each target, and the number of tokens that it matched, both (T,)."""
    parts: list[tuple[npt.NDArray[np.float32], IndexArray]] = []
    for window in windows:
        ngram, matched = scorer.score(np.append(window.inputs, window.targets[-1:]))
        parts.append((ngram[window.first :], matched[window.first :]))
    probabilities, lengths = zip(*parts, strict=True)
    return np.concatenate(probabilities).astype(np.float64), np.concatenate(lengths)


def choose_weights(predicted: PredictedTokens, order: int) -> tuple[float, ...]:
    """Choose the weights that give the text its largest likelihood.

    Args:
        predicted: The predictions of held-out text, which neither the model nor the table has seen.
        order: Order of the table.

    Returns:
        The weight by the number of matched tokens, 0 to order - 1. For a number that fewer than MIN_TOKENS
        tokens matched, it is the weight of all tokens together.
    """
    common = _maximize(predicted.model, predicted.ngram)
    weights = []
    for length in range(order):
        is_used = predicted.matched == length
        is_enough = is_used.sum() >= MIN_TOKENS
        weights.append(_maximize(predicted.model[is_used], predicted.ngram[is_used]) if is_enough else common)
    return tuple(weights)


def _maximize(model: Doubles, ngram: Doubles) -> float:
    """Return the weight in 0-1 of the largest log-likelihood, which is concave, by the sign of its slope."""
    low, high = 0.0, 1.0
    difference = ngram - model
    for _ in range(_HALVINGS):
        weight = (low + high) / 2
        if float((difference / (model + weight * difference)).sum()) > 0:
            low = weight
        else:
            high = weight
    return low
