"""What becomes of the loops' times: figures, conditions, doubts."""

import json
import os
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.recorded_board import record
from tinyedge.bench.conditions import MachineMonitor
from tinyedge.boards.load import load_board
from tinyedge.calibrate import table
from tinyedge.calibrate.calibration import Calibration, validate
from tinyedge.calibrate.loops import LoopSamples, LoopTimes, run_loops
from tinyedge.calibrate.measure import make_figures, measure
from tinyedge.core.errors import BenchError

ROUND = LoopTimes(
    add=1.0, l1_line=10.0, line=38.0, l1_load=3.0, l2_load=15.0, random_load=163.0, product=2000.0
)


def board_at(root: Path, throttled: str = "0x0") -> MachineMonitor:
    record(root, throttled=throttled)
    return MachineMonitor(root, str(root / "vcgencmd"))


def test_a_figure_is_the_median_with_the_fastest_round() -> None:
    slow = replace(ROUND, add=2.0, line=66.0, random_load=323.0)
    samples = LoopSamples((ROUND, slow, slow), "neon", 0.0)
    figures = make_figures(samples)
    assert (figures["clock_mhz"].median, figures["clock_mhz"].fastest, figures["clock_mhz"].n) == (
        500,
        1000,
        3,
    )
    assert (figures["ns_per_streamed_line"].median, figures["ns_per_streamed_line"].fastest) == (56, 28)
    assert (figures["ns_per_random_line"].median, figures["ns_per_random_line"].fastest) == (320, 160)
    assert (figures["ns_per_l2_hit"].median, figures["ns_per_l1_hit"].median) == (12, 3)


@pytest.mark.parametrize("name", ["line", "l2_load", "random_load"])
def test_memory_as_fast_as_the_first_cache_is_no_measurement(name: str) -> None:
    with pytest.raises(BenchError, match="the times mean nothing"):
        make_figures(LoopSamples((replace(ROUND, **{name: 3.0}), ROUND), "neon", 0.0))


def test_a_calibration_of_the_recorded_board(tmp_path: Path, kernels: Any) -> None:
    finished: list[int] = []
    found = measure(kernels, 3, board_at(tmp_path), finished.append)
    validate(found)
    assert finished == [1, 2, 3]
    assert found.machine.model == "Raspberry Pi Zero 2 W Rev 1.0"
    assert (found.clock_mhz.median, found.ns_per_streamed_line.median) == (500, 56)
    assert (found.ns_per_l2_hit.median, found.ns_per_random_line.median) == (24, 314)
    assert found.core_cycles == 2000
    assert found.conditions.governor == "ondemand"
    assert (found.conditions.throttled_before, found.conditions.throttled_after) == ("0x0", "0x0")
    screen = table.render(found, load_board("pi-zero-2w"), 100)
    assert "Raspberry Pi Zero 2 W Rev 1.0, Cortex-A53 x 4, governor ondemand" in screen
    clock = next(line for line in screen.splitlines() if line.startswith("clock"))
    assert clock.split() == ["clock,", "MHz", "500.0", "500.0", "3", "1000", "-50%"]


def test_the_file_identifies_nobody(tmp_path: Path, kernels: Any) -> None:
    """The recorded /proc/cpuinfo has a serial number."""
    text = json.dumps(measure(kernels, 1, board_at(tmp_path)).to_dict())
    names = {"12345678", socket.gethostname(), str(Path.home()), str(tmp_path), f'"{os.environ.get("USER")}"'}
    assert [name for name in names if name in text] == []


@pytest.mark.parametrize(
    ("throttled", "doubt"),
    [
        ("0x0", ""),
        ("0x50000", ""),
        ("0x5", "the firmware reported under-voltage, throttled before the rounds"),
    ],
)
def test_throttling_before_the_rounds_is_a_doubt(
    tmp_path: Path, kernels: Any, throttled: str, doubt: str
) -> None:
    doubts = measure(kernels, 1, board_at(tmp_path, throttled)).doubts
    found = [one for one in doubts if "firmware" in one]  # this machine may be busy, which is another doubt
    assert len(found) == bool(doubt)
    assert "".join(found).startswith(doubt)


def test_rounds_that_differ_are_a_doubt(tmp_path: Path, kernels: Any) -> None:
    times = iter([1024, 1024, 1024, 2048, 2048])  # two rounds of warm-up
    kernels.time_adds = lambda turns: (next(times), 1024)
    doubts = measure(kernels, 3, board_at(tmp_path)).doubts
    assert any("differ, clock_mhz by 100%: measure again" in doubt for doubt in doubts)


def test_a_large_cache_is_a_doubt(tmp_path: Path, kernels: Any) -> None:
    monitor = board_at(tmp_path)
    for index, size, is_doubt in (("index2", "512K", False), ("index3", "32768K", True)):
        path = tmp_path / "sys/devices/system/cpu/cpu0/cache" / index / "size"
        path.parent.mkdir(parents=True)
        path.write_text(f"{size}\n")
        doubts = measure(kernels, 1, monitor).doubts
        assert any("a cache of 32 MB holds a part" in doubt for doubt in doubts) is is_doubt


def test_doubts_are_shown(calibration: Calibration) -> None:
    screen = table.render(replace(calibration, doubts=("it was hot",)), None, None)
    assert "doubt: it was hot" in screen
    assert "none of the boards that tinyedge knows" in screen


def test_an_interrupt_ends_the_rounds(kernels: Any) -> None:
    def interrupt(finished: int) -> None:
        raise KeyboardInterrupt

    calls: list[int] = []
    kernels.time_adds = count(kernels.time_adds, calls)
    with pytest.raises(KeyboardInterrupt):
        run_loops(kernels, 5, interrupt)
    assert len(calls) == 3  # two rounds of warm-up, and one


def count(function: Callable[[int], object], calls: list[int]) -> Callable[[int], object]:
    def counted(turns: int) -> object:
        calls.append(turns)
        return function(turns)

    return counted
