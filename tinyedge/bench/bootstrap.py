"""Change between two runs, with a confidence interval from the percentile bootstrap (Efron, 1979).

In: the values of two runs, in groups. Out: a Difference. Does not know units or figures.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES, MIN_RESAMPLES = 1000, 200
MAX_DRAWS = 20_000_000  # values drawn for one figure; more than 20,000 responses get fewer resamples
TAIL = 0.025  # on each side of a 95% interval

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Difference:
    """A change in percent, with its 95% confidence interval."""

    percent: float
    """The change."""
    low: float
    """Lower end of the interval."""
    high: float
    """Upper end of the interval."""

    @property
    def shown(self) -> bool:
        """Whether the interval excludes zero."""
        return self.low > 0 or self.high < 0


def pool(groups: Mapping[str, Sequence[float]]) -> Values:
    """Return the values of all groups."""
    return np.array([value for values in groups.values() for value in values], np.float64)


def compute_difference(
    new: Mapping[str, Sequence[float]],
    old: Mapping[str, Sequence[float]],
    statistic: Callable[[Values], float],
) -> Difference:
    """Return the change of a statistic from `old` to `new` in percent, with its 95% confidence interval.

    The interval covers the variation within the two runs, not the variation between runs. The draws are the
    same in each call.

    Args:
        new: Values by group; each group keeps its size in every resample.
        old: Values by group, likewise; all above 0.
        statistic: Function of all values of a run.
    """
    draw = np.random.default_rng(0)
    runs = [[np.asarray(values, np.float64) for values in groups.values()] for groups in (new, old)]

    def resample(groups: list[Values]) -> Values:
        return np.concatenate([values[draw.integers(0, values.size, values.size)] for values in groups])

    def percent(after: Values, before: Values) -> float:
        return 100 * (statistic(after) / statistic(before) - 1)

    size = sum(values.size for groups in runs for values in groups)
    resamples = min(RESAMPLES, max(MIN_RESAMPLES, MAX_DRAWS // size))
    ordered = sorted(percent(resample(runs[0]), resample(runs[1])) for _ in range(resamples))
    tail = round(resamples * TAIL)
    return Difference(percent(pool(new), pool(old)), ordered[tail], ordered[-tail - 1])
