"""Loss of quality by quantization: the int8 graph compared with the fp32 graph on held-out text by language.

In: two models and sampled windows. Out: a `QualityComparison` for each language, or an error where one lost
too much. Both models read text as the device does (`text.evaluate.LanguageModel`: one prefill, then one step
for each token), because an int8 graph computes the scale of its activations from all tokens of one call:
other steps would give other results.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tinyedge.core.arrays import Doubles
from tinyedge.core.errors import ExportError
from tinyedge.runtime.logprobs import log_softmax
from tinyedge.text.evaluate import LanguageModel, to_bits_per_byte
from tinyedge.text.window_sample import SampledWindow

# Predictions for each language. At a divergence of 3e-4 nats, the difference of a token's nats has a standard
# deviation of 0.025. The mean of 10,000 differences then has a standard deviation of 0.0003 nats, about
# 0.006% of the bits per byte. The gate is 1%.
TOKEN_LIMIT = 10_000
MIN_TOKENS = 2_000
FULL_LIMIT_PARAMETERS = 2_500_000  # larger models need more time for a token, so they read fewer

# A model of pairs may be so sure of its answers that a percent of its bits is nothing: 0.0002 bits per byte
# change the probability of an answer of 40 bytes by half a percent.
NEGLIGIBLE_BITS = 0.0002


@dataclass(frozen=True)
class QualityComparison:
    """The fp32 and the quantized graph on the same predictions."""

    reference_bits_per_byte: float
    """Bits per byte of the fp32 graph."""
    bits_per_byte: float
    """Bits per byte of the quantized graph."""
    kl_nats: float
    """Mean KL(fp32 || quantized) per token."""
    top1_agreement: float
    """Share of tokens after which both graphs predict the same most likely token."""
    tokens: int
    """Number of predicted tokens."""
    bytes: int
    """UTF-8 bytes of the text that they cover."""
    unknown_bytes: float = 0.0
    """Share of these bytes behind UNK, 0-1; the bits per byte charge for them as in `text.evaluate`."""

    @property
    def change_percent(self) -> float:
        """Increase of the bits per byte by quantization; negative if the quantized graph predicts better."""
        return 100 * (self.bits_per_byte / self.reference_bits_per_byte - 1)

    def loses_more_than(self, percent: float) -> bool:
        """Whether quantization costs more than `percent` of the bits per byte, and not only NEGLIGIBLE_BITS.

        NaN counts as an unlimited loss: a damaged matrix can produce it.
        """
        lost = self.bits_per_byte - self.reference_bits_per_byte
        return not (self.change_percent <= percent or lost <= NEGLIGIBLE_BITS)

    def to_dict(self) -> dict[str, float | int]:
        """The manifest's `quality` entry of one language."""
        return {
            "fp32_bits_per_byte": self.reference_bits_per_byte,
            "bits_per_byte": self.bits_per_byte,
            "change_percent": self.change_percent,
            "kl_nats": self.kl_nats,
            "top1_agreement": self.top1_agreement,
            "tokens": self.tokens,
            "bytes": self.bytes,
            "unknown_bytes": self.unknown_bytes,
        }


def compare_quality(
    name: str,
    reference: LanguageModel,
    candidate: LanguageModel,
    windows: Sequence[SampledWindow],
) -> QualityComparison:
    """Compare both models on a sample of windows.

    Args:
        name: Name of the text, for the error message.
        reference: The fp32 model.
        candidate: The quantized model.
        windows: A sample of the held-out text.

    Returns:
        The comparison.

    Raises:
        ExportError: There is nothing to predict.
    """
    reference_nats, candidate_nats, kl = 0.0, 0.0, 0.0
    agreed, tokens, size, unknown_bytes = 0, 0, 0.0, 0.0
    for window, window_bytes, window_unknown in windows:
        predictions = zip(
            reference.logits(window.inputs, window.first),  # (T, V)
            candidate.logits(window.inputs, window.first),
            window.targets,
            strict=True,
        )
        for reference_logits, candidate_logits, target in predictions:  # one fits the processor's cache
            p, q = log_softmax(reference_logits), log_softmax(candidate_logits)
            reference_nats -= float(p[target])
            candidate_nats -= float(q[target])
            kl += kl_divergence(p, q)
            agreed += int(p.argmax() == q.argmax())
        tokens += len(window.targets)
        size += window_bytes
        unknown_bytes += window_unknown
    if not tokens:
        raise ExportError(
            f"the held-out text of {name} has nothing to predict", f"pass another with --text {name}=FILE"
        )
    return QualityComparison(
        to_bits_per_byte(reference_nats, size, unknown_bytes),
        to_bits_per_byte(candidate_nats, size, unknown_bytes),
        kl / tokens,
        agreed / tokens,
        tokens,
        round(size),
        unknown_bytes / size,
    )


def choose_token_limit(parameters: int) -> int:
    """Choose the number of predictions for each language by the model's size, to limit the time."""
    return max(MIN_TOKENS, min(TOKEN_LIMIT, TOKEN_LIMIT * FULL_LIMIT_PARAMETERS // parameters))


def require_quality(quality: Mapping[str, QualityComparison], max_loss_percent: float) -> None:
    """Require that no language lost more than `max_loss_percent` of its bits per byte.

    Raises:
        ExportError: A language lost more.
    """
    for name, comparison in quality.items():
        if comparison.loses_more_than(max_loss_percent):
            raise ExportError(
                f"int8 costs {name} {comparison.change_percent:.2f}% bits per byte"
                f" ({comparison.reference_bits_per_byte:.4f} to {comparison.bits_per_byte:.4f}),"
                f" --max-quality-loss allows {max_loss_percent:g}%",
                "export with --quantize none, or allow more with --max-quality-loss",
            )


def kl_divergence(p: Doubles, q: Doubles) -> float:
    """Compute KL(p || q) in nats from log probabilities (V,) and (V,)."""
    return float(np.exp(p) @ (p - q))
