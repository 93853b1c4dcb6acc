"""Judging: what was measured against each budget, and the verdict.

In: figures and limits. Out: gates that explain themselves in a sentence. Knows nothing of how a figure was
measured. MB is 2^20 bytes.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from tinyedge.bench.limits import Limits
from tinyedge.core import stats

MB = 1 << 20
MIN_SAMPLES = 20  # below, 5 % of the samples is less than one sample: the "p95" is only the maximum

Verdict = Literal["pass", "fail", "inconclusive"]
Basis = Literal["estimate", "bound"]


@dataclass(frozen=True)
class GateKind:
    """A figure that has a budget. digits: that a reader cares for. at_least: more is better."""

    label: str
    unit: str
    digits: int = 1
    at_least: bool = False


KINDS = {
    "rss": GateKind("steady memory (RSS + swap)", "MB"),
    "peak": GateKind("peak memory (VmHWM + swap)", "MB"),
    "p95": GateKind("p95 of a response", "ms"),
    "ttft": GateKind("p95 of the first token", "ms"),
    "decode": GateKind("decoding", "tokens/s", at_least=True),
    "cold_start": GateKind("cold start, median", "s", digits=2),
    "model": GateKind("model.onnx", "MB", digits=2),
    "quality": GateKind("quality", "bits per byte", digits=3),
}


@dataclass(frozen=True)
class Gate:
    """One budget and what is held against it, both in its unit.

    kind: a key of KINDS. subject: which text, where there are several. estimate: of a percentile, whose
    bound is held against the limit. doubt: why the figure proves nothing either way; empty where it does.
    """

    kind: str
    limit: float
    measured: float
    subject: str = ""
    estimate: float | None = None
    doubt: str = ""

    @property
    def name(self) -> str:
        """One of its own."""
        return f"{self.kind}:{self.subject}" if self.subject else self.kind

    @property
    def unit(self) -> str:
        """Of both figures."""
        return KINDS[self.kind].unit

    @property
    def ok(self) -> bool | None:
        """Within the limit; None where the figure proves nothing."""
        if self.doubt:
            return None
        return self.measured >= self.limit if KINDS[self.kind].at_least else self.measured <= self.limit

    @property
    def share(self) -> float:
        """Of the limit, how much is used; where more is better, how much of what was reached is asked for."""
        if KINDS[self.kind].at_least:
            return self.limit / self.measured if self.measured else math.inf
        return self.measured / self.limit

    @property
    def sentence(self) -> str:
        """What was measured, the limit, and the distance between them."""
        kind = KINDS[self.kind]
        label = f"{kind.label} on {self.subject}" if self.subject else kind.label
        measured = f"{self.measured:.{kind.digits}f} {kind.unit}"
        if self.estimate is not None and self.estimate != self.measured:
            measured = f"{self.estimate:.{kind.digits}f} {kind.unit}, with 99 % confidence under {measured}"
        limit = f"{'at least' if kind.at_least else 'limit'} {self.limit:g} {kind.unit}"
        figures = f"{label}: {measured}, {limit}"
        if self.doubt:
            return f"{figures}, not judged: {self.doubt}"
        if kind.at_least:
            return f"{figures}, {self.measured / self.limit:.3g} times that"
        distance = 100 * abs(1 - self.share)
        # Two digits where the distance is below one percent, so that a near miss does not read as none.
        percent = f"{distance:.0f}" if distance >= 1 else f"{distance:.2g}"
        return f"{figures}, {percent} % {'to spare' if self.ok else 'over'}"


@dataclass(frozen=True)
class MeasuredFigures:
    """What was measured. steady_bytes, peak_bytes: swap included, which hides memory from RSS and VmHWM.

    e2e_ms, ttft_ms: of each response. decode_tps: None where responses have one token. cold_start_s: the
    median of whole starts, None where none was asked for. bits_per_byte: by the name of the text.
    """

    steady_bytes: float
    peak_bytes: float
    e2e_ms: Sequence[float]
    ttft_ms: Sequence[float]
    decode_tps: float | None
    model_bytes: float
    cold_start_s: float | None
    bits_per_byte: Mapping[str, float]


def choose_basis(samples: int) -> Basis:
    """The bound where so many samples have one."""
    rank = stats.upper_bound_rank(samples, stats.P95, stats.SURE)
    return "estimate" if rank is None else "bound"


def evaluate_gates(
    limits: Limits,
    figures: MeasuredFigures,
    basis: Basis,
    doubts: Sequence[str] = (),
    cold_doubts: Sequence[str] = (),
) -> tuple[Gate, ...]:
    """Holds the figures against the budgets.

    basis: what of a percentile is held against its limit. doubts: why this run's times are not the machine's
    own, so that no limit of time is judged by them; cold_doubts: the same of the whole starts.
    """
    doubt = "; ".join(doubts)
    gates = [
        Gate("rss", limits.max_rss_mb, figures.steady_bytes / MB),
        Gate("peak", limits.max_peak_mb, figures.peak_bytes / MB),
        evaluate_percentile("p95", limits.max_p95_ms, figures.e2e_ms, basis, doubt),
    ]
    if limits.max_ttft_ms is not None:
        gates.append(evaluate_percentile("ttft", limits.max_ttft_ms, figures.ttft_ms, basis, doubt))
    if limits.min_decode_tps is not None:
        nothing = "" if figures.decode_tps is not None else "responses of one token decode nothing"
        gates.append(Gate("decode", limits.min_decode_tps, figures.decode_tps or 0.0, doubt=nothing or doubt))
    if limits.max_cold_start_s is not None and figures.cold_start_s is not None:
        gates.append(
            Gate("cold_start", limits.max_cold_start_s, figures.cold_start_s, doubt="; ".join(cold_doubts))
        )
    if limits.max_model_mb is not None:
        gates.append(Gate("model", limits.max_model_mb, figures.model_bytes / MB))
    if limits.max_bits_per_byte is not None:
        gates += [
            Gate("quality", limits.max_bits_per_byte, found, subject=name)
            for name, found in figures.bits_per_byte.items()
        ]
    return tuple(gates)


def evaluate_percentile(kind: str, limit: float, values: Sequence[float], basis: Basis, doubt: str) -> Gate:
    """A limit of a p95: it fails by the estimate, and passes by the bound or estimate, as `basis` says."""
    estimate, bound = stats.percentile(sorted(values), 95), stats.p95_upper_99(values)
    if len(values) < MIN_SAMPLES:
        return Gate(kind, limit, estimate, doubt=f"only {len(values)} samples, {MIN_SAMPLES} are needed")
    if basis == "estimate" or estimate > limit:
        return Gate(kind, limit, estimate, estimate=estimate, doubt=doubt)
    if bound is None:
        few = f"only {len(values)} samples, 90 are needed for a bound"
        return Gate(kind, limit, estimate, estimate=estimate, doubt=few)
    if bound > limit and not doubt:
        doubt = "more samples may tell, --until-sure takes them"
    return Gate(kind, limit, bound, estimate=estimate, doubt=doubt)


def combine_verdict(gates: Iterable[Gate]) -> Verdict:
    """A gate that failed decides; then one that could not be judged; else it is a pass."""
    results = {gate.ok for gate in gates}
    if False in results:
        return "fail"
    return "inconclusive" if None in results else "pass"
