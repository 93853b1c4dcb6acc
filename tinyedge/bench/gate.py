"""Gates: comparison of the measured figures with their limits, and the verdict.

In: figures and limits. Out: gates, each with a sentence that explains its result. Does not know how a figure
was measured. MB is 2^20 bytes.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from tinyedge.bench.conditions import Doubts
from tinyedge.bench.limits import Limits
from tinyedge.core import stats

MB = 1 << 20
MIN_SAMPLES = 20  # with fewer, 5% is less than one sample, and the p95 is just the maximum
MIN_BOUND_SAMPLES = 90  # with fewer, not even the largest value is a 99% upper bound of the p95
SLOWED = "met although the machine was slowed"

Verdict = Literal["pass", "fail", "inconclusive"]
Basis = Literal["estimate", "bound"]
NO_DOUBTS = Doubts()


@dataclass(frozen=True)
class GateKind:
    """A figure that can have a limit."""

    label: str
    """Name in a sentence."""
    unit: str
    """Unit of the figure and its limit."""
    digits: int = 1
    """Decimal places to print."""
    at_least: bool = False
    """Whether the limit is a minimum."""


KINDS = {
    "rss": GateKind("steady memory (RSS + swap)", "MB"),
    "peak": GateKind("peak memory (VmHWM + swap)", "MB"),
    "p95": GateKind("p95 of a response", "ms"),
    "ttft": GateKind("p95 of the first token", "ms"),
    "decode": GateKind("decoding", "tokens/s", at_least=True),
    "cold_start": GateKind("cold start, median", "s", digits=2),
    "model": GateKind("model.onnx", "MB", digits=2),
    "quality": GateKind("quality", "bits per byte", digits=3),
    "regression": GateKind("change", "%"),
}


@dataclass(frozen=True)
class Gate:
    """A limit and the figure that is compared with it, both in the same unit."""

    kind: str
    """A key of KINDS."""
    limit: float
    """Limit of the figure."""
    measured: float
    """The figure itself; for a percentile, its estimate."""
    subject: str = ""
    """Name of the text, for a figure that is measured on several texts; of the figure, for a change."""
    bound: float | None = None
    """99% upper confidence bound of a percentile, or upper end of a change's 95% confidence interval; None
    for other figures, and with too few samples."""
    lower: float | None = None
    """Lower end of the 95% confidence interval of a change; None for other figures."""
    basis: Basis = "estimate"
    """What must be within the limit: the figure itself or its bound."""
    doubt: str = ""
    """Why the figure is inconclusive; empty if it is conclusive."""
    remark: str = ""
    """What to know about a figure that is within its limit."""

    @property
    def name(self) -> str:
        """Unique name of the gate."""
        return f"{self.kind}:{self.subject}" if self.subject else self.kind

    @property
    def unit(self) -> str:
        """Unit of the figure and its limit."""
        return KINDS[self.kind].unit

    @property
    def ok(self) -> bool | None:
        """Whether the figure is within its limit; None if that is inconclusive."""
        if self.doubt:
            return None
        return self._decisive >= self.limit if KINDS[self.kind].at_least else self._decisive <= self.limit

    @property
    def share(self) -> float | None:
        """Used share of the limit: figure / limit, or limit / figure if the limit is a minimum.

        The figure is the bound if that has to be within the limit. None for a change.
        """
        if KINDS[self.kind].at_least:
            return self.limit / self.measured if self.measured else math.inf
        return self._decisive / self.limit

    @property
    def _decisive(self) -> float:
        """The value that decides. An estimate over the limit decides it alone."""
        use_bound = self.basis == "bound" and self.bound is not None and self.measured <= self.limit
        return self.bound if use_bound and self.bound is not None else self.measured

    @property
    def sentence(self) -> str:
        """The figure, its limit, and the distance between them."""
        kind = KINDS[self.kind]
        label = f"{kind.label} on {self.subject}" if self.subject else kind.label
        measured = f"{self.measured:.{kind.digits}f} {kind.unit}"
        if self._decisive != self.measured:
            measured = f"{measured}, with 99% confidence under {self._decisive:.{kind.digits}f} {kind.unit}"
        limit = f"{'at least' if kind.at_least else 'limit'} {self.limit:g} {kind.unit}"
        figures = f"{label}: {measured}, {limit}"
        if self.doubt:
            return f"{figures}, inconclusive: {self.doubt}"
        remark = f"; {self.remark}" if self.remark else ""
        if kind.at_least:
            return f"{figures}, {self.measured / self.limit:.3g} times the limit{remark}"
        distance = 100 * abs(1 - (self.share or 0.0))
        # Two digits below 1%, so that a small distance is not printed as 0%.
        percent = f"{distance:.0f}" if distance >= 1 else f"{distance:.2g}"
        return f"{figures}, {percent}% {'to spare' if self.ok else 'over'}{remark}"

    def weigh(self, doubts: Doubts) -> "Gate":
        """Return the gate with the doubts about its time.

        What only slows can neither make a limit of time met nor be excluded as the reason why it is not: a
        pass stays, with a remark, and a fail becomes inconclusive. Other doubts make both inconclusive.
        """
        if self.ok is None:
            return self
        if doubts.changed or (doubts.slowed and not self.ok):
            return replace(self, doubt="; ".join(doubts.all))
        return replace(self, remark=SLOWED) if doubts.slowed else self


@dataclass(frozen=True)
class MeasuredFigures:
    """The figures that can have limits."""

    steady_bytes: float
    """Median memory after a response, in bytes, including swap, which RSS does not count."""
    peak_bytes: float
    """Peak memory, in bytes, including swap, which VmHWM does not count."""
    e2e_ms: Sequence[float]
    """Duration of each response, in ms."""
    ttft_ms: Sequence[float]
    """Time to the first token of each response, in ms."""
    decode_tps: float | None
    """Tokens per second after the first; None if responses have one token."""
    model_bytes: float
    """Size of model.onnx, in bytes."""
    cold_start_s: float | None
    """Median of the cold starts, in seconds; None if none was measured."""
    bits_per_byte: Mapping[str, float]
    """Quality by name of the text."""


def choose_basis(samples: int) -> Basis:
    """Return "bound" if this number of samples has a 99% upper bound of the p95, otherwise "estimate"."""
    rank = stats.upper_bound_rank(samples, stats.P95, stats.CONFIDENCE)
    return "estimate" if rank is None else "bound"


def evaluate_gates(
    limits: Limits,
    figures: MeasuredFigures,
    basis: Basis,
    doubts: Doubts = NO_DOUBTS,
    cold_doubts: Doubts = NO_DOUBTS,
) -> tuple[Gate, ...]:
    """Compare the figures with the limits.

    Args:
        limits: The limits.
        figures: The figures.
        basis: Figure of a percentile that must be within its limit: the estimate or the 99% upper bound.
        doubts: Why the times of the run are unreliable.
        cold_doubts: The same for the cold starts.

    Returns:
        A gate for each limit that is set.
    """
    gates = [
        Gate("rss", limits.max_rss_mb, figures.steady_bytes / MB),
        Gate("peak", limits.max_peak_mb, figures.peak_bytes / MB),
        evaluate_percentile("p95", limits.max_p95_ms, figures.e2e_ms, basis).weigh(doubts),
    ]
    if limits.max_ttft_ms is not None:
        gates.append(evaluate_percentile("ttft", limits.max_ttft_ms, figures.ttft_ms, basis).weigh(doubts))
    if limits.min_decode_tps is not None:
        no_decode = "" if figures.decode_tps is not None else "responses of one token have no decoding time"
        decode = Gate("decode", limits.min_decode_tps, figures.decode_tps or 0.0, doubt=no_decode)
        gates.append(decode.weigh(doubts))
    if limits.max_cold_start_s is not None and figures.cold_start_s is not None:
        gates.append(Gate("cold_start", limits.max_cold_start_s, figures.cold_start_s).weigh(cold_doubts))
    if limits.max_model_mb is not None:
        gates.append(Gate("model", limits.max_model_mb, figures.model_bytes / MB))
    gates += [
        Gate("quality", limit, found, subject=name)
        for name, found in figures.bits_per_byte.items()
        if (limit := limits.get_max_bits_per_byte(name)) is not None
    ]
    return tuple(gates)


def evaluate_percentile(kind: str, limit: float, values: Sequence[float], basis: Basis) -> Gate:
    """Compare a p95 with its limit.

    The gate fails if the estimate exceeds the limit, and passes if the estimate or the 99% upper bound, as
    `basis` specifies, is within it. Between the two it is inconclusive.

    Args:
        kind: A key of KINDS.
        limit: Limit of the p95.
        values: The samples.
        basis: Figure that must be within the limit.
    """
    estimate, bound = stats.percentile(sorted(values), 95), stats.p95_upper_99(values)
    doubt = ""
    if len(values) < MIN_SAMPLES or (bound is None and basis == "bound" and estimate <= limit):
        doubt = explain_few_samples(len(values))
    elif bound is not None and basis == "bound" and estimate <= limit < bound:
        doubt = "more samples may decide it, --until-sure measures them"
    return Gate(kind, limit, estimate, bound=bound, basis=basis, doubt=doubt)


def explain_few_samples(samples: int) -> str:
    """Return what this number of samples is too few for, and the way out; empty if there are enough."""
    if samples < MIN_SAMPLES:
        return (
            f"{samples} samples are too few for a p95: --samples {MIN_SAMPLES} is the least,"
            f" {MIN_BOUND_SAMPLES} or more also bound it"
        )
    if samples < MIN_BOUND_SAMPLES:
        return (
            f"{samples} samples are too few for a 99% upper bound of the p95: --samples"
            f" {MIN_BOUND_SAMPLES} or more give one"
        )
    return ""


def combine_verdict(gates: Iterable[Gate]) -> Verdict:
    """Return "fail" if any gate fails, else "inconclusive" if any gate is, else "pass"."""
    results = {gate.ok for gate in gates}
    if False in results:
        return "fail"
    return "inconclusive" if None in results else "pass"
