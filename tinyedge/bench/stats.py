"""Numbers about numbers, in the standard library alone.

In: measured values, in any order. Out: percentiles, their summary, and what a percentile proves.
Knows no units and no budgets.
"""

import statistics
from collections.abc import Sequence
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


def p95_upper_99(values: Sequence[float]) -> float | None:
    """What the true p95 stays under with 99 % confidence; None below 90 values, which cannot tell."""
    rank = upper_bound_rank(len(values), Fraction(95, 100), Fraction(99, 100))
    return None if rank is None else sorted(values)[rank - 1]


def slope(x: Sequence[float], y: Sequence[float]) -> float:
    """How much y grows for one more x, by least squares; 0 where x does not vary."""
    if len(set(x)) < 2:
        return 0.0
    return statistics.linear_regression(x, y).slope
