"""Choosing the n-grams that are worth their bytes.

In: a complete trie and the largest size of its file. Out: the trie without the n-grams that bring least. Does
not know text.

The gain of an n-gram is what the text's log-likelihood loses without it: count(h) times the relative entropy
between p(. | h) with and without the n-gram (Stolcke, "Entropy-based pruning of backoff language models",
1998), where contributions of other tokens are taken to first order. count(h) is the context's own count,
because Kneser-Ney's shorter n-grams do not estimate how frequent a context is.

An n-gram whose continuations stay must stay. For a price per byte, the best subtrees follow exactly from the
longest n-grams to the shortest: a subtree stays if its gains are more than its bytes' price. The price is
then chosen so that the file has the given size.
"""

import numpy as np
import numpy.typing as npt

from tinyedge.core.arrays import Doubles
from tinyedge.core.errors import UsageError
from tinyedge.ngram.layout import TableLayout
from tinyedge.ngram.trie import NgramLevel, NgramTrie, find_parents

_PRICE_STEPS = (
    60  # halvings of the interval of prices; the interval is then narrower than a float's precision
)

Mask = npt.NDArray[np.bool_]


def prune(trie: NgramTrie, max_bytes: int) -> NgramTrie:
    """Remove n-grams until the file has at most `max_bytes`.

    Args:
        trie: A trie that is not pruned.
        max_bytes: Largest size of the file, in bytes.

    Raises:
        UsageError: The unigrams alone need more.
    """
    order, vocab_size = len(trie.levels), trie.vocab_size
    smallest = TableLayout(vocab_size, (0,) * (order - 1)).file_bytes
    if max_bytes < smallest:
        raise UsageError(
            f"max_bytes {max_bytes} is too small: {vocab_size} single tokens need {smallest}",
            "allow more bytes",
            ("max_bytes",),
        )
    gains = compute_gains(trie)
    masks = _choose(trie, gains, 0.0)
    low, high = 0.0, max((float(gain.sum()) for gain in gains), default=0.0) + 1.0
    if _measure(trie, masks) > max_bytes:
        for _ in range(_PRICE_STEPS):
            price = (low + high) / 2
            candidates = _choose(trie, gains, price)
            if _measure(trie, candidates) > max_bytes:
                low = price
            else:
                high, masks = price, candidates
    return _select(trie, masks)


def compute_gains(trie: NgramTrie) -> list[Doubles]:
    """Compute the gain of each n-gram of order 2, 3, and so on, in nats over the text, each (E,)."""
    gains = []
    below = trie.levels[0].alphas
    for order in range(2, len(trie.levels) + 1):
        level = trie.levels[order - 1]
        lower = trie.lower_probabilities(order, below)
        gamma = trie.gammas(order)[level.parents]
        with_ngram = level.alphas + gamma * lower
        without = (level.alphas + gamma) * lower
        # The other tokens together gain with_ngram - without in probability if the n-gram goes.
        divergence = with_ngram * np.log(with_ngram / without) - (with_ngram - without)
        contexts = trie.levels[order - 2].counts[level.parents]
        gains.append(contexts * divergence)
        below = with_ngram
    return gains


def _choose(trie: NgramTrie, gains: list[Doubles], price: float) -> list[Mask]:
    """Return which n-grams of order 2, 3, and so on stay if a byte costs `price` nats."""
    order = len(trie.levels)
    values = [gain.copy() for gain in gains]
    for length in range(order, 1, -1):
        value = values[length - 2]
        value -= price * TableLayout.entry_bytes(length, order)
        if length > 2:
            parents = trie.levels[length - 1].parents
            values[length - 3] += np.bincount(
                parents, weights=np.maximum(value, 0.0), minlength=len(values[length - 3])
            )
    masks: list[Mask] = []
    for length in range(2, order + 1):
        mask = values[length - 2] > 0
        if masks:
            mask &= masks[-1][trie.levels[length - 1].parents]
        masks.append(mask)
    return masks


def _measure(trie: NgramTrie, masks: list[Mask]) -> int:
    return TableLayout(trie.vocab_size, tuple(int(mask.sum()) for mask in masks)).file_bytes


def _select(trie: NgramTrie, masks: list[Mask]) -> NgramTrie:
    """Return the trie of the n-grams that stay."""
    levels = [trie.levels[0]]
    for level, mask in zip(trie.levels[1:], masks, strict=True):
        ngrams = level.ngrams[mask]
        parents = find_parents(ngrams, levels[-1].ngrams)
        levels.append(NgramLevel(ngrams, level.counts[mask], level.alphas[mask], parents))
    return NgramTrie(tuple(levels))
