"""Time of work on one core and on several: checked by hand, and for what must hold for any work."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyedge.boards.board import CoreCosts, LatencyModel, LineCost
from tinyedge.boards.latency import Region, ThreadCosts

COSTS = ThreadCosts(ns_per_shared_line=25, us_per_fork=10, error_percent=20)
LATENCY = LatencyModel(
    clock_mhz=500,
    core=CoreCosts(cycles_per_pipeline_cycle=1.5, cycles_per_misprediction=8, cycles_per_l1_miss=20),
    streamed_line=LineCost(cycles=10, ns=7),
    random_line=LineCost(cycles=50, ns=100),
    written_line=LineCost(cycles=20, ns=14),
    error_percent=15,
    margin=1.2,
)


def test_the_core_and_the_lines_cost_what_the_model_says() -> None:
    assert LATENCY.core.cycles(1000, 3, 2) == 1500 + 24 + 40
    assert LATENCY.streamed_line.at(500) == LATENCY.ns_per_streamed_line == 10 * 2 + 7
    assert LATENCY.ns_per_random_line == 50 * 2 + 100
    assert LATENCY.memory_ns(100, 4, 10, 1) == 2700 + 4 * (27 + 200) / 2 + 2000 + 54
    assert LATENCY.milliseconds(1_000_000, 500_000) == 2.0 + 0.5


def test_another_clock_changes_only_what_passes_with_the_clock() -> None:
    fast = LATENCY.at_clock(1000)
    assert fast.milliseconds(1_000_000, 0) == 1.0
    assert (fast.ns_per_streamed_line, fast.ns_per_random_line) == (17, 150)
    assert fast.memory_ns(0, 0, 0, 1) == 34
    assert fast.at_clock(500) == LATENCY


def test_a_calibrated_machine_has_the_measured_lines_and_stores_in_proportion() -> None:
    measured = LATENCY.calibrated(1000, 34, 90)  # a streamed line takes twice what the model says
    assert (measured.clock_mhz, measured.ns_per_streamed_line, measured.ns_per_random_line) == (1000, 34, 90)
    assert measured.memory_ns(0, 0, 0, 1) == pytest.approx(2 * 34)
    assert measured.core == LATENCY.core
    assert (measured.error_percent, measured.margin) == (15, 1.2)
    same = LATENCY.calibrated(500, LATENCY.ns_per_streamed_line, LATENCY.ns_per_random_line)
    assert same.memory_ns(3, 4, 2, 1) == pytest.approx(LATENCY.memory_ns(3, 4, 2, 1))


def test_one_thread_takes_the_time_of_one_core() -> None:
    assert COSTS.milliseconds([Region(3.0, lines=1e6), Region(4.0)]) == 7.0
    assert COSTS.milliseconds([]) == 0


def test_computation_is_divided_and_transfer_is_not() -> None:
    assert COSTS.milliseconds([Region(8.0, ways=4)]) == 2.0
    assert COSTS.milliseconds([Region(8.0, lines=160_000, ways=4)]) == pytest.approx(4.0 + 1.0)
    assert COSTS.milliseconds([Region(8.0, lines=1e9, ways=4)]) == 8.0  # nothing but transfer


def test_each_fork_costs_time() -> None:
    assert COSTS.milliseconds([Region(8.0, ways=4, forks=6), Region(1.0)]) == pytest.approx(2.0 + 0.06 + 1.0)


@given(alone=st.floats(0, 1e6), lines=st.floats(0, 1e9), ways=st.floats(1, 64), more=st.floats(1, 2))
def test_more_threads_are_never_slower_apart_from_the_forks(
    alone: float, lines: float, ways: float, more: float
) -> None:
    fewer, all_of_them = (
        COSTS.milliseconds([Region(alone, lines, number)]) for number in (ways, ways * more)
    )
    assert alone / (ways * more) * (1 - 1e-9) <= all_of_them <= fewer * (1 + 1e-9) <= alone * (1 + 2e-9)


def test_the_errors_of_one_thread_and_of_several_add_up_as_squares() -> None:
    assert COSTS.combine_error(15) == 25
    assert COSTS.combine_error(1) == 21  # a part of a percent counts as one
    assert COSTS.combine_margin(1.15) == 1.25
    assert COSTS.combine_margin(1.0) == 1.2
