"""Distributions: normalized, as Kneser-Ney defines them, and the same bits for one position and for many."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ngram.examples import VOCAB_SIZE, SlowKneserNey, make_table, make_text, make_trie
from tinyedge.ngram.lookup import distribution
from tinyedge.ngram.prune import prune
from tinyedge.ngram.scorer import TableScorer

TABLES = {order: make_table(make_trie(order=order)) for order in (2, 3, 4)}
TABLES[5] = make_table(prune(make_trie(), 5200))  # pruned


@given(st.lists(st.integers(0, VOCAB_SIZE - 1), max_size=5), st.sampled_from(sorted(TABLES)))
@settings(deadline=None)
def test_probabilities_are_positive_with_a_sum_of_1(context: list[int], key: int) -> None:
    probabilities, matched = distribution(TABLES[key], context)
    assert probabilities.dtype == np.float32
    assert probabilities.shape == (VOCAB_SIZE,)
    assert probabilities.min() > 0
    assert probabilities.sum(dtype=np.float64) == pytest.approx(1, abs=1e-6)
    assert 0 <= matched <= min(len(context), TABLES[key].order - 1)


@pytest.mark.parametrize("order", [2, 3, 4])
def test_a_distribution_equals_the_definition_but_for_rounding(order: int) -> None:
    text = make_text().tolist()
    slow = SlowKneserNey(text, VOCAB_SIZE, order)
    for end in (0, 1, 2, 3, 50, 121):
        context = text[:end]
        probabilities, matched = distribution(TABLES[order], context)
        expected = [slow.probability(tuple(context), token) for token in range(VOCAB_SIZE)]
        np.testing.assert_allclose(probabilities, expected, rtol=0.15)
        assert matched == min(end, order - 1)


def test_an_unknown_context_gives_what_a_shorter_one_gives() -> None:
    unknown = VOCAB_SIZE - 1  # in no text
    text = make_text().tolist()
    table = TABLES[4]
    known, matched = distribution(table, text[5:6])
    np.testing.assert_array_equal(distribution(table, [unknown, *text[5:6]])[0], known)
    assert matched == 1
    single, matched = distribution(table, [unknown])
    np.testing.assert_array_equal(single, table.unigrams)
    assert matched == 0
    np.testing.assert_array_equal(distribution(table, [70000])[0], table.unigrams)


@pytest.mark.parametrize("key", sorted(TABLES))
def test_many_positions_get_the_same_bits_as_one(key: int) -> None:
    table = TABLES[key]
    tokens = np.concatenate([make_text(8, seed=9), np.arange(VOCAB_SIZE, dtype=np.uint16)])
    probabilities, matched = TableScorer(table).score(tokens)
    for position, target in enumerate(tokens[1:].tolist()):
        expected, length = distribution(table, tokens[: position + 1].tolist())
        assert probabilities[position].tobytes() == expected[target].tobytes()
        assert matched[position] == length


@pytest.mark.parametrize("length", [1, 2, 3, 4])
def test_short_texts_are_scored(length: int) -> None:
    probabilities, matched = TableScorer(TABLES[4]).score(make_text()[:length])
    assert len(probabilities) == len(matched) == length - 1


def test_a_board_that_only_reads_loads_neither_the_tokenizer_nor_a_model() -> None:
    program = (
        "import sys, tinyedge.ngram.mixture;"
        "print([name for name in ('torch', 'onnxruntime', 'sentencepiece') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
