"""Bits per byte against exact values: windows that predict each token once, sums, UNK."""

import gzip
import json
import math
import textwrap
from pathlib import Path

import numpy as np
import pytest

from tinyedge.core.arrays import Logits, TokenIds
from tinyedge.core.errors import CorpusError
from tinyedge.text import evaluate
from tinyedge.text.evaluate import Passage
from tinyedge.text.tokenizer import UNK_ID, Tokenizer


@pytest.fixture(scope="module")
def tokenizer(micro_bundle: Path) -> Tokenizer:
    return Tokenizer.load(micro_bundle / "tokenizer.model")


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


def test_bytes_behind_unk_cost_eight_bits_each() -> None:
    tokens = np.arange(20, dtype=np.uint16)
    quality = evaluate.evaluate("x", Bigram(), [Passage(tokens, bytes=38, unknown_bytes=6)], stride=4)
    assert quality.bits_per_byte == pytest.approx((19 + 6 * 8) / 38, rel=1e-6)
    assert quality.unknown_bytes == pytest.approx(6 / 38)
    assert quality.perplexity == pytest.approx(2.0, rel=1e-6)  # of the tokens alone


def test_a_run_of_unknown_characters_is_counted_in_bytes(tokenizer: Tokenizer) -> None:
    lines = ["The men", "漢字かな交じり文 and αβγ", "漢"]
    passage = evaluate.tokenize_document(lines, tokenizer)
    assert passage.bytes == sum(len(line.encode()) + 1 for line in lines)
    assert passage.unknown_bytes == 24 + 6 + 3
    assert (passage.tokens == UNK_ID).sum() == 3


def test_dropping_text_never_improves_the_figure(tokenizer: Tokenizer) -> None:
    """A model that predicts nothing needs at least as many bits where its vocabulary lacks characters."""

    class Uniform:
        context = 32

        def logits(self, inputs: TokenIds, first: int) -> Logits:
            return np.zeros((len(inputs) - first, tokenizer.vocab_size), np.float32)

    plain = evaluate.evaluate("en", Uniform(), [evaluate.tokenize_document(["men and dogs"] * 9, tokenizer)])
    dropped = evaluate.evaluate(
        "zh", Uniform(), [evaluate.tokenize_document(["漢字かな交じり文"] * 9, tokenizer)]
    )
    assert dropped.bits_per_byte > 8 * 24 / 25 > plain.bits_per_byte
    assert evaluate.describe_unknown({"en": plain.unknown_bytes}) == ""
    assert "96.0% of zh" in evaluate.describe_unknown({"zh": dropped.unknown_bytes})


def test_wrapped_text_and_other_formats_are_read_as_corpus_reads_them(
    tmp_path: Path, tokenizer: Tokenizer
) -> None:
    sentences = [f"The {'more and ' * (n % 5)}men said that they would go to house {n}." for n in range(60)]
    paragraphs = [" ".join(sentences[start : start + 6]) for start in range(0, 60, 6)]
    wrapped = "\n\n".join(textwrap.fill(paragraph, 60) for paragraph in paragraphs)
    (tmp_path / "wrapped.txt").write_text(wrapped)
    (tmp_path / "wrapped.txt.gz").write_bytes(gzip.compress(wrapped.encode()))
    (tmp_path / "one.md").write_text("\n\n".join(f"- {sentence}" for sentence in sentences))
    (tmp_path / "one.jsonl").write_text(json.dumps({"text": "\n\n".join(paragraphs)}) + "\n")
    for path in tmp_path.iterdir():
        read = [line for lines in evaluate.read_lines_by_document(path) for line in lines]
        assert read == sentences, path.name
        assert sum(p.bytes for p in evaluate.read_passages(path, tokenizer)) == sum(
            len(line.encode()) + 1 for line in sentences
        )


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
