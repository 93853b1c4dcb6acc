"""A table that has read one more text: its distributions lie between those of the table and of the text."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ngram.examples import VOCAB_SIZE, make_table, make_text, make_trie
from tinyedge.core.arrays import TokenIds
from tinyedge.ngram.adapt import adapt, make_uniform_trie, read_trie
from tinyedge.ngram.counts import count_ngrams
from tinyedge.ngram.estimate import estimate
from tinyedge.ngram.lookup import distribution
from tinyedge.ngram.scorer import TableScorer

BASE = make_trie()
OTHER_TEXT = make_text(lines=20, seed=1)[::-1].copy()  # backwards: other n-grams


def nats(table_of: object, text: TokenIds) -> float:
    probabilities, _ = TableScorer(make_table(table_of)).score(text)  # type: ignore[arg-type]
    return -float(np.log(probabilities).sum())


def test_a_table_comes_back_as_the_ngrams_that_it_was_written_from() -> None:
    again = read_trie(make_table(BASE))
    for ours, original in zip(again.levels, BASE.levels, strict=True):
        np.testing.assert_array_equal(ours.ngrams, original.ngrams)
        np.testing.assert_array_equal(ours.parents, original.parents)
        np.testing.assert_allclose(ours.alphas, original.alphas, rtol=0.05, atol=1e-9)


@given(st.floats(0.1, 1000), st.lists(st.integers(0, VOCAB_SIZE - 1), max_size=3))
def test_distributions_are_normalized(strength: float, context: list[int]) -> None:
    table = make_table(adapt(BASE, make_trie(OTHER_TEXT), strength))
    probabilities, _ = distribution(table, context)
    assert probabilities.sum() == pytest.approx(1, abs=1e-4)
    assert (probabilities > 0).all()


def test_a_small_strength_gives_the_text_and_a_large_one_the_table() -> None:
    text = make_trie(OTHER_TEXT)
    near, middle, far = (nats(adapt(BASE, text, strength), OTHER_TEXT) for strength in (1e-6, 10, 1e9))
    assert near == pytest.approx(nats(text, OTHER_TEXT), rel=0.02)
    assert far == pytest.approx(nats(BASE, OTHER_TEXT), rel=0.02)
    assert near < middle < far


def test_what_the_text_does_not_have_stays_as_it_was() -> None:
    text = estimate(count_ngrams([np.array([5, 6, 7, 8], dtype=np.uint16)], VOCAB_SIZE))
    adapted = read_trie(make_table(adapt(BASE, text, 1.0)))
    before = dict(zip(BASE.levels[1].ngrams.tolist(), BASE.levels[1].alphas.tolist(), strict=True))
    context = 20 << 15
    kept = {
        ngram: alpha
        for ngram, alpha in zip(
            adapted.levels[1].ngrams.tolist(), adapted.levels[1].alphas.tolist(), strict=True
        )
        if context <= ngram < context + VOCAB_SIZE
    }
    assert kept
    assert kept == {ngram: pytest.approx(before[ngram], rel=0.05) for ngram in kept}


def test_a_bundle_without_a_table_learns_from_equal_probabilities() -> None:
    text = make_trie(OTHER_TEXT)
    adapted = adapt(make_uniform_trie(VOCAB_SIZE), text, 1.0)
    assert len(adapted.levels) == 4
    assert nats(adapted, OTHER_TEXT) < len(OTHER_TEXT) * np.log(VOCAB_SIZE) / 2


def test_a_table_of_a_lower_order_grows() -> None:
    adapted = adapt(make_trie(order=2), make_trie(OTHER_TEXT), 1.0)
    assert [len(level.ngrams) > 0 for level in adapted.levels] == [True] * 4
    assert nats(adapted, OTHER_TEXT) < nats(make_trie(order=2), OTHER_TEXT)
