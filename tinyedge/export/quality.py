"""What quantization costs: the int8 graph against the fp32 graph on held-out text, language by language.

In: two models and passages. Out: a `QualityComparison` a language, and a refusal where one lost too much.
Both are read the device's way (`text.evaluate.LanguageModel`: one prefill, then one step a token), because an
int8 graph scales its activations by all tokens that it is fed at once: another path would be another model.
"""

import math
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from tinyedge.core.arrays import Doubles, log_softmax
from tinyedge.core.errors import ExportError
from tinyedge.text.evaluate import LanguageModel, Passage, Window, default_stride, split_windows

# Predictions a language. At a divergence of 3e-4 nats the difference of a token's nats scatters by 0.025, so
# its mean over 10,000 is known to 0.0003 nats: about 0.006 % of the bits per byte, against a gate of 1 %.
TOKEN_LIMIT = 10_000
MIN_TOKENS = 2_000
FULL_LIMIT_PARAMETERS = 2_500_000  # above it a token costs more time, so fewer are read
SAMPLE_SEED = 0  # fixed: an export must judge the same text each time


@dataclass(frozen=True)
class QualityComparison:
    """Two models on the same predictions.

    reference_bits_per_byte, bits_per_byte: of the fp32 and of the quantized graph.
    kl_nats: mean KL(fp32 || quantized) a token. top1_agreement: share of tokens whose likeliest next token is
    the same. tokens: predictions made. bytes: of the text that they cover.
    """

    reference_bits_per_byte: float
    bits_per_byte: float
    kl_nats: float
    top1_agreement: float
    tokens: int
    bytes: int

    @property
    def change_percent(self) -> float:
        """How much worse the quantized graph predicts; negative where it predicts better."""
        return 100 * (self.bits_per_byte / self.reference_bits_per_byte - 1)

    def to_dict(self) -> dict[str, float | int]:
        """As the manifest's `quality` entry of one language."""
        return {
            "fp32_bits_per_byte": self.reference_bits_per_byte,
            "bits_per_byte": self.bits_per_byte,
            "change_percent": self.change_percent,
            "kl_nats": self.kl_nats,
            "top1_agreement": self.top1_agreement,
            "tokens": self.tokens,
            "bytes": self.bytes,
        }


def compare_quality(
    name: str,
    reference: LanguageModel,
    candidate: LanguageModel,
    passages: Iterable[Passage],
    limit: int = TOKEN_LIMIT,
) -> QualityComparison:
    """Reads a sample of windows with both models.

    The windows are those of `text.evaluate`, in a fixed random order, until `limit` tokens are predicted;
    one counts its share of its passage's bytes. Raises ExportError when `passages` have nothing to predict.
    """
    reference_nats, candidate_nats, kl = 0.0, 0.0, 0.0
    agreed, tokens, size = 0, 0, 0.0
    for window, share in _sample_windows(passages, reference.context, limit):
        rows = zip(
            reference.logits(window.inputs, window.first),  # (T, V)
            candidate.logits(window.inputs, window.first),
            window.targets,
            strict=True,
        )
        for reference_logits, candidate_logits, target in rows:  # one at a time fits the processor's cache
            p, q = log_softmax(reference_logits), log_softmax(candidate_logits)
            reference_nats -= float(p[target])
            candidate_nats -= float(q[target])
            kl += kl_divergence(p, q)
            agreed += int(p.argmax() == q.argmax())
        tokens += len(window.targets)
        size += share
    if not tokens:
        raise ExportError(
            f"the held-out text of {name} has nothing to predict", f"pass another with --text {name}=FILE"
        )
    bits = math.log(2) * size
    return QualityComparison(
        reference_nats / bits, candidate_nats / bits, kl / tokens, agreed / tokens, tokens, round(size)
    )


def choose_token_limit(parameters: int) -> int:
    """How many predictions a language are read with a model of that size, so that the time stays bounded."""
    return max(MIN_TOKENS, min(TOKEN_LIMIT, TOKEN_LIMIT * FULL_LIMIT_PARAMETERS // parameters))


def require_quality(quality: Mapping[str, QualityComparison], max_loss_percent: float) -> None:
    """Raises ExportError when a language lost more than `max_loss_percent` of its bits per byte.

    A figure that is not a number is a loss without limit: a ruined matrix may give just that.
    """
    for name, comparison in quality.items():
        if not comparison.change_percent <= max_loss_percent:
            raise ExportError(
                f"int8 costs {name} {comparison.change_percent:.2f} % bits per byte"
                f" ({comparison.reference_bits_per_byte:.4f} to {comparison.bits_per_byte:.4f}),"
                f" --max-quality-loss allows {max_loss_percent:g} %",
                "export with --quantize none, or allow more with --max-quality-loss",
            )


def _sample_windows(passages: Iterable[Passage], context: int, limit: int) -> Iterable[tuple[Window, float]]:
    """Windows in a fixed random order, each with its bytes, until they hold `limit` predictions."""
    pool = [
        (window, passage.bytes * len(window.targets) / (len(passage.tokens) - 1))
        for passage in passages
        for window in split_windows(passage.tokens, context, default_stride(context))
    ]
    random.Random(SAMPLE_SEED).shuffle(pool)
    taken = 0
    for window, share in pool:
        if taken >= limit:
            return
        taken += len(window.targets)
        yield window, share


def kl_divergence(p: Doubles, q: Doubles) -> float:
    """KL(p || q) in nats, from log probabilities (V,) and (V,)."""
    return float(np.exp(p) @ (p - q))
