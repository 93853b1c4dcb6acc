"""Chooses which matrices are int8: those with the largest error stay fp32 until the quality goal is met.

In: weights, the fp32 model, held-out text. Out: the graph, its quantization and its loss of quality.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from tinyedge.core.engine import ONNXRUNTIME
from tinyedge.export.fused_graph import build_fused_graph
from tinyedge.export.head_rotation import rotate_heads
from tinyedge.export.quality import QualityComparison, compare_quality
from tinyedge.export.quantize import Quantization, quantize
from tinyedge.export.weights import Weights
from tinyedge.runtime.bundle_model import BundleModel
from tinyedge.runtime.engine import open_session
from tinyedge.text.evaluate import LanguageModel
from tinyedge.text.window_sample import WindowSample

GOAL_PERCENT = 0.3  # of a language's bits per byte; not noticeable in text sampled at temperature 0.8


@dataclass(frozen=True)
class MixedPrecisionModel:
    """A graph of int8 and fp32 matrices."""

    graph: bytes
    """The bytes of `model.onnx`."""
    quantization: Quantization
    """Which matrices are int8, and their errors."""
    quality: dict[str, QualityComparison]
    """Comparison with the fp32 model by language."""


def quantize_to_goal(
    weights: Weights,
    reference: LanguageModel,
    samples: Mapping[str, WindowSample],
    goal_percent: float = GOAL_PERCENT,
    engine: str = ONNXRUNTIME,
) -> MixedPrecisionModel:
    """Quantize all matrices; while a language loses more than the goal, keep one more matrix in fp32.

    Heads are rotated first: the fp32 model stays the same, and int8 gets a finer scale.

    Args:
        weights: Weights of the trained model.
        reference: The fp32 model.
        samples: Windows of held-out text by language.
        goal_percent: Allowed loss of bits per byte.
        engine: Computes the int8 model.

    Returns:
        The last attempt, which may have missed the goal.
    """
    weights = rotate_heads(weights)
    kept_fp32: list[str] = []
    while True:
        quantization = quantize(weights, kept_fp32)
        graph = build_fused_graph(weights, quantization.matrices)
        session = open_session(graph, weights.config, name="the int8 graph", engine=engine)
        candidate = BundleModel(session)
        quality = {
            name: compare_quality(name, reference, candidate, sample.measured)
            for name, sample in samples.items()
        }
        goal_met = not any(result.loses_more_than(goal_percent) for result in quality.values())
        if goal_met or len(quantization.matrices) == 1:
            return MixedPrecisionModel(graph, quantization, quality)
        kept_fp32.append(quantization.worst_matrix)
