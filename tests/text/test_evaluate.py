"""Bits per byte against exact values: windows that predict each token once, sums, UNK."""

import math

import numpy as np
import pytest

from tinyedge.core.arrays import Logits, TokenIds
from tinyedge.core.errors import CorpusError
from tinyedge.text import evaluate
from tinyedge.text.evaluate import Passage


class Bigram:
    """A model with p(next = last + 1) = 1/2; the other tokens share the rest equally. Records its calls."""

    context = 8
    vocab = 64

    def __init__(self) -> None:
        self.calls: list[tuple[int, int]] = []

    def logits(self, inputs: TokenIds, first: int) -> Logits:
        self.calls.append((len(inputs), first))
        assert len(inputs) <= self.context
        logits = np.full((len(inputs) - first, self.vocab), math.log(0.5 / (self.vocab - 1)), np.float32)
        for row, token in enumerate(inputs[first:]):
            logits[row, (int(token) + 1) % self.vocab] = math.log(0.5)
        return logits


@pytest.mark.parametrize("length", [1, 2, 7, 8, 9, 10, 12, 13, 40])
@pytest.mark.parametrize("stride", [1, 3, 4, 8])
def test_each_token_except_the_first_is_predicted_once(length: int, stride: int) -> None:
    tokens = np.arange(length, dtype=np.uint16)
    predicted: list[int] = []
    for window in evaluate.split_windows(tokens, 8, stride):
        assert len(window.inputs) <= 8
        # the inputs end one token before the last target
        assert window.inputs[window.first :].tolist() == [t - 1 for t in window.targets.tolist()]
        if predicted:
            assert window.first >= 8 - stride
        predicted += window.targets.tolist()
    assert predicted == list(range(1, length))


def test_bits_per_byte_match_a_manual_calculation() -> None:
    tokens = np.arange(20, dtype=np.uint16)
    quality = evaluate.evaluate("x", Bigram(), [Passage(tokens, bytes=38)], stride=4)
    assert quality.tokens == 19
    assert quality.bits_per_byte == pytest.approx(19 * 1.0 / 38, rel=1e-6)  # one bit per token
    assert quality.perplexity == pytest.approx(2.0, rel=1e-6)
    assert quality.unknown == pytest.approx(1 / 19)  # token 3 is UNK


def test_context_does_not_cross_documents() -> None:
    model = Bigram()
    documents = [Passage(np.arange(5, dtype=np.uint16), 10), Passage(np.arange(3, dtype=np.uint16), 6)]
    evaluate.evaluate("x", model, documents)
    assert model.calls == [(4, 0), (2, 0)]


def test_negative_log_likelihood_matches_a_plain_softmax() -> None:
    random = np.random.default_rng(0)
    logits = random.normal(0, 30, (5, 100)).astype(np.float32)
    targets = random.integers(0, 100, 5).astype(np.uint16)
    wide = logits.astype(np.float64)
    expected = -(wide[range(5), targets] - wide.max(1)) + np.log(np.exp(wide - wide.max(1)[:, None]).sum(1))
    np.testing.assert_allclose(evaluate.negative_log_likelihood(logits, targets), expected, atol=1e-4)


def test_a_text_with_nothing_to_predict_is_an_error() -> None:
    with pytest.raises(CorpusError, match="text x has nothing to predict"):
        evaluate.evaluate("x", Bigram(), [])
