"""Costs of several threads: the fit finds what made the times, and the board has what the networks give."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from bench.twin.counts import Figures
from bench.twin.layout import BOARD, LATENCY
from bench.twin.threads.fit_threads import (
    SCHEMA,
    ThreadPair,
    fit,
    leave_one_out,
    read_pairs,
    summarize,
)
from tinyedge.boards.latency import Region, ThreadCosts

TRUE = ThreadCosts(shared_memory=1.3, us_per_fork=7.0, error_percent=0.0)


@pytest.fixture(scope="module")
def published() -> list[ThreadPair]:
    return read_pairs(LATENCY)


def make_pair(number: int) -> ThreadPair:
    """A network of some size, timed with four threads by a board with the true costs."""
    alone, memory = 90.0 + 20 * number, 10.0 * (1 + number % 4)
    regions = (Region(10.0), Region(alone, memory, ways=4 - number % 3 / 4, forks=100 * (1 + number % 5)))
    return ThreadPair(str(number), 10 + alone, TRUE.milliseconds(regions), regions)


def test_the_fit_finds_the_costs_that_made_the_times() -> None:
    pairs = [make_pair(number) for number in range(8)]
    found = fit(pairs)
    assert found.shared_memory == 1.3
    assert found.us_per_fork == pytest.approx(7)
    mean, worst, _ = summarize(leave_one_out(pairs))
    assert mean < worst < 1e-6


def test_a_counted_network_is_scaled_to_its_published_time(tmp_path: Path) -> None:
    done, waiting = Figures(1e6, 2e6), Figures(1e6, 2e6, streamed_lines=1e4)
    counts = {"alone": done + waiting, "serial": done, "divided": waiting, "busiest": waiting / 4}
    alone = counts["alone"].modelled_ms
    row = {"network": "a", "one_ms": 3 * alone, "several_ms": alone, "forks": 5}
    row |= {part: asdict(figures) for part, figures in counts.items()}
    path = tmp_path / "pairs.json"
    path.write_text(json.dumps({"schema": SCHEMA, "networks": [row]}))
    (pair,) = read_pairs(LATENCY, path)
    serial, divided = pair.regions
    assert serial.alone_ms == pytest.approx(3 * done.modelled_ms)
    assert divided.alone_ms == pytest.approx(3 * waiting.modelled_ms)
    assert divided.memory_ms == pytest.approx(3e4 * LATENCY.ns_per_streamed_line / 1e6)
    assert divided.ways == pytest.approx(4)
    assert divided.forks == 5


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
    assert costs.shared_memory == pytest.approx(found.shared_memory)
    assert costs.us_per_fork > found.us_per_fork  # those threads spin, the kernels' sleep
    mean, worst, _ = summarize(leave_one_out(published))
    assert mean < 7
    assert worst < costs.error_percent


def test_without_a_shared_memory_the_times_are_not_explained(published: list[ThreadPair]) -> None:
    free = [
        replace(pair, regions=tuple(replace(one, memory_ms=0) for one in pair.regions)) for pair in published
    ]
    assert summarize(leave_one_out(free))[0] > 20
