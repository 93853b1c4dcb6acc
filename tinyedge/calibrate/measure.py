"""The calibration of this machine: its loops, its conditions, and what makes its figures doubtful.

In: the package tinyedge_kernels. Out: a `Calibration`. Writes nothing.
"""

import datetime
import os
import platform
import statistics
from collections.abc import Callable, Sequence
from typing import Any

from tinyedge import __version__
from tinyedge.bench.conditions import Conditions, MachineMonitor, find_machine_doubts
from tinyedge.calibrate.calibration import (
    NS_RANGE,
    CalibratedMachine,
    Calibration,
    CalibrationConditions,
    CoreWork,
    Figure,
)
from tinyedge.calibrate.loops import (
    MEMORY_BYTES,
    PRODUCT_SHAPE,
    ROUNDS,
    LoopSamples,
    run_loops,
    times_of,
)
from tinyedge.core.errors import BenchError
from tinyedge.host.cpu import read_largest_cache
from tinyedge.host.machine import Device, describe_machine
from tinyedge.host.throttling import Throttling

MB = 1 << 20
SPREAD = 0.10  # between the median round and the fastest; an idle board has less
DIGITS = 4  # after the point: a thousandth of a cycle
LARGE_CACHE = MEMORY_BYTES // 8  # a cache that holds more of the loops' memory makes it look faster


def measure(
    kernels: Any,
    rounds: int = ROUNDS,
    monitor: MachineMonitor | None = None,
    progress: Callable[[int], None] = lambda finished: None,
) -> Calibration:
    """Calibrate this machine.

    Args:
        kernels: What `tinyedge.calibrate.loops.import_loops` returned.
        rounds: Number of rounds.
        monitor: Reads the state of the machine, or of a simulated one.
        progress: Called after each round with the number of finished ones.

    Raises:
        BenchError: A line of memory took no longer than one of the cache: the times mean nothing.
    """
    monitor = monitor or MachineMonitor()
    load = os.getloadavg()[0]
    before = monitor.read()

    def on_round(finished: int) -> None:
        monitor.sample_clock()
        progress(finished)

    samples = run_loops(kernels, rounds, on_round)
    conditions = monitor.finish(before)
    device = describe_machine(monitor.root, monitor.vcgencmd)
    figures = make_figures(samples)
    work = f"int8 product, {PRODUCT_SHAPE}, {samples.instructions}"
    return Calibration(
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        machine=CalibratedMachine(
            device.model, device.machine, device.cpu, device.cores, device.features, device.ram
        ),
        **figures,
        core=CoreWork(work, summarize_times(times_of(samples.rounds, "product"))),
        conditions=_describe_conditions(device, conditions, load, samples),
        doubts=(
            *_check_throttling_before(conditions),
            *find_machine_doubts(conditions, samples.waited_share).all,
            *_check_spread(figures),
            *_check_cache(read_largest_cache(monitor.root)),
        ),
        versions={
            "tinyedge": __version__,
            "tinyedge_kernels": kernels.__version__,
            "python": device.python,
            "kernel": device.kernel or platform.release(),
        },
    )


def make_figures(samples: LoopSamples) -> dict[str, Figure]:
    """Return the figures of the rounds, by their names in a `Calibration`.

    Raises:
        BenchError: A line of memory took no longer than one of the cache.
    """

    def beyond(name: str, cached: str) -> Figure:
        base = statistics.median(times_of(samples.rounds, cached))
        found = summarize_times([time - base for time in times_of(samples.rounds, name)])
        if found.fastest < NS_RANGE[0]:
            raise BenchError(
                "a line of memory took no longer than one of the first cache: the times mean nothing",
                "stop other programs and measure again; an emulated machine cannot be calibrated",
            )
        return found

    clocks = [1000 / ns for ns in times_of(samples.rounds, "add")]
    median, fastest = round(statistics.median(clocks), DIGITS), round(max(clocks), DIGITS)
    return {
        "clock_mhz": Figure(median, fastest, len(clocks)),
        "ns_per_l1_line": summarize_times(times_of(samples.rounds, "l1_line")),
        "ns_per_streamed_line": beyond("line", "l1_line"),
        "ns_per_l1_hit": summarize_times(times_of(samples.rounds, "l1_load")),
        "ns_per_l2_hit": beyond("l2_load", "l1_load"),
        "ns_per_random_line": beyond("random_load", "l1_load"),
    }


def summarize_times(times: Sequence[float]) -> Figure:
    """Return the figure of the times of all rounds."""
    return Figure(round(statistics.median(times), DIGITS), round(min(times), DIGITS), len(times))


def _describe_conditions(
    device: Device, conditions: Conditions, load: float, samples: LoopSamples
) -> CalibrationConditions:
    before, after = conditions.before, conditions.after
    return CalibrationConditions(
        governor=device.governor,
        reported_mhz=after.mhz,
        temperature_before=before.temperature,
        temperature_after=after.temperature,
        throttled_before=None if before.throttled is None else hex(before.throttled),
        throttled_after=None if after.throttled is None else hex(after.throttled),
        load=round(load, 2),
        waited_percent=round(100 * samples.waited_share, 1),
    )


def _check_throttling_before(conditions: Conditions) -> Sequence[str]:
    states = Throttling.from_bits(conditions.before.throttled or 0).now
    if not states:
        return ()
    return [
        f"the firmware reported {', '.join(states)} before the rounds: cool it, or check its power supply"
    ]


def _check_spread(figures: dict[str, Figure]) -> Sequence[str]:
    spread = {name: abs(one.median - one.fastest) / one.median for name, one in figures.items()}
    wide = [f"{name} by {100 * part:.0f}%" for name, part in spread.items() if part > SPREAD]
    if not wide:
        return ()
    return [f"the median and the fastest round differ, {', '.join(wide)}: measure again on an idle machine"]


def _check_cache(largest: int | None) -> Sequence[str]:
    if largest is None or largest <= LARGE_CACHE:
        return ()
    return [
        f"a cache of {largest / MB:.0f} MB holds a part of the {MEMORY_BYTES // MB} MB that are read: memory"
        " is slower than these figures"
    ]
