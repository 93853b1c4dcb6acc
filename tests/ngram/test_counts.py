"""Counts of n-grams: every one is counted, none spans a separator, order does not matter."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ngram.examples import VOCAB_SIZE, make_text
from tinyedge.core.errors import CorpusError, UsageError
from tinyedge.ngram.counts import NgramCounts, count_left_neighbours, count_ngrams
from tinyedge.text.tokenizer import PAD_ID

TEXTS = st.lists(st.lists(st.integers(0, 9), max_size=12), min_size=1, max_size=4)


def unpack(counts: NgramCounts, length: int) -> dict[tuple[int, ...], int]:
    grams = counts.ngrams[length - 1].tolist()
    tokens = [tuple(gram >> 15 * (length - 1 - i) & 0x7FFF for i in range(length)) for gram in grams]
    return dict(zip(tokens, counts.counts[length - 1].tolist(), strict=True))


@given(TEXTS, st.integers(2, 4))
def test_every_ngram_without_pad_inside_one_text_is_counted(texts: list[list[int]], order: int) -> None:
    expected = [
        Counter(
            tuple(text[i : i + n])
            for text in texts
            for i in range(len(text) - n + 1)
            if PAD_ID not in text[i : i + n]
        )
        for n in range(1, order + 1)
    ]
    arrays = [np.array(text, dtype=np.uint16) for text in texts]
    if not expected[0]:
        with pytest.raises(CorpusError):
            count_ngrams(arrays, 10, order)
        return
    counts = count_ngrams(arrays, 10, order)
    assert [unpack(counts, n) for n in range(1, order + 1)] == expected
    for n in range(1, order):
        neighbours = Counter(gram[1:] for gram in expected[n])
        assert count_left_neighbours(counts, n).tolist() == [neighbours[g] for g in unpack(counts, n)]


def test_the_order_of_the_texts_does_not_matter() -> None:
    parts = [make_text(5, seed) for seed in range(4)]
    forward, backward = count_ngrams(parts, VOCAB_SIZE), count_ngrams(parts[::-1], VOCAB_SIZE)
    for n in range(4):
        np.testing.assert_array_equal(forward.ngrams[n], backward.ngrams[n])
        np.testing.assert_array_equal(forward.counts[n], backward.counts[n])


def test_four_tokens_of_the_largest_vocabulary_fit() -> None:
    text = np.array([32767, 0, 32766, 32767], dtype=np.uint16)
    assert unpack(count_ngrams([text], 32768), 4) == {(32767, 0, 32766, 32767): 1}


def test_a_token_outside_the_vocabulary_is_refused() -> None:
    with pytest.raises(CorpusError, match="token 12 is outside the vocabulary of 12"):
        count_ngrams([np.array([0, 12, 1], dtype=np.uint16)], 12)


@pytest.mark.parametrize(("vocab_size", "order"), [(10, 1), (10, 5), (0, 4), (40000, 4)])
def test_values_outside_their_range_are_refused(vocab_size: int, order: int) -> None:
    with pytest.raises(UsageError, match="is outside"):
        count_ngrams([make_text(2)], vocab_size, order)
