"""Costs of several threads: the fit finds what made the times, and the board has what the networks give."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from bench.twin.layout import BOARD, LATENCY
from bench.twin.threads.fit_threads import (
    ThreadPair,
    fit,
    leave_one_out,
    read_pairs,
    summarize,
)
from tinyedge.boards.latency import Region, ThreadCosts

TRUE = ThreadCosts(ns_per_shared_line=25.0, us_per_fork=7.0, error_percent=0.0)


def milliseconds(counts: Mapping[str, float]) -> float:
    return LATENCY.milliseconds(counts["instructions"], counts["dram_fills"])


@pytest.fixture(scope="module")
def published() -> list[ThreadPair]:
    return read_pairs(milliseconds)


def make_pair(number: int) -> ThreadPair:
    """A network of some size, timed with four threads by a board with the true costs."""
    alone, lines = 90.0 + 20 * number, 4e5 * (1 + number % 4)
    regions = (Region(10.0), Region(alone, lines, ways=4 - number % 3 / 4, forks=100 * (1 + number % 5)))
    return ThreadPair(str(number), 10 + alone, TRUE.milliseconds(regions), regions)


def test_the_fit_finds_the_costs_that_made_the_times() -> None:
    pairs = [make_pair(number) for number in range(8)]
    found = fit(pairs)
    assert found.ns_per_shared_line == 25
    assert found.us_per_fork == pytest.approx(7)
    mean, worst, _ = summarize(leave_one_out(pairs))
    assert mean < worst < 1e-6


def test_the_networks_are_divided_among_four(published: list[ThreadPair]) -> None:
    assert len(published) == 31
    for pair in published:
        assert 1 < pair.one_ms / pair.several_ms < 4
        assert 0.5 < sum(region.alone_ms for region in pair.regions) / pair.one_ms <= 1
        assert all(1 <= region.ways <= 4 for region in pair.regions)


def test_the_board_has_the_costs_that_the_networks_give(published: list[ThreadPair]) -> None:
    costs = BOARD.cost_model and BOARD.cost_model.threads
    assert isinstance(costs, ThreadCosts)
    found = fit(published)
    assert costs.ns_per_shared_line == found.ns_per_shared_line
    assert costs.us_per_fork > found.us_per_fork  # those threads spin, the kernels' sleep
    mean, worst, _ = summarize(leave_one_out(published))
    assert mean < 7
    assert worst < costs.error_percent


def test_without_a_shared_memory_the_times_are_not_explained(published: list[ThreadPair]) -> None:
    free = [replace(pair, regions=tuple(replace(one, lines=0) for one in pair.regions)) for pair in published]
    assert summarize(leave_one_out(free))[0] > 20
