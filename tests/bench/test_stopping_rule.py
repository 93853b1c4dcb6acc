"""When a measurement has enough samples."""

import random

import pytest

from tinyedge.bench.stopping_rule import MAX_UNTIL_SURE_S, StoppingRule
from tinyedge.bench.worker import MAX_SAMPLES
from tinyedge.core.errors import UsageError


def test_a_fixed_number_of_samples() -> None:
    stopping = StoppingRule(100)
    assert stopping.max_samples == 100
    assert not stopping.is_satisfied([1.0] * 99, 1e9)
    assert stopping.is_satisfied([1.0] * 100, 0.0)


def test_duration_and_number_of_samples_are_both_minimums() -> None:
    stopping = StoppingRule(100, duration_s=60)
    assert stopping.max_samples == MAX_SAMPLES
    assert not stopping.is_satisfied([1.0] * 5000, 59.9)
    assert not stopping.is_satisfied([1.0] * 99, 61)
    assert stopping.is_satisfied([1.0] * 100, 60)


@pytest.mark.parametrize(
    ("values", "sure"),
    [
        ([20.0] * 200, True),
        ([999.0] * 200, True),  # that it fails
        ([20.0] * 92 + [999.0] * 8 + [20.0] * 100, False),  # 8% is not certainly more than 5%
        ([20.0] * 97 + [999.0] * 3, False),
        ([20.0] * 100, False),  # the first test requires 99.5%, and 100 samples give 99.4%
    ],
)
def test_until_sure_stops_when_the_p95_is_certain(values: list[float], sure: bool) -> None:
    assert StoppingRule(100, until_sure_ms=250).is_satisfied(values, 1.0) is sure


def test_until_sure_stops_at_its_maximum_duration() -> None:
    undecided = [20.0] * 95 + [999.0] * 5
    assert not StoppingRule(100, until_sure_ms=250).is_satisfied(undecided, MAX_UNTIL_SURE_S - 1)
    assert StoppingRule(100, until_sure_ms=250).is_satisfied(undecided, MAX_UNTIL_SURE_S)
    assert StoppingRule(100, duration_s=5, until_sure_ms=250).is_satisfied(undecided, 5)
    assert not StoppingRule(100, duration_s=5, until_sure_ms=250).is_satisfied(undecided[:99], 5)


def test_repeated_tests_do_not_find_a_false_result() -> None:
    """With a p95 just above the limit, at most 1% of 300 runs end with a false pass."""
    draw, wrong = random.Random(1), 0
    for _ in range(300):
        values: list[float] = []
        while len(values) < 800:
            values.append(251.0 if draw.random() < 0.051 else 20.0)
            is_tested = len(values) % 100 == 0
            if is_tested and StoppingRule(100, until_sure_ms=250).is_satisfied(values, 1.0):
                wrong += sum(value > 250 for value in values) < 0.05 * len(values)
                break
    assert wrong <= 9  # 3 are expected at most; 10 or more come by chance in 1 of 1000 such tests


@pytest.mark.parametrize(
    "wrong",
    [
        {"samples": 0},
        {"samples": MAX_SAMPLES + 1},
        {"duration_s": 0.0},
        {"duration_s": -1.0},
        {"duration_s": float("nan")},
        {"duration_s": 1e9},
    ],
)
def test_an_invalid_value_names_its_parameter(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        StoppingRule(**wrong)  # type: ignore[arg-type]
