"""The mixture: its formula, its weights, and how it is evaluated."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ngram.examples import VOCAB_SIZE, make_table, make_text, make_trie
from tinyedge.core.arrays import Logits, TokenIds
from tinyedge.core.errors import CorpusError, UsageError
from tinyedge.ngram.lookup import distribution
from tinyedge.ngram.mixture import MixedModel, mix
from tinyedge.ngram.scorer import TableScorer
from tinyedge.ngram.weights import PredictedTokens, choose_weights, predict_tokens
from tinyedge.ngram.write import encode_table
from tinyedge.text.evaluate import Passage, Window, default_stride, evaluate

WEIGHTS = (0.0, 0.1, 0.25, 0.6)
TABLE = make_table(weights=WEIGHTS)


class FixedModel:
    """A model whose logits depend on the last token only."""

    context = 16

    def logits(self, inputs: TokenIds, first: int) -> Logits:
        steps = np.arange(VOCAB_SIZE)[None] - inputs[first:, None].astype(np.int64)
        return (-0.1 * np.abs(steps - 1)).astype(np.float32)


def make_passages() -> list[Passage]:
    return [Passage(make_text(12, seed), 400) for seed in (5, 6)]


def make_windows() -> list[Window]:
    """The windows in which `evaluate` reads the passages."""
    stride = default_stride(FixedModel.context)
    return [window for passage in make_passages() for window in passage.windows(FixedModel.context, stride)]


@given(
    st.lists(st.floats(-50, 50, width=32), min_size=VOCAB_SIZE, max_size=VOCAB_SIZE),
    st.integers(0, 3),
)
@settings(deadline=None)
def test_it_is_the_weighted_mean_of_the_probabilities(logits: list[float], length: int) -> None:
    context = make_text()[40 : 40 + length].tolist()
    ngram, matched = distribution(TABLE, context)
    assert matched == length
    mixed = mix(np.array(logits, dtype=np.float32), TABLE, context)
    assert mixed.dtype == np.float32
    softmax = np.exp(np.array(logits) - max(logits))
    expected = (1 - WEIGHTS[matched]) * softmax / softmax.sum() + WEIGHTS[matched] * ngram
    np.testing.assert_allclose(mixed, np.log(expected), rtol=1e-4, atol=1e-5)
    assert np.exp(mixed.astype(np.float64)).sum() == pytest.approx(1, abs=1e-5)


def test_without_weight_no_token_becomes_impossible() -> None:
    logits = np.linspace(-300, 0, VOCAB_SIZE, dtype=np.float32)
    assert np.isfinite(mix(logits, TABLE, [])).all()


def test_with_all_weight_no_token_becomes_impossible() -> None:
    logits = np.linspace(-300, 0, VOCAB_SIZE, dtype=np.float32)
    for weights in ((1.0,) * 4, (1e-44,) * 4):
        mixed = mix(logits, make_table(weights=weights), make_text()[:3].tolist())
        assert np.isfinite(mixed).all()


def test_weights_maximize_the_likelihood_of_their_tokens() -> None:
    random = np.random.default_rng(3)
    matched = np.repeat(np.arange(4), 500)
    model, ngram = random.uniform(0.01, 0.2, 2000), random.uniform(0.01, 0.2, 2000)
    ngram[matched == 3] *= 3
    ngram[matched == 0] /= 10
    weights = choose_weights(PredictedTokens(model, ngram, matched), 4)
    for length, weight in enumerate(weights):
        used = matched == length

        def likelihood(w: float, used: "np.ndarray[tuple[int], np.dtype[np.bool_]]" = used) -> float:
            return float(np.log((1 - w) * model[used] + w * ngram[used]).sum())

        grid = np.linspace(0, 1, 101)
        assert likelihood(weight) >= max(map(likelihood, grid)) - 1e-6
    assert weights[0] == pytest.approx(0, abs=1e-6)
    assert weights[3] > 0.5


def test_a_number_of_matched_tokens_that_is_rare_gets_the_weight_of_all() -> None:
    random = np.random.default_rng(4)
    model, ngram = random.uniform(0.01, 0.2, 1000), random.uniform(0.01, 0.2, 1000)
    matched = np.ones(1000, dtype=np.intp)
    matched[:3] = 2  # alone, these would get weight 1
    ngram[:3] = 0.9
    unmatched, usual, rare = choose_weights(PredictedTokens(model, ngram, matched), 3)
    assert unmatched == rare
    assert abs(usual - rare) < 0.1
    assert 0 < usual < rare < 1


def test_predictions_are_those_of_the_evaluation() -> None:
    predicted = predict_tokens(FixedModel(), TableScorer(TABLE), make_windows())
    quality = evaluate("model", FixedModel(), make_passages())
    assert len(predicted.model) == len(predicted.ngram) == len(predicted.matched) == quality.tokens
    assert -np.log(predicted.model).mean() == pytest.approx(np.log(quality.perplexity), rel=1e-5)
    mixed = predicted.mixed_nats(WEIGHTS) / quality.tokens
    together = evaluate("mixture", MixedModel(FixedModel(), TABLE), make_passages())
    assert mixed == pytest.approx(np.log(together.perplexity), rel=1e-4)


def test_chosen_weights_improve_the_model() -> None:
    predicted = predict_tokens(FixedModel(), TableScorer(TABLE), make_windows())
    table = make_table(weights=choose_weights(predicted, 4))
    alone = evaluate("model", FixedModel(), make_passages()).bits_per_byte
    together = evaluate("mixture", MixedModel(FixedModel(), table), make_passages()).bits_per_byte
    assert together < 0.95 * alone


def test_held_out_text_without_a_token_to_predict_is_refused() -> None:
    with pytest.raises(CorpusError, match="has nothing to predict"):
        predict_tokens(FixedModel(), TableScorer(TABLE), [])


@pytest.mark.parametrize("weights", [(0.1,), (0.1, 0.1, 0.1, 1.5), (0.1, 0.1, 0.1, float("nan"))])
def test_weights_that_do_not_fit_are_refused(weights: tuple[float, ...]) -> None:
    with pytest.raises(UsageError, match="weights must be 4 numbers in 0-1"):
        encode_table(make_trie(), weights)
