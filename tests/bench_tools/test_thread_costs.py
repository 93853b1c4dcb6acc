"""Costs of several threads: the fit finds what made the times, and the board has what the networks give."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from bench.twin.counts import Figures
from bench.twin.layout import BOARD, LATENCY, TwinError
from bench.twin.published.measurements import load_measurements
from bench.twin.threads.count_threads import SharedCounts
from bench.twin.threads.fit_threads import (
    NOTE,
    REST,
    compare,
    describe,
    fit,
    leave_one_out,
    render,
    summarize,
    write_costs,
)
from bench.twin.threads.thread_pairs import SOURCES, ThreadPair, read_pairs
from bench.twin.threads.thread_table import threads_table
from tinyedge.boards.latency import Region, ThreadCosts
from tinyedge.boards.load import board_file
from tinyedge.core.config import PRESETS
from tinyedge.fit.cost_model import require_cost_data

TRUE = ThreadCosts(ns_per_shared_line=25.0, us_per_fork=7.0, error_percent=0.0)
DONE, WAITING = Figures(1e6, 2e6), Figures(1e6, 2e6, streamed_lines=1e4, random_lines=10, written_lines=5)


@pytest.fixture(scope="module")
def published() -> list[ThreadPair]:
    return read_pairs()


@pytest.fixture(scope="module")
def elsewhere() -> list[ThreadPair]:
    return read_pairs(LATENCY.at_clock(1400))


def make_pair(number: int) -> ThreadPair:
    """A network of some size, timed with four threads by a board with the true costs."""
    alone, lines = 90.0 + 20 * number, 4e5 * (1 + number % 4)
    regions = (Region(10.0), Region(alone, lines, ways=4 - number % 3 / 4, forks=100 * (1 + number % 5)))
    return ThreadPair(str(number), 10 + alone, TRUE.milliseconds(regions), 10 + alone, regions)


def test_the_fit_finds_the_costs_that_made_the_times() -> None:
    pairs = [make_pair(number) for number in range(8)]
    found = fit(pairs)
    assert found.ns_per_shared_line == 25
    assert found.us_per_fork == pytest.approx(7)
    mean, worst, _ = summarize(leave_one_out(pairs))
    assert mean < worst < 1e-6


def test_a_counted_network_is_modelled_and_scaled_to_its_published_time() -> None:
    shared = SharedCounts(DONE, WAITING, WAITING / 4, forks=5)
    alone = (DONE + WAITING).modelled_ms
    pair = ThreadPair.from_counts("a", {1: 3 * alone, 4: alone}, DONE + WAITING, shared, LATENCY)
    assert pair.alone_ms == alone
    serial, divided = pair.regions
    assert serial == Region(DONE.modelled_ms)
    assert (divided.alone_ms, divided.lines, divided.forks) == (WAITING.modelled_ms, 10_015, 5)
    assert divided.ways == pytest.approx(4)
    for before, after in zip(pair.regions, pair.scaled, strict=True):
        assert after.alone_ms == pytest.approx(3 * before.alone_ms)
        assert replace(after, alone_ms=before.alone_ms) == before
    free = ThreadCosts(0.0, 0.0, 0.0)
    four = DONE.modelled_ms + WAITING.modelled_ms / 4
    assert pair.modelled_error(free) == pytest.approx(four / alone - 1)
    assert pair.error(free) == pytest.approx(3 * pair.modelled_error(free) + 2)


def write_counts(folder: Path, plugin: str) -> tuple[Path, Path]:
    """Counts of all networks with one thread, and with several of another plugin's."""
    sources = set(SOURCES.values())
    programs = {one.program for one in load_measurements()[1] if one.source in sources}
    row = SharedCounts(DONE, WAITING, WAITING / 4, 5).to_row()
    contents = (
        ("counts.json", "tinyedge.published-counts/1", "1", asdict(DONE + WAITING), "1"),
        ("pairs.json", "tinyedge.thread-pairs/2", "4", row, plugin),
    )
    for name, schema, threads, counted, version in contents:
        counts = {threads: dict.fromkeys(programs, counted)}
        data = {"schema": schema, "versions": {"plugin": version}, "counts": counts}
        (folder / name).write_text(json.dumps(data))
    return folder / "counts.json", folder / "pairs.json"


def test_each_board_has_its_own_published_times(tmp_path: Path) -> None:
    paths = write_counts(tmp_path, plugin="1")
    ours, others = (read_pairs(latency, *paths) for latency in (LATENCY, LATENCY.at_clock(1400)))
    assert [pair.network for pair in ours] == [pair.network for pair in others]
    assert (ours[0].network, ours[0].one_ms, ours[0].several_ms) == ("squeezenet", 240.53, 119.52)
    assert others[0].one_ms < ours[0].one_ms
    assert others[0].regions[1].lines == ours[0].regions[1].lines
    costs = fit(ours)
    errors = compare(ours, others, costs)
    table = render(ours, errors).splitlines()
    assert len(table) == 32
    assert table[1].startswith("squeezenet ")
    assert describe(costs, errors).startswith("fitted to published times of 31 of ncnn's networks")


def test_counts_of_different_plugins_are_not_compared(tmp_path: Path) -> None:
    with pytest.raises(TwinError, match="are of different versions"):
        read_pairs(LATENCY, *write_counts(tmp_path, plugin="2"))


def test_networks_that_were_not_counted_are_left_out(tmp_path: Path) -> None:
    counts, pairs = write_counts(tmp_path, plugin="1")
    data = json.loads(pairs.read_text())
    del data["counts"]["4"]["ncnn-20220216/alexnet"]
    pairs.write_text(json.dumps(data))
    found = {pair.network for pair in read_pairs(LATENCY, counts, pairs)}
    assert len(found) == 30
    assert "alexnet" not in found
    data["counts"]["4"] = {}
    pairs.write_text(json.dumps(data))
    with pytest.raises(TwinError, match="no network is counted with one and 4 threads"):
        read_pairs(LATENCY, counts, pairs)


def test_the_costs_and_their_note_are_put_into_the_boards_file(tmp_path: Path) -> None:
    path = tmp_path / "board.json"
    before = json.loads(board_file(BOARD.name).read_text())
    path.write_text(json.dumps(before))
    write_costs(path, TRUE, "fitted")
    after = json.loads(path.read_text())
    assert after["cost_model"].pop("threads") == asdict(TRUE)
    assert after["notes"].pop(NOTE) == "fitted" + REST + before["notes"].pop(NOTE).partition(REST)[2]
    del before["cost_model"]["threads"]
    assert after == before


def test_more_threads_save_time_in_the_table() -> None:
    head, _, *rows = threads_table(require_cost_data(BOARD)).splitlines()
    assert head.endswith(" threads: | 1 | 2 | 3 | 4 |")
    assert len(rows) == 2 * len(PRESETS)
    for row in rows:
        one, *several = map(float, row.split("|")[2:-1])
        if "first token" in row:
            assert one > max(several)
            assert several == sorted(several, reverse=True)
        assert min(several) < 1.02 * one  # a small model's tokens gain nothing: a fork costs what it saves


def test_the_networks_are_divided_among_four(published: list[ThreadPair]) -> None:
    assert len(published) == 31
    for pair in published:
        assert 1 < pair.one_ms / pair.several_ms < 4
        assert (
            0.5 < sum(region.alone_ms for region in pair.regions) / pair.alone_ms < 1.01
        )  # four caches hold more
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


def test_without_a_shared_memory_the_times_are_not_explained(
    published: list[ThreadPair], elsewhere: list[ThreadPair]
) -> None:
    errors = compare(published, elsewhere, fit(published))
    assert summarize(errors["unlimited"])[0] > 2 * summarize(errors["left_out"])[0]
    assert summarize(errors["elsewhere"])[0] < 10
