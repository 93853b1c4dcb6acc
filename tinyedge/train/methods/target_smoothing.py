"""Target smoothing: part of each target goes to other tokens that an n-gram model finds likely there.

A small corpus contains most contexts once, and a model that memorizes it becomes certain of what followed. An
n-gram model with Kneser and Ney's smoothing (1995; discounts as in Chen and Goodman, 1999) knows better what
else is likely. Draws from it receive a part of each target, as in Xie et al. ("Data Noising as Smoothing in
Neural Network Language Models", 2017), but the inputs stay unchanged. It is a trigram model that counts, for
each position, all other positions: otherwise a position's own token would always be the most likely.
"""

import numpy as np
import numpy.typing as npt

from tinyedge.core.arrays import Doubles, Integers, TokenIds

DRAWS = 3  # alternatives for each position; their mean represents the distribution
NEARBY = 3000  # tokens; without a known context, one from this distance is drawn: it has the same language
RANDOM_STREAM = 1  # separates these draws from those of segmentation and order, with the same seed and epoch
MAX_COUNT = 3  # higher counts have the same discount


def sample_alternatives(tokens: TokenIds, seed: int, epoch: int) -> TokenIds:
    """Draw other tokens that could stand in the place of each token.

    Args:
        tokens: A text, (N,).
        seed: Seed of the run.
        epoch: Number of the epoch.

    Returns:
        Alternatives, (N, DRAWS).
    """
    trigrams = Trigrams(tokens)
    random = np.random.default_rng([seed, epoch, RANDOM_STREAM])
    return np.stack([trigrams.draw(random) for _ in range(DRAWS)], axis=1)


class KeyGroups:
    """The positions 0 ... N-1, grouped by equal keys.

    Args:
        keys: Key of each position, (N,).
    """

    def __init__(self, keys: Integers) -> None:
        self.order = np.argsort(keys, kind="stable")
        """Positions sorted by their keys, (N,)."""
        ordered = keys[self.order]
        begins = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
        sizes = np.diff(begins, append=len(keys))
        self.first = self.order[begins]
        """One position of each group, (groups,)."""
        self.rank = np.empty_like(self.order)
        """Index of each position in `order`, (N,)."""
        self.rank[self.order] = np.arange(len(keys))
        self.number = np.repeat(np.arange(len(begins)), sizes)[self.rank]
        """Group of each position, (N,)."""
        self.start, self.size = begins[self.number], sizes[self.number]
        """Index in `order` where each position's group starts, and the size of that group, (N,) each."""


class Trigrams:
    """Trigram counts of a text, arranged so that a draw for all positions is a few array operations.

    A draw takes the token at another position with the same two preceding tokens. The share that the discount
    takes from that token's count goes to shorter contexts: to the distinct trigrams with the same middle
    token, each counted once, and from them likewise to any nearby token.

    Args:
        tokens: The text, (N,).
    """

    def __init__(self, tokens: TokenIds) -> None:
        text = self._text = tokens.astype(np.int64)
        base = 1 + int(text.max())
        last = np.concatenate((text[:1], text[:-1]))
        context = np.concatenate((text[:1], last[:-1])) * base + last
        self._contexts = KeyGroups(context)
        self._trigrams = KeyGroups(context * base + text)
        distinct = self._trigrams.first
        self._distinct_text = text[distinct]
        self._distinct = KeyGroups(last[distinct])
        self._endings = KeyGroups(last[distinct] * base + self._distinct_text)
        self._discounts = _estimate_discounts(self._trigrams)
        self._distinct_discounts = _estimate_discounts(self._endings)

    def draw(self, random: np.random.Generator) -> TokenIds:
        """Draw a token for each position, (N,)."""
        text, same, size = self._text, self._contexts, len(self._text)
        further = 1 + (random.random(size) * (same.size - 1)).astype(np.int64)
        other = same.order[same.start + (same.rank - same.start + further) % same.size]
        drawn = text[other]
        count = self._trigrams.size[other] - (drawn == text)  # without the position itself
        left = np.flatnonzero(~_accept(count, self._discounts, random))

        own, groups = self._trigrams.number[left], self._distinct
        offset = (random.random(len(left)) * groups.size[own]).astype(np.int64)
        trigram = groups.order[groups.start[own] + offset]
        drawn[left] = self._distinct_text[trigram]
        alone = self._trigrams.size[left] == 1  # the trigram occurs only at this position
        count = self._endings.size[trigram] - (alone & (drawn[left] == text[left]))
        left = left[~_accept(count, self._distinct_discounts, random)]

        near = left + random.integers(-NEARBY, NEARBY, len(left), endpoint=True)
        drawn[left] = text[near.clip(0, size - 1)]
        found: TokenIds = drawn.astype(np.uint16)
        return found


def _accept(count: Integers, discounts: Doubles, random: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Accept draws with the share of their count that the discount leaves; never with a count of 0."""
    accepted: npt.NDArray[np.bool_] = (
        random.random(len(count)) * count >= discounts[np.minimum(count, MAX_COUNT)]
    )
    return accepted & (count > 0)


def _estimate_discounts(groups: KeyGroups) -> Doubles:
    """Return the discounts of counts 0, 1, 2 and MAX_COUNT or more (Chen and Goodman's equation 26)."""
    of_count = np.bincount(groups.size[groups.first], minlength=MAX_COUNT + 2)
    share = of_count[1] / max(1, of_count[1] + 2 * of_count[2])
    counts = np.arange(MAX_COUNT + 1)
    found = counts - (counts + 1) * share * of_count[counts + 1] / np.maximum(of_count[counts], 1)
    return np.asarray(found.clip(0, counts), dtype=np.float64)
