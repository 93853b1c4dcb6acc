"""When a run has samples enough: a number of them, a time, or until they are sure of the p95.

In: latencies so far. Out: whether to go on. Knows no process and no clock.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from tinyedge.bench.worker import MAX_SAMPLES
from tinyedge.core.errors import UsageError
from tinyedge.core.stats import p95_within

MAX_UNTIL_SURE_S = 600.0  # of --until-sure, without --duration: of a p95 at its limit nobody is ever sure
MAX_DURATION_S = 7 * 24 * 3600.0


@dataclass(frozen=True)
class StoppingRule:
    """What is enough. samples: at least so many. duration_s: at least so long, seconds; None is any time.

    until_sure_ms: a limit of the p95 to be sure of either way; `duration_s` is then the longest to try.
    """

    samples: int = 100
    duration_s: float | None = None
    until_sure_ms: float | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.samples <= MAX_SAMPLES:
            raise UsageError(f"--samples {self.samples} is outside 1-{MAX_SAMPLES}")
        if self.duration_s is not None and not 0 < self.duration_s <= MAX_DURATION_S:
            raise UsageError(
                f"--duration {self.duration_s:g} is outside 0-{MAX_DURATION_S:g} seconds", "pass seconds"
            )

    @property
    def max_samples(self) -> int:
        """Samples that the worker may take."""
        fixed = self.duration_s is None and self.until_sure_ms is None
        return self.samples if fixed else MAX_SAMPLES

    def is_satisfied(self, e2e_ms: Sequence[float], elapsed_s: float) -> bool:
        """Whether these samples will do. elapsed_s: since the first of them began."""
        if len(e2e_ms) < self.samples:
            return False
        if self.until_sure_ms is None:
            return elapsed_s >= (self.duration_s or 0.0)
        if elapsed_s >= (self.duration_s or MAX_UNTIL_SURE_S):
            return True
        # Who looks often enough sees what they hope for: looks come at doubled numbers of samples, and each
        # may err half as often as the one before, so that all together err in 1 % of the runs at most.
        looks = int(math.log2(len(e2e_ms) / self.samples)) + 1
        seen = e2e_ms[: self.samples << (looks - 1)]
        return p95_within(seen, self.until_sure_ms, 1 - Fraction(1, 100 << looks)) is not None
