"""A difference of two runs and its confidence interval."""

import random

import numpy as np
import pytest

from tinyedge.bench.bootstrap import Values, compute_difference


def mean(values: Values) -> float:
    return float(np.mean(values))


def test_the_interval_of_a_difference_contains_it() -> None:
    rng = random.Random(5)
    old = {"a": [rng.gauss(100, 5) for _ in range(50)], "b": [rng.gauss(200, 5) for _ in range(50)]}
    new = {name: [value * 1.1 for value in values] for name, values in old.items()}
    found = compute_difference(new, old, mean)
    assert found.percent == pytest.approx(10)
    assert found.low < 10 < found.high
    assert found.shown
    same = compute_difference(old, old, mean)
    assert (same.percent, same.shown) == (0, False)
    assert found == compute_difference(new, old, mean)  # the same draws each time


def test_a_bootstrap_interval_covers_with_its_confidence() -> None:
    rng, covered = random.Random(6), 0
    for _ in range(100):
        old, new = ({"a": [rng.gauss(100, 10) for _ in range(40)]} for _ in range(2))
        covered += not compute_difference(new, old, mean).shown
    assert covered >= 86  # 95 are expected; fewer than 86 come by chance in 1 of 3000 such tests


def test_a_very_long_run_needs_few_draws() -> None:
    sizes: list[int] = []

    def counted_mean(values: Values) -> float:
        sizes.append(values.size)
        return mean(values)

    rng = np.random.default_rng(7)
    old, new = ({"a": rng.normal(100, 10, 100_000).tolist()} for _ in range(2))
    found = compute_difference(new, old, counted_mean)
    assert sum(sizes) <= 2 * 201 * 100_000
    assert found.low < found.percent < found.high
