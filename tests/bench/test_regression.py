"""Limits of the change since another report: shown, not shown, open, and slowed machines."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tinyedge.bench.compare import compare
from tinyedge.bench.gate import Gate, combine_verdict
from tinyedge.bench.regression import evaluate_regressions, require_figures
from tinyedge.bench.report import Report
from tinyedge.bench.worker import Job
from tinyedge.core.errors import UsageError

Make = Callable[..., Report]
NOISY = [20.0 + index * 37 % 11 / 5 for index in range(200)]
SLOWED = {"waited": 0.5}


@pytest.fixture
def gate(report: Make) -> Callable[..., Gate]:
    """Return the gate of one figure of a report that is slower than another by a factor."""

    def make(
        factor: float,
        limit: float,
        figure: str = "p95",
        new: dict[str, Any] | None = None,
        old: dict[str, Any] | None = None,
    ) -> Gate:
        now = report([value * factor for value in NOISY], measured=new)
        before = report(NOISY, measured=old).to_dict()
        comparison = compare(now.to_dict(), before, Path("old.json"))
        (found,) = evaluate_regressions({figure: limit}, comparison, now.doubts)
        return found

    return make


def test_a_change_passes_below_the_limit_and_fails_above_it_with_its_whole_interval(
    gate: Callable[..., Gate],
) -> None:
    met, missed, unsure = gate(1.1, 30), gate(1.3, 10), gate(1.1, 10)
    assert [one.ok for one in (met, missed, unsure)] == [True, False, None]
    assert (met.name, met.kind, met.unit, met.share) == ("regression:p95", "regression", "%", None)
    assert met.measured == pytest.approx(10)
    assert met.lower is not None
    assert met.bound is not None
    assert met.lower <= 10 <= met.bound <= 30
    assert met.sentence.startswith("p95 of a response: +10.0% since the other report, with 95% confidence")
    assert met.sentence.endswith("limit +30%, within it")
    assert missed.sentence.endswith("limit +10%, over it")
    assert "the limit is inside that interval" in unsure.sentence
    assert [combine_verdict([one]) for one in (met, missed, unsure)] == ["pass", "fail", "inconclusive"]


def test_a_faster_run_passes_even_without_any_tolerance(gate: Callable[..., Gate]) -> None:
    assert gate(0.5, 0).ok is True
    assert gate(2, 0).ok is False


def test_memory_has_one_value_per_run_and_is_compared_directly(gate: Callable[..., Gate]) -> None:
    more = gate(1, 10, "peak", new={"peak": 60}, old={"peak": 50})
    assert (more.ok, more.bound, more.lower) == (False, None, None)
    assert more.sentence == "peak memory: +20.0% since the other report, limit +10%, over it"
    assert gate(1, 20, "peak", new={"peak": 60}, old={"peak": 50}).ok is True
    assert gate(1, 10, "peak", new={"peak": 60, **SLOWED}, old={"peak": 50}).ok is False


def test_a_slowed_new_report_blocks_a_fail_and_a_slowed_old_one_a_pass(gate: Callable[..., Gate]) -> None:
    met = gate(1.1, 30, new=SLOWED)
    assert met.ok is True
    assert met.sentence.endswith("within it; met although the machine was slowed")
    assert gate(1.3, 10, new=SLOWED).ok is None
    blocked = gate(1.1, 30, old=SLOWED)
    assert blocked.ok is None
    assert "inconclusive: in the other report, other programs used the processor for 50%" in blocked.sentence
    assert gate(1.3, 10, old=SLOWED).ok is False
    assert gate(1.1, 30, new=SLOWED, old=SLOWED).ok is None


def test_doubts_of_an_old_report_that_does_not_class_them_block_both(report: Make) -> None:
    old = report(NOISY, measured=SLOWED).to_dict()
    del old["slowed_by"]
    for factor in (0.5, 2.0):
        now = report([value * factor for value in NOISY])
        comparison = compare(now.to_dict(), old, Path("old.json"))
        (found,) = evaluate_regressions({"p95": 10}, comparison, now.doubts)
        assert found.ok is None


def test_a_figure_that_the_responses_do_not_have_is_an_error() -> None:
    require_figures({"itl": 5, "peak": 5}, Job("bundle", max_tokens=2))
    with pytest.raises(UsageError, match="--max-regression itl"):
        require_figures({"itl": 5, "peak": 5}, Job("bundle", max_tokens=1))
