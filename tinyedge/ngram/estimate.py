"""Interpolated modified Kneser-Ney: probabilities from counts.

In: counts of n-grams. Out: a trie. Does not know text or files.

Source: Chen and Goodman, "An empirical study of smoothing techniques for language modeling" (1999), with
three discounts for each order. The longest n-grams have their own counts; for shorter ones, the distinct
tokens that precede them are counted. An n-gram that begins with BOS keeps its own count at any length: only
EOS precedes it, so this number is always 1, and the beginning of a text would be predicted badly.
"""

import numpy as np

from tinyedge.core.arrays import Doubles, Integers
from tinyedge.ngram.counts import TOKEN_BITS, NgramCounts, count_left_neighbours
from tinyedge.ngram.trie import NgramLevel, NgramTrie, find_parents
from tinyedge.text.tokenizer import BOS_ID

FALLBACK_DISCOUNTS = (0.0, 0.5, 1.0, 1.5)  # of a text too small to estimate them, as in KenLM


def estimate(counts: NgramCounts) -> NgramTrie:
    """Estimate the probability of every n-gram that occurs, and of every token of the vocabulary."""
    order = len(counts.ngrams)
    levels = [_estimate_unigrams(counts)]
    for length in range(2, order + 1):
        ngrams, occurrences = counts.ngrams[length - 1], counts.counts[length - 1]
        adjusted = occurrences
        if length < order:
            begins_line = ngrams >> np.uint64(TOKEN_BITS * (length - 1)) == BOS_ID
            adjusted = np.where(begins_line, occurrences, count_left_neighbours(counts, length))
        parents = find_parents(ngrams, levels[-1].ngrams)
        totals = np.bincount(parents, weights=adjusted)[parents]
        # A total is 0 if nothing precedes the n-grams of a row; the shorter context then gets all.
        alphas = (adjusted - _discount(adjusted)) / np.maximum(totals, 1)
        levels.append(NgramLevel(ngrams, occurrences, alphas, parents))
    return NgramTrie(tuple(levels))


def _estimate_unigrams(counts: NgramCounts) -> NgramLevel:
    """Estimate the probabilities of all tokens, interpolated with equal ones, so that none is zero."""
    vocab_size = counts.vocab_size
    tokens = counts.ngrams[0].astype(np.intp)
    occurrences = np.zeros(vocab_size, dtype=np.int64)
    occurrences[tokens] = counts.counts[0]
    adjusted = np.zeros(vocab_size, dtype=np.int64)
    adjusted[tokens] = count_left_neighbours(counts, 1)
    if not adjusted.any():  # no text has two tokens
        adjusted = occurrences
    discounts = _discount(adjusted)
    total = int(adjusted.sum())
    probabilities = (adjusted - discounts) / total + discounts.sum() / total / vocab_size
    return NgramLevel(
        np.arange(vocab_size, dtype=np.uint64),
        occurrences,
        probabilities,
        np.zeros(vocab_size, dtype=np.intp),
    )


def _discount(counts: Integers) -> Doubles:
    """Return what is subtracted from each count, (E,)."""
    return np.asarray(estimate_discounts(counts))[np.minimum(counts, 3)]


def estimate_discounts(counts: Integers) -> tuple[float, float, float, float]:
    """Estimate the discounts of n-grams with count 0, 1, 2, and 3 or more.

    Args:
        counts: The (adjusted) counts of one order, (E,).
    """
    n1, n2, n3, n4 = (int((counts == value).sum()) for value in range(1, 5))
    if not (n1 and n2 and n3 and n4):
        return FALLBACK_DISCOUNTS
    y = n1 / (n1 + 2 * n2)
    discounts = (0.0, 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3)
    return discounts if min(discounts[1:]) > 0 else FALLBACK_DISCOUNTS
