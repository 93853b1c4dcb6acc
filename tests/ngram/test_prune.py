"""Pruning: the size is respected, what is kept is connected, and the least valuable goes first."""

import numpy as np
import pytest

from tests.ngram.examples import make_text, make_trie
from tinyedge.core.errors import UsageError
from tinyedge.ngram.mapped_file import NgramFile
from tinyedge.ngram.prune import compute_gains, prune
from tinyedge.ngram.scorer import TableScorer
from tinyedge.ngram.table import NgramTable
from tinyedge.ngram.write import encode_table

TEXT = make_text(400)
TRIE = make_trie(TEXT)
FULL = len(encode_table(TRIE))


def measure_loss(size: int) -> float:
    """Mean loss on the text itself, in nats per token."""
    scorer = TableScorer(NgramTable(NgramFile(encode_table(prune(TRIE, size)))))
    return float(-np.log(scorer.score(TEXT)[0]).mean())


@pytest.mark.parametrize("size", [4608, 5000, 6000, 9000, FULL])
def test_the_file_is_at_most_as_large_as_wanted_and_nearly_so(size: int) -> None:
    data = encode_table(prune(TRIE, size))
    assert len(data) <= size
    assert len(data) > size - 700 or len(data) > 0.98 * FULL  # equal n-grams go together
    table = NgramTable(NgramFile(data))
    for order in range(2, 5):
        table.level(order)


def test_more_bytes_predict_better() -> None:
    losses = [measure_loss(size) for size in (4608, 6000, 9000, FULL)]
    assert losses == sorted(losses, reverse=True)
    assert losses[0] > losses[-1] + 0.1


def test_an_ngram_stays_only_with_its_context() -> None:
    small = prune(TRIE, 6000)
    for order in range(2, 5):
        contexts = small.levels[order - 1].ngrams >> np.uint64(15)
        below = small.levels[order - 2].ngrams
        np.testing.assert_array_equal(below[small.levels[order - 1].parents], contexts)


def test_what_goes_is_worth_less_than_what_stays() -> None:
    small = prune(TRIE, 6000)
    stays = np.isin(TRIE.levels[3].ngrams, small.levels[3].ngrams)
    gains = compute_gains(TRIE)[2]
    assert 0 < stays.sum() < len(stays)
    assert gains[stays].mean() > 2 * gains[~stays].mean()
    assert min(gain.min() for gain in compute_gains(TRIE)) > -1e-9


def test_a_size_that_single_tokens_exceed_is_refused() -> None:
    with pytest.raises(UsageError, match="max_bytes 1000 is too small: 40 single tokens need"):
        prune(TRIE, 1000)


def test_the_smallest_table_still_predicts() -> None:
    smallest = prune(TRIE, 4608 + 64)
    scorer = TableScorer(NgramTable(NgramFile(encode_table(smallest))))
    probabilities, _ = scorer.score(TEXT)
    assert probabilities.min() > 0
