"""Selection of the next token: bias, penalties, temperature, top-k, top-p, min-p, then one random draw.

In: logits and a SamplingConfig. Out: a token id. Knows only numpy: no model, no tokenizer.
Shapes: V vocabulary, K candidates left.
"""

import bisect
import itertools
import math
import random
from collections.abc import Collection, Iterable, Sequence

import numpy as np

from tinyedge.core.arrays import Doubles as Weights
from tinyedge.core.arrays import IndexArray, Logits
from tinyedge.core.errors import UsageError
from tinyedge.core.sampling import SamplingConfig

# For 40 candidates, the maxima of 160 blocks are compared: about 45 logits remain to be sorted.
BLOCKS_PER_CANDIDATE = 4


class Sampler:
    """Selects the tokens of one text; keeps the state of the random stream and the counts of its tokens."""

    def __init__(self, config: SamplingConfig, vocab_size: int) -> None:
        """Create a sampler for one text.

        Raises:
            UsageError: `config.logit_bias` names a token that is not in the vocabulary.
        """
        for token in config.logit_bias:
            if type(token) is not int or not 0 <= token < vocab_size:
                raise UsageError(
                    f"logit_bias: {token!r} is not a token id, 0-{vocab_size - 1}", parameters=("logit_bias",)
                )
        self.config = config
        self._random = random.Random(config.seed)  # importing numpy.random would slow down every start
        self._counts = np.zeros(vocab_size, dtype=np.int32)  # of each token in the text so far
        self._keeps_counts = config.candidates == 0

    def count_tokens(self, tokens: Iterable[int]) -> None:
        """Add tokens to the text so far, to which the penalties apply."""
        if self._keeps_counts:
            np.add.at(self._counts, list(tokens), 1)

    def sample(self, logits: Logits, banned_ids: Collection[int] = ()) -> int:
        """Select the next token and add it to the text so far.

        Args:
            logits: (V,); not modified.
            banned_ids: Tokens that must not be selected.
        """
        allowed = logits.copy()
        self._apply_bias_and_penalties(allowed)
        for token in banned_ids:
            allowed[token] = -np.inf
        if self.config.greedy:
            token = int(allowed.argmax())  # of equal logits the first, so the lowest id
        elif 0 < self.config.top_k < len(allowed):
            ids = find_largest(allowed, self.config.top_k)
            token = self._draw(ids.tolist(), compute_top_k_weights(allowed[ids].tolist(), self.config))
        else:
            ids, weights = _compute_all_weights(allowed, self.config)
            cumulative = weights.cumsum()
            point = self._random.random() * cumulative[-1]
            token = int(ids[min(int(cumulative.searchsorted(point, side="right")), len(ids) - 1)])
        self.count_tokens((token,))
        return token

    def sample_top_k(self, logits: Logits, ids: IndexArray, banned_ids: Collection[int] = ()) -> int:
        """Select the next token from the largest logits; the result is that of `sample` on all of them.

        Args:
            logits: (K,), largest first; K is at least `config.candidates` plus the number of `banned_ids`.
            ids: (K,), the tokens of these logits.
            banned_ids: Tokens that must not be selected.
        """
        candidate_ids: list[int] = ids.tolist()
        values: list[float] = logits.tolist()
        if not frozenset(banned_ids).isdisjoint(candidate_ids):
            pairs = [pair for pair in zip(candidate_ids, values, strict=True) if pair[0] not in banned_ids]
            candidate_ids, values = [token for token, _ in pairs], [value for _, value in pairs]
        if self.config.greedy:
            return candidate_ids[0]
        return self._draw(candidate_ids, compute_top_k_weights(values[: self.config.top_k], self.config))

    def _draw(self, ids: Sequence[int], weights: Sequence[float]) -> int:
        cumulative = list(itertools.accumulate(weights))
        point = self._random.random() * cumulative[-1]
        # Rounding may put the point at the very end, one past the last candidate.
        return ids[min(bisect.bisect_right(cumulative, point), len(cumulative) - 1)]

    def _apply_bias_and_penalties(self, logits: Logits) -> None:
        """Apply bias and penalties in place."""
        config = self.config
        for token, bias in config.logit_bias.items():
            logits[token] += bias
        if not self._keeps_counts:
            return
        seen = np.flatnonzero(self._counts)
        if config.repetition_penalty != 1.0:
            apply_repetition_penalty(logits, seen, config.repetition_penalty)
        if config.presence_penalty or config.frequency_penalty:
            logits[seen] -= config.presence_penalty + config.frequency_penalty * self._counts[seen]


def apply_repetition_penalty(logits: Logits, seen: IndexArray, penalty: float) -> None:
    """Divide positive logits of the tokens `seen` by the penalty, and multiply negative ones, in place."""
    values = logits[seen]
    logits[seen] = np.where(values > 0, values / penalty, values * penalty)


def compute_distribution(logits: Logits, config: SamplingConfig) -> tuple[IndexArray, Weights]:
    """Compute the tokens that can be drawn and their probabilities.

    Args:
        logits: (V,), without NaN, at least one of them finite; penalties are already applied.
        config: Temperature, above 0, and filters.

    Returns:
        Token ids and probabilities, each (K,) with K at least 1. Most likely first if top_k or top_p is on,
        otherwise by id; of equal logits, the lower id comes first.
    """
    if 0 < config.top_k < len(logits):
        ids = find_largest(logits, config.top_k)
        weights = np.array(compute_top_k_weights(logits[ids].tolist(), config))
        ids = ids[: len(weights)]
    else:
        ids, weights = _compute_all_weights(logits, config)
    keep = weights > 0
    return ids[keep], weights[keep] / weights.sum()


def compute_top_k_weights(logits: Sequence[float], config: SamplingConfig) -> list[float]:
    """Apply temperature, top_p and min_p to a few logits; for some dozen, Python is faster than numpy.

    Args:
        logits: Largest first.
        config: Temperature and filters.

    Returns:
        Weights of the logits that remain, relative to the first.
    """
    highest, temperature = logits[0], config.temperature
    weights = [math.exp((logit - highest) / temperature) for logit in logits]
    if config.top_p < 1.0:
        cumulative = list(itertools.accumulate(weights))
        reached = bisect.bisect_left(cumulative, config.top_p * cumulative[-1])
        del weights[reached + 1 :]
    if config.min_p:
        weights = [weight for weight in weights if weight >= config.min_p]
    return weights


def _compute_all_weights(logits: Logits, config: SamplingConfig) -> tuple[IndexArray, Weights]:
    """Apply temperature, top_p and min_p to all logits (V,).

    Returns:
        Token ids, and weights relative to the most likely token, each (K,).
    """
    weights = _compute_softmax_weights(logits, config)
    ids: IndexArray = np.arange(len(logits))
    if config.top_p < 1.0:
        # All tokens below (1 - p) / V of the total sum to less than 1 - p, so none of them is needed to reach
        # p, and few tokens are left to sort. The 2 allows for rounding.
        total = weights.sum()
        ids = np.flatnonzero(weights >= total * (1 - config.top_p) / (2 * len(weights)))
        ids = ids[np.argsort(-logits[ids], kind="stable")]
        reached = int(weights[ids].cumsum().searchsorted(config.top_p * total, side="left"))
        ids = ids[: reached + 1]
        weights = weights[ids]
    if config.min_p:
        keep = weights >= config.min_p
        ids, weights = ids[keep], weights[keep]
    return ids, weights


def _compute_softmax_weights(logits: Logits, config: SamplingConfig) -> Weights:
    """Apply the temperature and return weights relative to the most likely token, which weighs 1."""
    wide = logits.astype(np.float64)
    wide -= wide.max()
    wide /= config.temperature
    weights: Weights = np.exp(wide, out=wide)
    return weights


def find_largest(logits: Logits, k: int) -> IndexArray:
    """Return the ids of the `k` largest of at least `k` logits, largest first; of equals, the lowest ids."""
    candidates = np.flatnonzero(logits >= _find_lower_bound(logits, k))
    return candidates[np.argsort(-logits[candidates], kind="stable")[:k]]


def _find_lower_bound(logits: Logits, k: int) -> np.float32:
    """Find a value that `k` or slightly more logits reach: the k-th largest of the maxima of blocks.

    The CPU vectorizes the maxima and the caller's comparison, but not a partition of all logits.
    """
    blocks = k * BLOCKS_PER_CANDIDATE
    width = len(logits) // blocks
    if width > 1:
        logits = logits[: width * blocks].reshape(width, blocks).max(axis=0)
    bound: np.float32 = np.partition(logits, len(logits) - k)[len(logits) - k]
    return bound
