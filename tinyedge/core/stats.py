"""Numbers about numbers, in the standard library alone.

In: measured values, in any order. Out: percentiles, their summary, and what a percentile proves.
Knows no units and no budgets.
"""

import functools
import random
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

# Of the usual definitions the only one that never invents a value: each percentile is a response that
# really happened.
PERCENTILE_METHOD = "nearest rank: the smallest value that at least p % of the values do not exceed"


@dataclass(frozen=True)
class Summary:
    """How `n` values are spread, in the values' own unit. stddev: of a sample (n - 1), 0 for one value."""

    p50: float
    p90: float
    p95: float
    p99: float
    mean: float
    stddev: float
    min: float
    max: float
    n: int


def percentile(ordered: Sequence[float], percent: int) -> float:
    """The value at nearest rank: the ceil(percent / 100 * n)-th of `ordered`, which ascends, n >= 1."""
    rank = -(-percent * len(ordered) // 100)  # in integers: in floats 0.07 * 100 is more than 7
    return ordered[max(rank, 1) - 1]


def summarize(values: Sequence[float]) -> Summary | None:
    """Percentiles, mean and spread of `values`; None where there are none."""
    if not values:
        return None
    ordered = sorted(values)
    return Summary(
        p50=percentile(ordered, 50),
        p90=percentile(ordered, 90),
        p95=percentile(ordered, 95),
        p99=percentile(ordered, 99),
        mean=statistics.fmean(ordered),
        stddev=statistics.stdev(ordered) if len(ordered) > 1 else 0.0,
        min=ordered[0],
        max=ordered[-1],
        n=len(ordered),
    )


@functools.cache
def upper_bound_rank(n: int, quantile: Fraction, confidence: Fraction) -> int | None:
    """Which of `n` sorted values bounds the true quantile from above; None when even the largest does not.

    It is the smallest k with P(Binomial(n, quantile) < k) >= confidence: were the k-th smallest value below
    the true quantile, then at least k values would be, which happens with a chance of 1 - confidence at most.
    Holds for any distribution, if the values are independent draws of one. Exact: fractions, no floats. At
    0.95 and 0.99 it allows as many larger values as MLPerf's early stopping allows misses.
    """
    # P(X < k) >= confidence  <=>  sum over j >= k of C(n, j) hit^j miss^(n-j) <= (1 - confidence) whole^n,
    # with quantile = hit / whole. Walks down from j = n, each term made from the one above it.
    hit, whole = quantile.as_integer_ratio()
    miss = whole - hit
    allowed = (1 - confidence) * whole**n
    term = hit**n
    tail = term
    if tail > allowed:
        return None
    rank = n
    while rank > 1:
        term = term * rank * miss // ((n - rank + 1) * hit)
        tail += term
        if tail > allowed:
            break
        rank -= 1
    return rank


def lower_bound_rank(n: int, quantile: Fraction, confidence: Fraction) -> int | None:
    """Which of `n` sorted values bounds the true quantile from below; None when even the smallest does not.

    The mirror image of `upper_bound_rank`: the values above a quantile are those below its complement.
    """
    rank = upper_bound_rank(n, 1 - quantile, confidence)
    return None if rank is None else n + 1 - rank


P95, SURE = Fraction(95, 100), Fraction(99, 100)


def p95_upper_99(values: Sequence[float]) -> float | None:
    """What the true p95 stays under with 99 % confidence; None below 90 values, which cannot tell."""
    rank = upper_bound_rank(len(values), P95, SURE)
    return None if rank is None else sorted(values)[rank - 1]


def p95_within(values: Sequence[float], limit: float, confidence: Fraction = SURE) -> bool | None:
    """Whether the true p95 is at most `limit`; None where these values are not sure of it either way."""
    ordered, n = sorted(values), len(values)
    upper, lower = (rank(n, P95, confidence) for rank in (upper_bound_rank, lower_bound_rank))
    if upper is not None and ordered[upper - 1] <= limit:
        return True
    if lower is not None and ordered[lower - 1] > limit:
        return False
    return None


def difference(
    new: Mapping[str, Sequence[float]],
    old: Mapping[str, Sequence[float]],
    statistic: Callable[[list[float]], float],
) -> "Difference":
    """By how many percent a statistic of `new` is above that of `old`, with its 95 % interval.

    new, old: values by group; each group keeps its size in every resample. The interval is the percentile
    bootstrap's (Efron, 1979). It covers what varies within the two runs, not what varies from run to run.
    """
    draw = random.Random(0)

    def pooled(groups: Mapping[str, Sequence[float]], again: bool) -> float:
        return statistic([
            value
            for values in groups.values()
            for value in (draw.choices(values, k=len(values)) if again else values)
        ])  # fmt: skip

    def percent(again: bool) -> float:
        before = pooled(old, again)
        return 100 * (pooled(new, again) / before - 1) if before else 0.0

    ordered = sorted(percent(True) for _ in range(RESAMPLES))
    tail = round(RESAMPLES * 0.025)
    return Difference(percent(False), ordered[tail], ordered[-tail - 1])


RESAMPLES = 1000


@dataclass(frozen=True)
class Difference:
    """A change in percent, and between which two figures it lies with 95 % confidence."""

    percent: float
    low: float
    high: float

    @property
    def shown(self) -> bool:
        """Whether the interval leaves out no change at all."""
        return self.low > 0 or self.high < 0


def slope(x: Sequence[float], y: Sequence[float]) -> float:
    """How much y grows for one more x, by least squares; 0 where x does not vary."""
    if len(set(x)) < 2:
        return 0.0
    return statistics.linear_regression(x, y).slope
