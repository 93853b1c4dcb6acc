"""Time of work that cores divide: checked by hand, and for what must hold for any work."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyedge.boards.latency import Region, ThreadCosts

COSTS = ThreadCosts(ns_per_shared_line=25, us_per_fork=10, error_percent=20)


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
