"""Selection of a token from the largest logits: temperature, top-p and min-p, then one random draw.

In: a few logits with their tokens, and a point of the random stream. Out: a token id. Plain Python: for some
dozen numbers it is faster than numpy, and needs no import. The native kernels compute the same.
"""

import bisect
import itertools
import math
from collections.abc import Collection, Sequence

from tinyedge.core.sampling import SamplingConfig


def select_top_k(
    ids: Sequence[int],
    logits: Sequence[float],
    config: SamplingConfig,
    point: float,
    banned_ids: Collection[int] = (),
) -> int:
    """Select a token; the result is that of a selection from all logits.

    Args:
        ids: (K,) tokens; K is at least `config.candidates` plus the number of `banned_ids`.
        logits: (K,) their logits, largest first.
        config: Temperature and filters.
        point: Where in the distribution to draw, in [0, 1); not used if the selection is greedy.
        banned_ids: Tokens that must not be selected.
    """
    if not frozenset(banned_ids).isdisjoint(ids):
        pairs = [pair for pair in zip(ids, logits, strict=True) if pair[0] not in banned_ids]
        ids, logits = [token for token, _ in pairs], [logit for _, logit in pairs]
    if config.greedy:
        return ids[0]
    return draw(ids, compute_top_k_weights(logits[: config.top_k], config), point)


def compute_top_k_weights(logits: Sequence[float], config: SamplingConfig) -> list[float]:
    """Apply temperature, top_p and min_p to a few logits.

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


def draw(ids: Sequence[int], weights: Sequence[float], point: float) -> int:
    """Return the token at a point of a distribution.

    Args:
        ids: (K,) or more tokens, in the order of `weights`.
        weights: (K,), not normalized.
        point: In [0, 1).
    """
    cumulative = list(itertools.accumulate(weights))
    # Rounding may put the point at the very end, one past the last candidate.
    return ids[min(bisect.bisect_right(cumulative, point * cumulative[-1]), len(cumulative) - 1)]
