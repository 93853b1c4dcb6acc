"""What quantization costs: the int8 graph against the fp32 graph on held-out text, language by language.

In: two models and passages. Out: a `Comparison` a language, and a refusal where one lost too much. Both are
read the device's way (`tinyedge.evaluate.LanguageModel`: one prefill, then one step a token), because an int8
graph scales its activations by all tokens that it is fed at once: another path would be another model.
"""

import math
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tinyedge.errors import ExportError
from tinyedge.evaluate import LanguageModel, Logits, Passage, Window, default_stride, windows

TOKEN_LIMIT = 20_000  # tokens a language: the mean change is then known to about 0.03 % (see docs/log.md)
SAMPLE_SEED = 0  # fixed: an export must judge the same text each time

LogProbabilities = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Comparison:
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


def compare(
    name: str,
    reference: LanguageModel,
    candidate: LanguageModel,
    passages: Iterable[Passage],
    limit: int = TOKEN_LIMIT,
) -> Comparison:
    """Reads a sample of windows with both models.

    The windows are those of `tinyedge.evaluate`, in a fixed random order, until `limit` tokens are predicted;
    one counts its share of its passage's bytes. Raises ExportError when `passages` have nothing to predict.
    """
    reference_nats, candidate_nats, kl = 0.0, 0.0, 0.0
    agreed, tokens, size = 0, 0, 0.0
    for window, share in _sample(passages, reference.context, limit):
        p = _log_softmax(reference.logits(window.inputs, window.first))  # (T, V)
        q = _log_softmax(candidate.logits(window.inputs, window.first))
        rows = np.arange(len(window.targets))
        reference_nats -= float(p[rows, window.targets].sum())
        candidate_nats -= float(q[rows, window.targets].sum())
        kl += float((np.exp(p) * (p - q)).sum())
        agreed += int((p.argmax(axis=1) == q.argmax(axis=1)).sum())
        tokens += len(rows)
        size += share
    if not tokens:
        raise ExportError(
            f"the held-out text of {name} has nothing to predict", f"pass another with --text {name}=FILE"
        )
    bits = math.log(2) * size
    return Comparison(
        reference_nats / bits, candidate_nats / bits, kl / tokens, agreed / tokens, tokens, round(size)
    )


def require_quality(quality: Mapping[str, Comparison], max_loss_percent: float) -> None:
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


def _sample(passages: Iterable[Passage], context: int, limit: int) -> Iterable[tuple[Window, float]]:
    """Windows in a fixed random order, each with its bytes, until they hold `limit` predictions."""
    pool = [
        (window, passage.bytes * len(window.targets) / (len(passage.tokens) - 1))
        for passage in passages
        for window in windows(passage.tokens, context, default_stride(context))
    ]
    random.Random(SAMPLE_SEED).shuffle(pool)
    taken = 0
    for window, share in pool:
        if taken >= limit:
            return
        taken += len(window.targets)
        yield window, share


def _log_softmax(logits: Logits) -> LogProbabilities:
    """(T, V) logits to log probabilities, in double precision."""
    wide = logits.astype(np.float64)
    wide -= wide.max(axis=1, keepdims=True)
    wide -= np.log(np.exp(wide).sum(axis=1, keepdims=True))
    return wide
