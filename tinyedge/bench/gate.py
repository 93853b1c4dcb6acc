"""Judging: three budgets, what was measured against each, and the verdict.

In: figures. Out: gates that explain themselves in a sentence. Knows nothing of how a figure was measured.
MB is 2^20 bytes.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from tinyedge.errors import UsageError

MB = 1 << 20
MIN_SAMPLES = 20  # below, 5 % of the samples is less than one sample: the "p95" is only the maximum

Verdict = Literal["pass", "fail", "inconclusive"]

LABELS = {
    "rss": "steady memory (RSS + swap)",
    "peak": "peak memory (VmHWM + swap)",
    "p95": "p95 of a response",
}


@dataclass(frozen=True)
class Limits:
    """The budgets. max_rss_mb, max_peak_mb: MB of 2^20 bytes. max_p95_ms: milliseconds."""

    max_rss_mb: float = 400.0
    max_peak_mb: float = 512.0
    max_p95_ms: float = 250.0

    def __post_init__(self) -> None:
        for flag, value in (
            ("--max-rss-mb", self.max_rss_mb),
            ("--max-peak-mb", self.max_peak_mb),
            ("--max-p95-ms", self.max_p95_ms),
        ):
            if not (math.isfinite(value) and value > 0):
                raise UsageError(f"{flag} {value:g} is not a limit", "pass a number above 0")


@dataclass(frozen=True)
class Gate:
    """One budget and what was measured, both in `unit`.

    name: a key of LABELS. doubt: why the figure proves nothing either way; empty where it does.
    """

    name: str
    limit: float
    measured: float
    unit: str
    doubt: str = ""

    @property
    def ok(self) -> bool | None:
        """Within the limit; None where the figure proves nothing."""
        return None if self.doubt else self.measured <= self.limit

    @property
    def sentence(self) -> str:
        """What was measured, the limit, and the distance between them."""
        figures = f"{LABELS[self.name]}: {self.measured:.1f} {self.unit}, limit {self.limit:g} {self.unit}"
        distance = abs(1 - self.measured / self.limit) * 100
        # Two digits where the distance is below one percent, so that a near miss does not read as none.
        percent = f"{distance:.0f}" if distance >= 1 else f"{distance:.2g}"
        if self.doubt:
            return f"{figures}, not judged: {self.doubt}"
        return f"{figures}, {percent} % {'to spare' if self.ok else 'over'}"


def judge(
    limits: Limits,
    *,
    steady_bytes: float,
    peak_bytes: float,
    p95_ms: float,
    samples: int,
    throttled: bool = False,
) -> tuple[Gate, ...]:
    """Holds the figures against the budgets.

    steady_bytes, peak_bytes: swap included, which hides memory from RSS and from VmHWM. throttled: the
    device slowed itself down while it was measured, so the p95 is not that of the device as sold.
    """
    doubt = ""
    if samples < MIN_SAMPLES:
        doubt = f"only --samples {samples}, {MIN_SAMPLES} are needed"
    elif throttled:
        doubt = "the device began to throttle during the run, cool it or check its power supply"
    return (
        Gate("rss", limits.max_rss_mb, steady_bytes / MB, "MB"),
        Gate("peak", limits.max_peak_mb, peak_bytes / MB, "MB"),
        Gate("p95", limits.max_p95_ms, p95_ms, "ms", doubt),
    )


def verdict(gates: Iterable[Gate]) -> Verdict:
    """A gate that failed decides; then one that could not be judged; else it is a pass."""
    results = {gate.ok for gate in gates}
    if False in results:
        return "fail"
    return "inconclusive" if None in results else "pass"
