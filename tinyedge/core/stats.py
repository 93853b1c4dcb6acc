"""Statistics of measured values, with the standard library only.

In: measured values, in any order. Out: percentiles, summaries, confidence bounds. Does not know units or
limits.
"""

import functools
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

# The only one of the usual definitions without interpolation: each percentile is a measured value.
PERCENTILE_METHOD = "nearest rank: the smallest value that at least p% of the values do not exceed"


@dataclass(frozen=True)
class Summary:
    """Distribution of values, in their unit."""

    p50: float
    """Median, as a percentile of PERCENTILE_METHOD."""
    p90: float
    """90th percentile."""
    p95: float
    """95th percentile."""
    p99: float
    """99th percentile."""
    mean: float
    """Arithmetic mean."""
    stddev: float
    """Standard deviation of a sample (n - 1); 0 for one value."""
    min: float
    """Smallest value."""
    max: float
    """Largest value."""
    n: int
    """Number of values."""


def percentile(ordered: Sequence[float], percent: int) -> float:
    """Return the value of `ordered` (ascending, n >= 1) at its nearest rank."""
    return ordered[nearest_rank(len(ordered), percent) - 1]


def nearest_rank(n: int, percent: int) -> int:
    """Return the rank, from 1, of a percentile of `n` sorted values: ceil(percent / 100 * n)."""
    return max(-(-percent * n // 100), 1)  # in integers: in floats 0.07 * 100 is more than 7


def summarize(values: Sequence[float]) -> Summary | None:
    """Return percentiles, mean and spread of `values`; None for no values."""
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
    """Return the rank of the sorted value that bounds the true quantile from above.

    It is the smallest k with P(Binomial(n, quantile) < k) >= confidence: if the k-th smallest value were
    below the true quantile, then at least k values would be, with a probability of at most 1 - confidence.
    This holds for any distribution, if the values are independent samples. Computed exactly, in fractions.
    At 0.95 and 0.99 it allows as many larger values as MLPerf's early stopping allows queries above the
    latency limit.

    Args:
        n: Number of values.
        quantile: The quantile, between 0 and 1.
        confidence: Probability that the bound holds, between 0 and 1.

    Returns:
        The rank, from 1; None if even the largest value is not a bound.
    """
    # P(X < k) >= confidence  <=>  sum over j >= k of C(n, j) hit^j miss^(n-j) <= (1 - confidence) whole^n,
    # with quantile = hit / whole. Runs down from j = n and computes each term from the previous one.
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
    """Return the rank of the sorted value that bounds the true quantile from below.

    The mirror image of `upper_bound_rank`: the values above a quantile are those below its complement. None
    if even the smallest value is not a bound.
    """
    rank = upper_bound_rank(n, 1 - quantile, confidence)
    return None if rank is None else n + 1 - rank


P95, CONFIDENCE = Fraction(95, 100), Fraction(99, 100)


def p95_upper_99(values: Sequence[float]) -> float | None:
    """Return the 99% upper confidence bound of the p95; None below 90 values, which are too few for one."""
    rank = upper_bound_rank(len(values), P95, CONFIDENCE)
    return None if rank is None else sorted(values)[rank - 1]


def is_p95_within(values: Sequence[float], limit: float, confidence: Fraction = CONFIDENCE) -> bool | None:
    """Whether the true p95 is at most `limit`; None where the values do not show it with confidence."""
    ordered, n = sorted(values), len(values)
    upper, lower = (rank(n, P95, confidence) for rank in (upper_bound_rank, lower_bound_rank))
    if upper is not None and ordered[upper - 1] <= limit:
        return True
    if lower is not None and ordered[lower - 1] > limit:
        return False
    return None


def slope(x: Sequence[float], y: Sequence[float]) -> float:
    """Return the slope of y over x by least squares; 0 if x is constant."""
    if len(set(x)) < 2:
        return 0.0
    return statistics.linear_regression(x, y).slope
