"""As much int8 as a text allows: matrices go back to fp32, the worst first, until little enough is lost.

In: weights, the fp32 model, held-out text. Out: the graph, what was quantized and what it costs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tinyedge.export.fused_graph import build_fused_graph
from tinyedge.export.head_rotation import rotate_heads
from tinyedge.export.quality import QualityComparison, compare_quality
from tinyedge.export.quantize import Quantization, quantize
from tinyedge.export.weights import Weights
from tinyedge.runtime.session import BundleModel, Session
from tinyedge.text.evaluate import LanguageModel, Passage

GOAL_PERCENT = 0.3  # of a language's bits per byte; sampling at 0.8 shows nothing of so little


@dataclass(frozen=True)
class MixedPrecisionModel:
    """An int8 graph, how it was made, and what it costs each language."""

    graph: bytes
    quantization: Quantization
    quality: dict[str, QualityComparison]


def quantize_to_goal(
    weights: Weights,
    reference: LanguageModel,
    texts: Mapping[str, Sequence[Passage]],
    limit: int,
    goal_percent: float = GOAL_PERCENT,
) -> MixedPrecisionModel:
    """Quantizes everything, and while a language loses more than `goal_percent`, all but the worst matrices.

    Heads are turned first, which changes nothing in floats and makes int8's steps finer. limit: predictions a
    language. The last attempt is returned, whether it reached the goal or not.
    """
    weights = rotate_heads(weights)
    kept: list[str] = []
    while True:
        quantization = quantize(weights, kept)
        graph = build_fused_graph(weights, quantization.matrices)
        candidate = BundleModel(Session(graph, weights.config, name="the int8 graph"))
        quality = {
            name: compare_quality(name, reference, candidate, passages, limit)
            for name, passages in texts.items()
        }
        good = all(result.change_percent <= goal_percent for result in quality.values())
        if good or len(quantization.matrices) == 1:
            return MixedPrecisionModel(graph, quantization, quality)
        kept.append(quantization.worst_matrix)
