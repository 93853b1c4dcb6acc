"""Stopping rule of a measurement: a number of samples, a duration, or confidence about the p95.

In: the latencies so far. Out: whether to stop. Does not know the process or a clock.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from tinyedge.bench.worker import MAX_SAMPLES
from tinyedge.core.settings import check_settings, setting
from tinyedge.core.stats import is_p95_within

MAX_UNTIL_SURE_S = 600.0  # for --until-sure without --duration; a p95 near its limit may stay uncertain
MAX_DURATION_S = 7 * 24 * 3600.0


@dataclass(frozen=True)
class StoppingRule:
    """When a measurement has enough samples.

    Raises:
        UsageError: A value is outside its range; the message names the parameter.
    """

    samples: int = setting(
        100,
        low=1,
        high=MAX_SAMPLES,
        section="Measurement",
        help="Responses to measure; 90 or more give an upper bound of the p95.",
    )
    """Minimum number of samples."""
    duration_s: float | None = setting(
        None,
        low=0.0,
        high=MAX_DURATION_S,
        exclusive=True,
        unit="seconds",
        section="Measurement",
        flag="--duration",
        help="Measure for at least this many seconds.",
    )
    """Minimum duration in seconds; None is no minimum."""
    until_sure_ms: float | None = None
    """Limit of the p95, in ms, that the samples must be above or below with confidence; `duration_s` is then
    the maximum duration."""

    def __post_init__(self) -> None:
        check_settings(self)

    @property
    def max_samples(self) -> int:
        """Maximum number of samples."""
        fixed = self.duration_s is None and self.until_sure_ms is None
        return self.samples if fixed else MAX_SAMPLES

    def is_satisfied(self, e2e_ms: Sequence[float], elapsed_s: float) -> bool:
        """Return whether there are enough samples.

        Args:
            e2e_ms: Duration of each response so far, in ms.
            elapsed_s: Time since the first sample started, in seconds.
        """
        if len(e2e_ms) < self.samples:
            return False
        if self.until_sure_ms is None:
            return elapsed_s >= (self.duration_s or 0.0)
        if elapsed_s >= (self.duration_s or MAX_UNTIL_SURE_S):
            return True
        # A test that is repeated often enough gives a wrong result at some point. So a test is made only when
        # the number of samples has doubled, with half the error probability of the test before. All tests
        # together give a wrong result in at most 1% of the runs.
        looks = int(math.log2(len(e2e_ms) / self.samples)) + 1
        seen = e2e_ms[: self.samples << (looks - 1)]
        return is_p95_within(seen, self.until_sure_ms, 1 - Fraction(1, 100 << looks)) is not None
