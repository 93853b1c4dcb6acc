"""How often each n-gram occurs in tokenized text.

In: token arrays. Out: the distinct n-grams of every order, sorted, with their counts. Does not know
probabilities.

An n-gram never contains PAD and never spans two of the arrays, so what must not be joined is passed as
several arrays or separated by PAD. `train.bin` of pairs has PAD after each conversation. `train.bin` of text
does not mark documents: n-grams span them there, as the windows of training do. This concerns at most
order - 1 n-grams of each order per document. N-grams span the lines of a document (... EOS BOS ...).

Memory: 45 bytes for each token of the text, measured on 9 million tokens with 11 million distinct n-grams.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from tinyedge.core.arrays import Integers, TokenIds
from tinyedge.core.errors import CorpusError, UsageError
from tinyedge.text.tokenizer import PAD_ID

if TYPE_CHECKING:
    import numpy.typing as npt

PackedNgrams: TypeAlias = "npt.NDArray[np.uint64]"

TOKEN_BITS = 15  # a vocabulary has at most 32,000 tokens
TOKEN_MASK = np.uint64((1 << TOKEN_BITS) - 1)
ORDERS = range(2, 5)  # four tokens of 15 bits fit into 64


@dataclass(frozen=True)
class NgramCounts:
    """The distinct n-grams of a text, of each order from 1 on."""

    vocab_size: int
    """Number of tokens of the vocabulary."""

    ngrams: tuple[PackedNgrams, ...]
    """By order: the distinct n-grams, packed and increasing, (E,)."""

    counts: tuple[Integers, ...]
    """By order: how often each of them occurs, (E,)."""


def pack(tokens: TokenIds, length: int) -> PackedNgrams:
    """Pack each run of `length` tokens into one number, the first token in the highest bits.

    Numbers of the same length are ordered like their tokens, so continuations of an n-gram are adjacent.

    Args:
        tokens: (T,), each below 2**TOKEN_BITS.
        length: Tokens in an n-gram, at most four.

    Returns:
        (max(0, T - length + 1),)
    """
    total = max(0, len(tokens) - length + 1)
    packed = np.zeros(total, dtype=np.uint64)
    for offset in range(length):
        packed <<= np.uint64(TOKEN_BITS)
        packed |= tokens[offset : offset + total]
    return packed


def count_ngrams(texts: Iterable[TokenIds], vocab_size: int, order: int = 4) -> NgramCounts:
    """Count the n-grams of some texts. The order of the texts does not matter.

    Args:
        texts: Tokens, each array (T,). No n-gram spans two arrays.
        vocab_size: Number of tokens of the vocabulary.
        order: Tokens in the longest n-gram.

    Raises:
        CorpusError: There is no token to count, or a token is not in the vocabulary.
        UsageError: `order` or `vocab_size` is outside its range.
    """
    if order not in ORDERS:
        raise UsageError(f"order {order} is outside {ORDERS[0]}-{ORDERS[-1]}", parameters=("order",))
    if not 0 < vocab_size <= 1 << TOKEN_BITS:
        raise UsageError(
            f"vocab_size {vocab_size} is outside 1-{1 << TOKEN_BITS}", parameters=("vocab_size",)
        )
    separator = np.array([PAD_ID], dtype=np.uint16)
    tokens = np.concatenate([separator, *(part for text in texts for part in (text, separator))])
    is_separator = tokens == PAD_ID
    if is_separator.all():
        raise CorpusError("there are no tokens to count n-grams of", "give a text with a sentence in it")
    if int(tokens.max()) >= vocab_size:
        raise CorpusError(
            f"token {int(tokens.max())} is outside the vocabulary of {vocab_size}",
            "use the tokenizer that the token files were made with",
        )
    ngrams, counts = [], []
    spans_separator = np.zeros(len(tokens), dtype=np.bool_)
    for length in range(1, order + 1):
        total = max(0, len(tokens) - length + 1)
        spans_separator = spans_separator[:total] | is_separator[length - 1 :]
        packed = pack(tokens, length)[~spans_separator]
        packed.sort()
        distinct, occurrences = _count_runs(packed)
        ngrams.append(distinct)
        counts.append(occurrences)
    return NgramCounts(vocab_size, tuple(ngrams), tuple(counts))


def _count_runs(values: PackedNgrams) -> tuple[PackedNgrams, Integers]:
    """Return the distinct values of a sorted array, and how often each occurs."""
    is_first = np.ones(len(values), dtype=np.bool_)
    np.not_equal(values[1:], values[:-1], out=is_first[1:])
    firsts = np.flatnonzero(is_first)
    return values[firsts], np.diff(firsts, append=len(values)).astype(np.int64)


def count_left_neighbours(counts: NgramCounts, order: int) -> Integers:
    """Count the distinct tokens that precede each n-gram of an order: the continuation counts of Kneser-Ney.

    Args:
        counts: The counted n-grams.
        order: The order, below the longest.

    Returns:
        (E,), in the order of `counts.ngrams[order - 1]`.
    """
    suffixes = counts.ngrams[order] & np.uint64((1 << TOKEN_BITS * order) - 1)
    suffixes.sort()
    distinct, neighbours = _count_runs(suffixes)
    result = np.zeros(len(counts.ngrams[order - 1]), dtype=np.int64)
    result[np.searchsorted(counts.ngrams[order - 1], distinct)] = neighbours
    return result
