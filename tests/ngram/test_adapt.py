"""A table that has read one more text: the bytes of the plain merge, and distributions between the two."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ngram.examples import VOCAB_SIZE, make_table, make_text, make_trie
from tests.ngram.plain_merge import encode, make_uniform_trie, merge, read_trie
from tinyedge.core.arrays import TokenIds
from tinyedge.core.errors import BundleError
from tinyedge.ngram.adapt import TableAdapter
from tinyedge.ngram.counts import count_ngrams
from tinyedge.ngram.estimate import estimate
from tinyedge.ngram.layout import BLOCK_BYTES
from tinyedge.ngram.lookup import distribution
from tinyedge.ngram.mapped_file import NgramFile
from tinyedge.ngram.prune import prune
from tinyedge.ngram.scorer import TableScorer
from tinyedge.ngram.table import NgramTable
from tinyedge.ngram.trie import NgramLevel, NgramTrie
from tinyedge.ngram.write import encode_table
from tinyedge.text.tokenizer import PAD_ID

TRIE = make_trie()
BASE = make_table(TRIE)
OTHER_TEXT = make_text(lines=20, seed=1)[::-1].copy()  # backwards: other n-grams
OTHER = make_trie(OTHER_TEXT)
WEIGHTS = [0.1, 0.2, 0.3, 0.4]
TEXTS = st.lists(
    st.integers(0, VOCAB_SIZE - 1).filter(lambda token: token != PAD_ID), min_size=1, max_size=60
)


def adapt(table: NgramTable | None, text: NgramTrie, strength: float) -> NgramTable:
    return NgramTable(NgramFile(TableAdapter(table, text).encode(strength)))


def nats(table: NgramTable, text: TokenIds) -> float:
    probabilities, _ = TableScorer(table).score(text)
    return -float(np.log(probabilities).sum())


def make_large_trie(tokens: int = 40_000, vocab_size: int = 2000, seed: int = 0) -> NgramTrie:
    text = np.random.default_rng(seed).zipf(1.2, tokens) % (vocab_size - 4) + 4
    return estimate(count_ngrams([text.astype(np.uint16)], vocab_size))


def assert_is_plain_merge(data: bytearray, merged: NgramTrie) -> None:
    """Compare all bytes of a file with the plain merge, whichever codebooks it has."""
    assert data == encode(merged, WEIGHTS, [*NgramTable(NgramFile(data)).codebooks])


@pytest.mark.parametrize("strength", [0.25, 1.0, 4.0, 1e-6, 1e9])
@pytest.mark.parametrize("order", [2, 3, 4])
@pytest.mark.parametrize("size", [4700, 6000, 100_000])
def test_the_file_is_that_of_the_plain_merge(order: int, size: int, strength: float) -> None:
    table = make_table(prune(make_trie(order=order), size))
    data = TableAdapter(table, OTHER).encode(strength, WEIGHTS)
    assert_is_plain_merge(data, merge(read_trie(table), OTHER, strength))


@given(TEXTS, TEXTS, st.sampled_from([0.25, 1.0, 4.0]))
@settings(deadline=None)
def test_any_two_texts_give_the_file_of_the_plain_merge(
    first: list[int], second: list[int], strength: float
) -> None:
    base, text = (estimate(count_ngrams([np.array(part, np.uint16)], VOCAB_SIZE)) for part in (first, second))
    table = make_table(base)
    data = TableAdapter(table, text).encode(strength, WEIGHTS)
    assert_is_plain_merge(data, merge(read_trie(table), text, strength))


def test_a_large_table_that_learns_twice_gives_the_file_of_the_plain_merge() -> None:
    table = make_table(make_large_trie())
    for seed in (1, 2):
        text = make_large_trie(tokens=2000, seed=seed)
        adapter = TableAdapter(table, text)
        base = read_trie(table)
        for strength in (0.25, 4.0):  # one adapter, several strengths
            data = adapter.encode(strength, WEIGHTS)
            assert_is_plain_merge(data, merge(base, text, strength))
        table = NgramTable(NgramFile(data))


def test_a_bundle_without_a_table_gives_the_file_of_the_plain_merge() -> None:
    expected = encode_table(merge(make_uniform_trie(VOCAB_SIZE), OTHER, 1.0), WEIGHTS)
    assert TableAdapter(None, OTHER).encode(1.0, WEIGHTS) == expected


def test_a_codebook_stays_where_it_reaches_far_enough() -> None:
    """Otherwise, a table that learns often would lose a part of all its alphas each time."""
    wide = NgramLevel(
        TRIE.levels[1].ngrams,
        TRIE.levels[1].counts,
        np.where(np.arange(len(TRIE.levels[1].alphas)) == 7, 1e-6, TRIE.levels[1].alphas),
        TRIE.levels[1].parents,
    )
    table = make_table(NgramTrie((TRIE.levels[0], wide, *TRIE.levels[2:])))
    adapted = adapt(table, OTHER, 1.0)
    np.testing.assert_array_equal(adapted.codebooks[0], table.codebooks[0])
    again = adapt(adapted, make_trie(make_text(20, seed=5)), 1.0)
    np.testing.assert_array_equal(again.codebooks[0], table.codebooks[0])


def test_a_codebook_that_does_not_reach_far_enough_is_that_of_all_alphas() -> None:
    merged = merge(read_trie(BASE), OTHER, 1e-6)  # the text's largest alpha is above the table's
    assert TableAdapter(BASE, OTHER).encode(1e-6, WEIGHTS) == encode_table(merged, WEIGHTS)


def test_damage_in_a_row_that_the_text_does_not_have_is_noticed() -> None:
    """What is copied without a look would get a valid hash."""
    data = bytearray(encode_table(make_large_trie()))
    layout = NgramFile(data).layout
    data[layout.body_offset + (layout.blocks - 2) * BLOCK_BYTES] ^= 1
    text = make_large_trie(tokens=50, seed=1)
    with pytest.raises(BundleError, match="is damaged between bytes"):
        TableAdapter(NgramTable(NgramFile(data)), text)


def test_a_table_comes_back_as_the_ngrams_that_it_was_written_from() -> None:
    again = read_trie(BASE)
    for ours, original in zip(again.levels, TRIE.levels, strict=True):
        np.testing.assert_array_equal(ours.ngrams, original.ngrams)
        np.testing.assert_array_equal(ours.parents, original.parents)
        np.testing.assert_allclose(ours.alphas, original.alphas, rtol=0.05, atol=1e-9)


@given(st.floats(0.1, 1000), st.lists(st.integers(0, VOCAB_SIZE - 1), max_size=3))
def test_distributions_are_normalized(strength: float, context: list[int]) -> None:
    probabilities, _ = distribution(adapt(BASE, OTHER, strength), context)
    assert probabilities.sum() == pytest.approx(1, abs=1e-4)
    assert (probabilities > 0).all()


def test_a_small_strength_gives_the_text_and_a_large_one_the_table() -> None:
    near, middle, far = (nats(adapt(BASE, OTHER, strength), OTHER_TEXT) for strength in (1e-6, 10, 1e9))
    assert near == pytest.approx(nats(make_table(OTHER), OTHER_TEXT), rel=0.02)
    assert far == pytest.approx(nats(BASE, OTHER_TEXT), rel=0.02)
    assert near < middle < far


def test_what_the_text_does_not_have_stays_as_it_was() -> None:
    text = estimate(count_ngrams([np.array([5, 6, 7, 8], dtype=np.uint16)], VOCAB_SIZE))
    before, after = BASE.row(2, 20), adapt(BASE, text, 1.0).row(2, 20)
    assert before is not None
    assert after is not None
    np.testing.assert_array_equal(after.tokens, before.tokens)
    np.testing.assert_allclose(after.alphas, before.alphas, rtol=0.05)


def test_a_bundle_without_a_table_learns_from_equal_probabilities() -> None:
    adapted = adapt(None, OTHER, 1.0)
    assert adapted.order == 4
    assert nats(adapted, OTHER_TEXT) < len(OTHER_TEXT) * np.log(VOCAB_SIZE) / 2


def test_a_table_of_a_lower_order_grows() -> None:
    table = make_table(make_trie(order=2))
    adapted = adapt(table, OTHER, 1.0)
    assert all(adapted.layout.entries)
    assert nats(adapted, OTHER_TEXT) < nats(table, OTHER_TEXT)
