"""Kneser-Ney equals its definition, and its probabilities sum to 1."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ngram.examples import VOCAB_SIZE, SlowKneserNey, make_text, make_trie
from tinyedge.core.arrays import TokenIds
from tinyedge.ngram.estimate import FALLBACK_DISCOUNTS, estimate_discounts
from tinyedge.ngram.trie import NgramTrie
from tinyedge.text.tokenizer import BOS_ID


def probabilities(trie: NgramTrie, order: int) -> dict[tuple[int, ...], float]:
    """p(last token | the others) of each n-gram of an order."""
    below = trie.levels[0].alphas
    for n in range(2, order + 1):
        level = trie.levels[n - 1]
        below = level.alphas + trie.gammas(n)[level.parents] * trie.lower_probabilities(n, below)
    grams = trie.levels[order - 1].ngrams.tolist()
    unpacked = [tuple(gram >> 15 * (order - 1 - i) & 0x7FFF for i in range(order)) for gram in grams]
    return dict(zip(unpacked, below.tolist(), strict=True))


@pytest.mark.parametrize("order", [2, 3, 4])
def test_it_equals_the_definition(order: int) -> None:
    text = make_text()
    slow = SlowKneserNey(text.tolist(), VOCAB_SIZE, order)
    trie = make_trie(text, order)
    for n in range(1, order + 1):
        for gram, probability in probabilities(trie, n).items():
            assert probability == pytest.approx(slow.probability(gram[:-1], gram[-1]), rel=1e-9)


def test_the_text_is_large_enough_to_estimate_discounts() -> None:
    for level in make_trie().levels[1:]:
        assert estimate_discounts(level.counts) != FALLBACK_DISCOUNTS


@given(st.lists(st.integers(0, 9), min_size=1, max_size=60), st.integers(2, 4))
def test_no_row_has_more_than_1_and_every_token_is_possible(tokens: list[int], order: int) -> None:
    text = np.array([BOS_ID, *tokens], dtype=np.uint16)
    trie = make_trie(text, order)
    assert trie.levels[0].alphas.min() > 0
    assert trie.levels[0].alphas.sum() == pytest.approx(1)
    for n in range(2, order + 1):
        assert trie.levels[n - 1].alphas.min(initial=0) >= 0
        assert trie.gammas(n).min(initial=1) > 0


def beginnings(text: TokenIds) -> dict[int, int]:
    return {int(token): int((text[1:][text[:-1] == BOS_ID] == token).sum()) for token in set(text.tolist())}


def test_the_beginning_of_a_text_is_predicted_by_how_often_lines_begin_so() -> None:
    text = make_text(200)
    counts = beginnings(text)
    usual, rare = (
        max(counts, key=lambda t: counts[t]),
        min((t for t in counts if counts[t]), key=lambda t: counts[t]),
    )
    after_bos = probabilities(make_trie(text), 2)
    assert counts[usual] >= 3 * counts[rare]
    assert after_bos[BOS_ID, usual] > 2 * after_bos[BOS_ID, rare]
