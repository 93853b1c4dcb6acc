"""The merge of `tinyedge.ngram.adapt`, over all n-grams of the table: plain, and large in memory."""

from collections.abc import Sequence

import numpy as np

from tinyedge.core.arrays import Doubles, IndexArray, Logits
from tinyedge.ngram.counts import TOKEN_BITS, PackedNgrams
from tinyedge.ngram.layout import CODEBOOK_SIZE, CODEBOOKS_OFFSET
from tinyedge.ngram.mapped_file import NgramFile
from tinyedge.ngram.table import NgramTable
from tinyedge.ngram.trie import NgramLevel, NgramTrie, find_parents
from tinyedge.ngram.write import encode_alphas, encode_table, hash_blocks, place


def read_trie(table: NgramTable) -> NgramTrie:
    """Read all n-grams of a table. Their counts are not in the file; they are 0 here."""
    tokens = np.arange(table.vocab_size, dtype=np.uint64)
    levels = [_make_level(tokens, table.unigrams.astype(np.float64), np.zeros(table.vocab_size, np.intp))]
    for order in range(2, table.order + 1):
        level = table.level(order)
        parents = np.repeat(np.arange(len(level.rows) - 1), np.diff(level.rows))
        packed = levels[-1].ngrams[parents] << np.uint64(TOKEN_BITS) | level.tokens.astype(np.uint64)
        levels.append(_make_level(packed, level.codebook[level.codes].astype(np.float64), parents))
    return NgramTrie(tuple(levels))


def make_uniform_trie(vocab_size: int) -> NgramTrie:
    """Return n-grams that know nothing: every token is equally probable."""
    tokens = np.arange(vocab_size, dtype=np.uint64)
    level = _make_level(tokens, np.full(vocab_size, 1 / vocab_size), np.zeros(vocab_size, np.intp))
    return NgramTrie((level,))


def merge(base: NgramTrie, text: NgramTrie, strength: float) -> NgramTrie:
    """Return the n-grams of a table and of a text; arguments as in `TableAdapter`."""
    total = float(text.levels[0].counts.sum())
    share = total / (total + strength * base.vocab_size)
    unigrams = (1 - share) * base.levels[0].alphas + share * text.levels[0].alphas
    levels = [_make_level(base.levels[0].ngrams, unigrams, base.levels[0].parents)]
    for number, new in enumerate(text.levels[1:], start=1):
        old = base.levels[number] if number < len(base.levels) else None
        below = levels[-1].ngrams
        ngrams = np.unique(np.concatenate([new.ngrams, *([old.ngrams] if old else [])]))
        parents = find_parents(ngrams, below)
        shares = np.zeros(len(below))
        alphas = np.zeros(len(ngrams))
        contexts = text.levels[number - 1].ngrams
        seen = np.bincount(new.parents, weights=new.counts, minlength=len(contexts))
        shares[np.searchsorted(below, contexts)] = seen / (seen + strength)
        places = np.searchsorted(ngrams, new.ngrams)
        alphas[places] += shares[parents[places]] * new.alphas
        if old is not None:
            places = np.searchsorted(ngrams, old.ngrams)
            alphas[places] += (1 - shares[parents[places]]) * old.alphas
        levels.append(_make_level(ngrams, alphas, parents))
    return NgramTrie(tuple(levels))


def encode(trie: NgramTrie, weights: Sequence[float], codebooks: Sequence[Logits]) -> bytes:
    """Return the content of the file, with given codebooks."""
    data = bytearray(encode_table(trie, weights))
    layout = NgramFile(data).layout
    for number, (level, codebook) in enumerate(zip(trie.levels[1:], codebooks, strict=True)):
        place(data, CODEBOOKS_OFFSET + 4 * CODEBOOK_SIZE * number, codebook)
        place(data, layout.codes[number].offset, encode_alphas(level.alphas, codebook))
    hash_blocks(data, layout)
    return bytes(data)


def _make_level(ngrams: PackedNgrams, alphas: Doubles, parents: IndexArray) -> NgramLevel:
    return NgramLevel(ngrams, np.zeros(ngrams.shape, dtype=np.int64), alphas, parents)
