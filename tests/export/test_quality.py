"""The quality gate: exact figures of known distributions; a model with a damaged matrix is rejected."""

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

pytest.importorskip("torch", reason="export needs tinyedge[train]")
pytest.importorskip("onnx", reason="export needs tinyedge[train]")

from tinyedge.core.arrays import Logits, TokenIds
from tinyedge.core.errors import ExportError
from tinyedge.export.fused_graph import build_fused_graph
from tinyedge.export.quality import (
    MIN_TOKENS,
    TOKEN_LIMIT,
    QualityComparison,
    choose_token_limit,
    compare_quality,
    require_quality,
)
from tinyedge.export.quantize import quantize
from tinyedge.export.weights import Weights
from tinyedge.runtime.bundle_model import BundleModel
from tinyedge.runtime.session import OnnxRuntimeSession
from tinyedge.text.evaluate import Passage, evaluate, read_passages
from tinyedge.text.tokenizer import Tokenizer
from tinyedge.text.window_sample import SampledWindow, draw_sample
from tinyedge.train.storage.checkpoint import load_model, load_tokenizer

CONTEXT = 8


class FixedModel:
    """Always predicts the same probabilities, and records what it reads."""

    context = CONTEXT

    def __init__(self, *probabilities: float) -> None:
        self._logits = (
            np.log(np.array(probabilities, dtype=np.float32)) + 3
        )  # any constant: a softmax drops it
        self.read: list[tuple[int, ...]] = []

    def logits(self, inputs: TokenIds, first: int) -> Logits:
        self.read.append(tuple(inputs.tolist()))
        return np.tile(self._logits, (len(inputs) - first, 1))


def passages(count: int = 1, length: int = 41) -> list[Passage]:
    return [Passage(np.arange(length, dtype=np.uint16) % 3, 80) for _ in range(count)]


def sample(
    text: Iterable[Passage], limit: int = TOKEN_LIMIT, context: int = CONTEXT
) -> Sequence[SampledWindow]:
    return draw_sample(text, context, limit).measured


def test_figures_of_known_distributions() -> None:
    reference, candidate = FixedModel(0.5, 0.25, 0.25), FixedModel(0.25, 0.5, 0.25)
    text = [Passage(np.array([2, 0, 0, 1, 1], dtype=np.uint16), 4)]
    result = compare_quality("en", reference, candidate, sample(text))
    assert result.reference_bits_per_byte == pytest.approx((1 + 1 + 2 + 2) / 4)
    assert result.bits_per_byte == pytest.approx((2 + 2 + 1 + 1) / 4)
    assert result.change_percent == pytest.approx(0)
    assert result.kl_nats == pytest.approx(0.25 * math.log(2))  # 0.5 ln(2) - 0.25 ln(2)
    assert (result.top1_agreement, result.tokens, result.bytes) == (0, 4, 4)


def test_a_model_costs_nothing_against_itself() -> None:
    result = compare_quality("en", FixedModel(0.7, 0.2, 0.1), FixedModel(0.7, 0.2, 0.1), sample(passages()))
    assert (result.change_percent, result.kl_nats, result.top1_agreement) == (0, 0, 1)
    assert (result.tokens, result.bytes) == (40, 80)


def test_all_of_a_text_gives_what_evaluate_gives() -> None:
    result = compare_quality("en", FixedModel(0.7, 0.2, 0.1), FixedModel(0.6, 0.3, 0.1), sample(passages(3)))
    assert result.bits_per_byte == pytest.approx(
        evaluate("en", FixedModel(0.6, 0.3, 0.1), passages(3)).bits_per_byte
    )


def test_sample_is_bounded_fixed_and_from_everywhere() -> None:
    several = [Passage(np.full(401, token, dtype=np.uint16), 400) for token in range(3)]
    one, two = FixedModel(0.4, 0.3, 0.3), FixedModel(0.4, 0.3, 0.3)
    result = compare_quality("en", one, two, sample(several, 100))
    assert 100 <= result.tokens < 108
    assert result.bytes == result.tokens  # 400 bytes and 400 predictions a passage
    assert {read[0] for read in one.read} == {0, 1, 2}
    again = FixedModel(0.4, 0.3, 0.3)
    compare_quality("en", again, two, sample(several, 100))
    assert one.read == again.read


def test_text_with_nothing_to_predict_is_refused() -> None:
    with pytest.raises(ExportError, match="held-out text of fr has nothing"):
        compare_quality("fr", FixedModel(0.5, 0.5), FixedModel(0.5, 0.5), [])


def test_larger_models_are_measured_on_fewer_tokens() -> None:
    assert choose_token_limit(2_327_552) == TOKEN_LIMIT
    assert choose_token_limit(10_000_000) == TOKEN_LIMIT // 4
    assert choose_token_limit(45_000_000) == MIN_TOKENS


@pytest.mark.parametrize("bits", [2.03, math.inf, math.nan])
def test_loss_above_the_limit_names_language_figure_and_remedies(bits: float) -> None:
    quality = {
        "en": QualityComparison(2.0, 2.0, 0, 1, 10, 10),
        "es": QualityComparison(2.0, bits, 0, 1, 10, 10),
    }
    with pytest.raises(ExportError, match=f"int8 costs es {100 * (bits / 2 - 1):.2f}%") as refusal:
        require_quality(quality, 1.0)
    assert "--quantize none" in refusal.value.hint
    assert "--max-quality-loss" in refusal.value.hint


def test_loss_within_the_limit_passes() -> None:
    require_quality({"en": QualityComparison(2.0, 2.0199, 0, 1, 10, 10)}, 1.0)
    require_quality({"en": QualityComparison(2.0, 1.9, 0, 1, 10, 10)}, 0.0)


@pytest.fixture(scope="module")
def measure_quality(run: Any) -> Callable[[bytes], QualityComparison]:
    """A function that compares a graph with the trained model's fp32 graph."""
    trained = load_model(run.checkpoint)
    tokenizer: Tokenizer = load_tokenizer(run.checkpoint, trained)
    graph = build_fused_graph(Weights.from_model(trained.model), {})
    reference = BundleModel(OnnxRuntimeSession(graph, trained.config))
    text: Path = run.texts["es"]

    def measure(graph: bytes) -> QualityComparison:
        candidate = BundleModel(OnnxRuntimeSession(graph, trained.config))
        windows = sample(read_passages(text, tokenizer), 1000, reference.context)
        return compare_quality("es", reference, candidate, windows)

    return measure


def test_int8_of_a_trained_model_passes_and_a_ruined_matrix_does_not(
    run: Any, measure_quality: Callable[[bytes], QualityComparison], change_constant: Callable[..., bytes]
) -> None:
    def ruined(weight: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
        return np.roll(weight, 1, axis=1)

    weights = Weights.from_model(load_model(run.checkpoint).model)
    int8 = build_fused_graph(weights, quantize(weights).matrices)
    good = measure_quality(int8)
    assert good.reference_bits_per_byte < 2.5  # it did learn: an untrained one needs over 4
    require_quality({"es": good}, 1.0)
    assert 0 < good.kl_nats < 0.01
    assert good.top1_agreement > 0.9
    with pytest.raises(ExportError, match="int8 costs es"):
        require_quality({"es": measure_quality(change_constant(int8, "blocks.0.linear1", ruined))}, 1.0)


def test_bytes_behind_unk_cost_what_they_cost_in_an_evaluation() -> None:
    model = FixedModel(0.4, 0.3, 0.2, 0.1)
    unknown = [Passage(np.arange(41, dtype=np.uint16) % 4, 80, unknown_bytes=30)]
    result = compare_quality("zh", model, model, sample(unknown))
    assert result.unknown_bytes == pytest.approx(30 / 80)
    assert result.bits_per_byte == pytest.approx(evaluate("zh", model, unknown).bits_per_byte)
    assert result.to_dict()["unknown_bytes"] == result.unknown_bytes


@pytest.mark.parametrize(
    ("before", "after", "loses"),
    [
        *((1.8, 1.805, False), (1.8, 1.806, True)),
        *((0.0026, 0.0027, False), (0.0026, 0.0030, True)),
        (1.0, math.nan, True),
    ],
)
def test_a_loss_counts_if_it_is_a_share_and_not_negligible(before: float, after: float, loses: bool) -> None:
    comparison = QualityComparison(before, after, 0.0, 1.0, 100, 400)
    assert comparison.loses_more_than(0.3) is loses
