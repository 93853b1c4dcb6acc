"""Conditions that make the times of a run unreliable. What only slows never takes a pass away."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tinyedge.bench import table
from tinyedge.bench.conditions import Conditions, MachineMonitor, Reading
from tinyedge.bench.limits import Limits
from tinyedge.bench.report import Report

Make = Callable[..., Report]
CALM = Reading(mhz=1000.0, temperature=45.0, throttled=0)


def test_a_quiet_run_has_no_doubts(report: Make) -> None:
    assert report().doubts.all == ()
    assert report().verdict == "pass"
    unknown = Conditions(Reading(None, None, None), Reading(None, None, None))
    assert report(conditions=unknown, measured={"waited": None}).verdict == "pass"


TIMES = ("p95", "ttft", "decode")
MET = Limits(max_ttft_ms=100, min_decode_tps=10)
MISSED = Limits(max_p95_ms=1, max_ttft_ms=1, min_decode_tps=1e6)


@pytest.mark.parametrize(
    ("conditions", "measured", "doubt"),
    [
        (Conditions(CALM, Reading(1000.0, 84.0, 0x4)), {}, "began to throttle"),
        (Conditions(CALM, Reading(1000.0, 84.0, 0x40000)), {}, "began to throttle"),  # no longer active
        (Conditions(CALM, CALM), {"swap": 1.5}, "1.5 MB of the worker were swapped out"),
        (Conditions(CALM, CALM), {"waited": 0.31}, "other programs used the processor for 31%"),
        (Conditions(CALM, CALM), {"settled": False}, "still becoming faster"),
    ],
)
def test_what_only_slows_blocks_a_fail_and_not_a_pass(
    report: Make, conditions: Conditions, measured: dict[str, Any], doubt: str
) -> None:
    found = report(conditions=conditions, measured=measured, limits=MET)
    assert found.verdict == "pass"
    (sentence,) = found.doubts.all
    assert doubt in sentence
    assert found.to_dict()["doubts"] == found.to_dict()["slowed_by"] == [sentence]
    assert f"doubt: {sentence}"[:60] in table.render(found)
    times = {gate.name: gate for gate in found.gates if gate.name in TIMES}
    assert all(gate.sentence.endswith("met although the machine was slowed") for gate in times.values())
    assert len(times) == 3
    missed = report(conditions=conditions, measured=measured, limits=MISSED)
    assert missed.verdict == "inconclusive"
    assert [sentence in gate.sentence for gate in missed.gates if gate.name in TIMES] == [True] * 3


def test_a_changing_clock_blocks_a_pass_and_a_fail(report: Make) -> None:
    conditions = Conditions(CALM, CALM, (1000.0, 600.0, 1000.0))
    for limits in (MET, MISSED):
        found = report(conditions=conditions, limits=limits)
        assert found.verdict == "inconclusive"
        assert [gate.ok for gate in found.gates if gate.name in TIMES] == [None] * 3
        (sentence,) = found.to_dict()["doubts"]
        assert "changed between 600 and 1000 MHz" in sentence
        assert found.to_dict()["slowed_by"] == []
    both = report(conditions=conditions, measured={"waited": 0.5}, limits=MET)
    assert both.verdict == "inconclusive"
    assert len(both.doubts.all) == 2


def test_a_slowed_run_that_samples_leave_open_stays_inconclusive(report: Make) -> None:
    found = report([20.0] * 99 + [400.0], measured={"waited": 0.5})
    assert found.verdict == "inconclusive"  # the p95 is 20 ms, its bound 400 ms


def test_normal_conditions_are_no_doubt(report: Make) -> None:
    turbo = Conditions(CALM, CALM, (4100.0, 3700.0, 4000.0))
    assert report(conditions=turbo, measured={"waited": 0.05}).doubts.all == ()


@pytest.mark.parametrize(
    ("before", "after", "new"),
    [
        (None, None, 0),
        (0, 0, 0),
        (0x50000, 0x50000, 0),  # since boot, before the run
        (0x50000, 0x50004, 0x4),  # again during the run
        (0, 0x20000, 0x20000),  # during the run, no longer active
        (0x50005, 0x50000, 0),  # ended before the run did
    ],
)
def test_throttling_bits_that_are_new(before: int | None, after: int | None, new: int) -> None:
    assert Conditions(Reading(None, None, before), Reading(None, None, after)).new_throttling_bits == new


def test_the_monitor_reads_the_machine_before_during_and_after(tmp_path: Path) -> None:
    for core, khz in (("cpu0", 600_000), ("cpu1", 1_000_000)):
        clock = tmp_path / "sys/devices/system/cpu" / core / "cpufreq/scaling_cur_freq"
        clock.parent.mkdir(parents=True)
        clock.write_text(f"{khz}\n")
    zone = tmp_path / "sys/class/thermal/thermal_zone0/temp"
    zone.parent.mkdir(parents=True)
    zone.write_text("45084\n")
    vcgencmd = tmp_path / "vcgencmd"
    vcgencmd.write_text("#!/bin/sh\necho throttled=0x50000\n")
    vcgencmd.chmod(0o755)
    monitor = MachineMonitor(tmp_path, str(vcgencmd))
    before = monitor.read()
    assert before == Reading(1000.0, 45.084, 0x50000)
    monitor.sample_clock()
    clock.write_text("700000\n")
    zone.write_text("81000\n")
    monitor.sample_clock()
    vcgencmd.write_text("#!/bin/sh\necho throttled=0x50005\n")
    found = monitor.finish(before)
    assert found.mhz == (1000.0, 700.0)
    assert found.after == Reading(700.0, 81.0, 0x50005)
    assert found.new_throttling_bits == 0x5


def test_a_machine_without_a_readable_clock(tmp_path: Path) -> None:
    monitor = MachineMonitor(tmp_path, "no-such-program")
    monitor.sample_clock()
    assert monitor.finish(monitor.read()).mhz == ()


def test_cold_starts_have_their_own_doubts(report: Make) -> None:
    limits = Limits(max_cold_start_s=1)
    slow = {"limits": limits, "cold_starts_s": [3.0]}
    assert report(**slow).verdict == "fail"
    crowded = report(**slow, cold_waited_share=0.6)
    assert crowded.verdict == "inconclusive"
    assert "the starts had no processor for 60% of the time" in crowded.gates[3].sentence
    met = report(limits=limits, cold_starts_s=[0.5], cold_waited_share=0.6)
    assert met.verdict == "pass"
    assert met.gates[3].sentence.endswith("50% to spare; met although the machine was slowed")
    busy_before = report(
        limits=Limits(max_p95_ms=1, max_cold_start_s=1), cold_starts_s=[3.0], measured={"waited": 0.5}
    )
    assert [gate.ok for gate in busy_before.gates] == [True, True, None, False]
