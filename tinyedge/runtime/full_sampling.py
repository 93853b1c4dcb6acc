"""Selection of a token from all logits: bias, penalties, temperature, top-k, top-p, min-p, then one draw.

In: logits (V,), settings, the tokens of the text so far and a point of the random stream. Out: a token id.
Imported only for settings that need all logits: with the native kernels, other texts need no numpy.
Shapes: V vocabulary, K candidates left.
"""

from collections.abc import Collection, Mapping

import numpy as np

from tinyedge.core.arrays import Doubles as Weights
from tinyedge.core.arrays import IndexArray, Logits
from tinyedge.core.sampling import SamplingConfig
from tinyedge.runtime.logprobs import find_largest
from tinyedge.runtime.top_k import compute_top_k_weights, draw


def select_token(
    logits: Logits,
    config: SamplingConfig,
    counts: Mapping[int, int],
    point: float,
    banned_ids: Collection[int] = (),
) -> int:
    """Select a token.

    Args:
        logits: (V,); not modified.
        config: All settings.
        counts: How often each token is in the text so far, for the penalties.
        point: Where in the distribution to draw, in [0, 1); not used if the selection is greedy.
        banned_ids: Tokens that must not be selected.
    """
    allowed = logits.copy()
    _apply_bias_and_penalties(allowed, config, counts)
    for token in banned_ids:
        allowed[token] = -np.inf
    if config.greedy:
        return int(allowed.argmax())  # of equal logits the first, so the lowest id
    if 0 < config.top_k < len(allowed):
        ids = find_largest(allowed, config.top_k)
        return draw(ids.tolist(), compute_top_k_weights(allowed[ids].tolist(), config), point)
    ids, weights = _compute_all_weights(allowed, config)
    cumulative = weights.cumsum()
    place = int(cumulative.searchsorted(point * cumulative[-1], side="right"))
    return int(ids[min(place, len(ids) - 1)])


def spread(values: Mapping[int, float], size: int) -> Logits:
    """Return logits (V,) that are the given values, by token, and minus infinity for all other tokens."""
    logits = np.full(size, -np.inf, dtype=np.float32)
    logits[list(values)] = list(values.values())
    return logits


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


def _apply_bias_and_penalties(logits: Logits, config: SamplingConfig, counts: Mapping[int, int]) -> None:
    """Apply bias and penalties in place."""
    for token, bias in config.logit_bias.items():
        logits[token] += bias
    seen = np.array(list(counts), dtype=np.intp)
    if config.repetition_penalty != 1.0:
        apply_repetition_penalty(logits, seen, config.repetition_penalty)
    if config.presence_penalty or config.frequency_penalty:
        often = np.array(list(counts.values()), dtype=np.int32)
        logits[seen] -= config.presence_penalty + config.frequency_penalty * often


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
