"""A table of n-grams that has read one more text.

In: a table's n-grams and those of a text. Out: the n-grams of both. Does not know files or models.

For each context h that the text has, c(h) times with a continuation, the row becomes the mean of both rows:

    alpha_h(w) = (1 - k) alpha_h(w) of the table + k alpha_h(w) of the text,   k = c(h) / (c(h) + strength)

So a few occurrences change a row a little, and many replace it. Rows that the text does not have stay as they
are; single tokens are mixed in the same way. This is the count merging of Bacchiani et al., "MAP adaptation
of stochastic grammars" (2006), with the table as the prior.
"""

import numpy as np

from tinyedge.core.arrays import Doubles, IndexArray
from tinyedge.ngram.counts import TOKEN_BITS, PackedNgrams
from tinyedge.ngram.table import NgramTable
from tinyedge.ngram.trie import NgramLevel, NgramTrie, find_parents


def read_trie(table: NgramTable) -> NgramTrie:
    """Read all n-grams of a table. Their counts are not in the file; they are 0 here.

    Raises:
        BundleError: The file is damaged.
    """
    tokens = np.arange(table.vocab_size, dtype=np.uint64)
    levels = [_make_level(tokens, table.unigrams.astype(np.float64), np.zeros(table.vocab_size, np.intp))]
    for order in range(2, table.order + 1):
        parents, last, alphas = table.level(order)
        packed = levels[-1].ngrams[parents] << np.uint64(TOKEN_BITS) | last.astype(np.uint64)
        levels.append(_make_level(packed, alphas, parents))
    return NgramTrie(tuple(levels))


def make_uniform_trie(vocab_size: int) -> NgramTrie:
    """Return n-grams that know nothing: every token is equally probable."""
    tokens = np.arange(vocab_size, dtype=np.uint64)
    level = _make_level(tokens, np.full(vocab_size, 1 / vocab_size), np.zeros(vocab_size, np.intp))
    return NgramTrie((level,))


def adapt(base: NgramTrie, text: NgramTrie, strength: float) -> NgramTrie:
    """Return the n-grams of a table and of a text.

    Args:
        base: The table's n-grams.
        text: The text's, not pruned, of the same vocabulary.
        strength: Number of occurrences of a context in the text that weigh as much as the table; above 0.
    """
    total = float(text.levels[0].counts.sum())
    share = total / (total + strength * base.vocab_size)
    unigrams = (1 - share) * base.levels[0].alphas + share * text.levels[0].alphas
    levels = [_make_level(base.levels[0].ngrams, unigrams, base.levels[0].parents)]
    for number in range(1, max(len(base.levels), len(text.levels))):
        old, new = (trie.levels[number] if number < len(trie.levels) else None for trie in (base, text))
        levels.append(_merge(old, new, text.levels[number - 1], levels[-1].ngrams, strength))
    return NgramTrie(tuple(levels))


def _merge(
    old: NgramLevel | None, new: NgramLevel | None, contexts: NgramLevel, below: PackedNgrams, strength: float
) -> NgramLevel:
    """Merge one order.

    Args:
        old: The table's n-grams of this order; None if it has none.
        new: The text's.
        contexts: The text's n-grams of the order below.
        below: The merged n-grams of the order below, packed.
        strength: As in `adapt`.
    """
    given = [level for level in (old, new) if level is not None]
    ngrams = np.unique(np.concatenate([level.ngrams for level in given]))
    parents = find_parents(ngrams, below)
    shares = np.zeros(len(below))
    alphas = np.zeros(len(ngrams))
    if new is not None:
        seen = np.bincount(new.parents, weights=new.counts, minlength=len(contexts.ngrams))
        shares[np.searchsorted(below, contexts.ngrams)] = seen / (seen + strength)
        places = np.searchsorted(ngrams, new.ngrams)
        alphas[places] += shares[parents[places]] * new.alphas
    if old is not None:
        places = np.searchsorted(ngrams, old.ngrams)
        alphas[places] += (1 - shares[parents[places]]) * old.alphas
    return _make_level(ngrams, alphas, parents)


def _make_level(ngrams: PackedNgrams, alphas: Doubles, parents: IndexArray) -> NgramLevel:
    counts = np.broadcast_to(np.int64(0), ngrams.shape)  # without memory of its own
    return NgramLevel(ngrams, counts, alphas, parents)
