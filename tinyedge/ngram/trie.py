"""An n-gram model in memory: a trie of n-grams in reading order.

In: sorted n-grams and their probabilities. Out: rows, and the probability of each n-gram. Does not know how
probabilities are estimated, or files.

    p(w | h) = alpha_h(w) + gamma_h p(w | h'),   gamma_h = 1 - sum of alpha_h

h' is the context h without its first token. The row of h holds the n-grams h w; a context without a row has
gamma 1.
"""

from dataclasses import dataclass

import numpy as np

from tinyedge.core.arrays import Doubles, IndexArray, Integers
from tinyedge.ngram.counts import TOKEN_BITS, PackedNgrams


@dataclass(frozen=True)
class NgramLevel:
    """The n-grams of one order."""

    ngrams: PackedNgrams
    """Packed and increasing, (E,)."""

    counts: Integers
    """How often each occurs in the text, (E,)."""

    alphas: Doubles
    """The share of p(w | h) that this n-gram itself contributes, (E,)."""

    parents: IndexArray
    """Index of each n-gram's context in the level below, (E,)."""


@dataclass(frozen=True)
class NgramTrie:
    """Levels by order. Level 1 has every token; its alphas are the unigram probabilities."""

    levels: tuple[NgramLevel, ...]
    """Levels of order 1, 2, and so on."""

    @property
    def vocab_size(self) -> int:
        """Number of tokens of the vocabulary."""
        return len(self.levels[0].ngrams)

    def gammas(self, order: int) -> Doubles:
        """Return gamma of every context of `order - 1` tokens, in the order of the level below, (E',)."""
        level, below = self.levels[order - 1], self.levels[order - 2]
        sums = np.bincount(level.parents, weights=level.alphas, minlength=len(below.ngrams))
        return np.asarray(1.0 - sums, dtype=np.float64)

    def lower_probabilities(self, order: int, below: Doubles) -> Doubles:
        """Return p(w | h') of each n-gram h w.

        Args:
            order: Order of the n-grams. Every h' w must be in the level below: the trie is not pruned.
            below: p(w | h) of each n-gram of the level below, (E',).

        Returns:
            (E,)
        """
        suffixes = self.levels[order - 1].ngrams & np.uint64((1 << TOKEN_BITS * (order - 1)) - 1)
        return below[np.searchsorted(self.levels[order - 2].ngrams, suffixes)]


def find_parents(ngrams: PackedNgrams, below: PackedNgrams) -> IndexArray:
    """Return the index of each n-gram's context among the n-grams of the order below, (E,)."""
    return np.searchsorted(below, ngrams >> np.uint64(TOKEN_BITS))
