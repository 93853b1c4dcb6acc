"""The latency model fitted to published times: the board's file has it, and its errors are small."""

from dataclasses import replace

import pytest

from bench.twin.layout import LATENCY
from bench.twin.published.fit_latency import (
    SPLITS,
    Point,
    fit_latency,
    leave_one_out,
    list_fitted_loops,
    list_programs,
    load_points,
    split_by_clock,
)
from bench.twin.published.latency_report import summarize, with_error
from tinyedge.boards.board import LineCost

MAX_MEAN_PERCENT, MAX_WORST_PERCENT = 7, 15  # of programs that are left out of the fit


@pytest.fixture(scope="module")
def programs() -> list[Point]:
    return list_programs(load_points())


@pytest.fixture(scope="module")
def loops() -> list[Point]:
    return list_fitted_loops(load_points())


@pytest.fixture(scope="module")
def splits() -> dict[str, LineCost]:
    return {term: split_by_clock(load_points(), program) for term, program in SPLITS.items()}


@pytest.fixture(scope="module")
def left_out(programs: list[Point], loops: list[Point], splits: dict[str, LineCost]) -> dict[str, float]:
    return leave_one_out(programs, loops, splits)


def test_the_boards_latency_model_is_the_fit_of_the_recorded_counts(
    programs: list[Point], loops: list[Point], splits: dict[str, LineCost], left_out: dict[str, float]
) -> None:
    fitted = fit_latency([*programs, *loops], splits)
    assert with_error(fitted, left_out.values()) == LATENCY, "run: python -m bench.twin latency --record"


def test_programs_that_are_left_out_of_the_fit_are_predicted(
    programs: list[Point], left_out: dict[str, float]
) -> None:
    assert set(left_out) == {point.measurement.name for point in programs}
    errors = summarize([100 * error for error in left_out.values()])
    assert errors["mean"] <= MAX_MEAN_PERCENT
    assert max(-errors["lowest"], errors["highest"]) <= MAX_WORST_PERCENT


def test_a_programs_own_time_does_not_influence_its_prediction(
    programs: list[Point], loops: list[Point], splits: dict[str, LineCost], left_out: dict[str, float]
) -> None:
    one = next(point for point in programs if point.measurement.ns)
    twice = replace(one, measurement=replace(one.measurement, ns=2 * (one.measurement.ns or 0)))
    others = [point for point in programs if point.measurement.program != one.measurement.program]
    name = one.measurement.name
    error = leave_one_out([*others, twice], loops, splits)[name]
    assert 2 * (1 + error) == pytest.approx(1 + left_out[name])
