"""Budgets, their sentences and the verdict."""

import math

import pytest

from tinyedge.bench.gate import MB, Gate, Limits, judge, verdict
from tinyedge.errors import UsageError


def test_sentences_say_what_was_measured_and_how_far_it_is_from_the_limit() -> None:
    assert Gate("p95", 250, 12.3, "ms").sentence == "p95 of a response: 12.3 ms, limit 250 ms, 95 % to spare"
    assert Gate("p95", 250, 312.5, "ms").sentence == "p95 of a response: 312.5 ms, limit 250 ms, 25 % over"
    assert Gate("p95", 250, 12.3, "ms", "only 5").sentence.endswith("limit 250 ms, not judged: only 5")


def test_a_near_miss_does_not_read_as_none() -> None:
    gate = Gate("p95", 250, 250.01, "ms")
    assert gate.ok is False
    assert gate.sentence.endswith("0.004 % over")


def test_a_limit_may_be_reached_but_not_passed() -> None:
    assert Gate("rss", 400, 400, "MB").ok is True
    assert Gate("rss", 400, math.nextafter(400, 401), "MB").ok is False


def figures(**more: float) -> dict[str, float]:
    return {"steady_bytes": 50 * MB, "peak_bytes": 60 * MB, "p95_ms": 20.0, "samples": 100, **more}


@pytest.mark.parametrize(
    ("over", "failed"),
    [
        ({"steady_bytes": 400 * MB + 1}, "rss"),
        ({"peak_bytes": 512 * MB + 1}, "peak"),
        ({"p95_ms": 250.1}, "p95"),
    ],
)
def test_each_budget_alone_can_fail(over: dict[str, float], failed: str) -> None:
    gates = judge(Limits(), **figures(**over))
    assert [gate.name for gate in gates if not gate.ok] == [failed]
    assert verdict(gates) == "fail"


def test_all_budgets_kept_is_a_pass() -> None:
    assert verdict(judge(Limits(), **figures())) == "pass"


@pytest.mark.parametrize("p95_ms", [20.0, 9999.0])
def test_below_20_samples_a_p95_proves_nothing_either_way(p95_ms: float) -> None:
    gates = judge(Limits(), **figures(samples=19, p95_ms=p95_ms))
    assert verdict(gates) == "inconclusive"
    assert "only --samples 19, 20 are needed" in gates[2].sentence
    assert verdict(judge(Limits(), **figures(samples=20))) == "pass"


def test_throttling_makes_the_p95_inconclusive() -> None:
    gates = judge(Limits(), **figures(), throttled=True)
    assert verdict(gates) == "inconclusive"
    assert "throttle" in gates[2].sentence


def test_too_much_memory_fails_however_few_the_samples() -> None:
    assert verdict(judge(Limits(max_rss_mb=1), **figures(samples=1))) == "fail"


@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf])
@pytest.mark.parametrize("name", ["max_rss_mb", "max_peak_mb", "max_p95_ms"])
def test_a_limit_that_cannot_work_names_its_flag(name: str, value: float) -> None:
    with pytest.raises(UsageError, match="--" + name.replace("_", "-")):
        Limits(**{name: value})
