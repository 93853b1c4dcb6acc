"""Conditions during a benchmark run, and which of them make its times unreliable.

In: readings of the machine before, during and after the run. Out: Conditions, and Doubts: one sentence for
each reason why the times are not those of the machine at its normal speed. Does not evaluate limits.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tinyedge.bench.measurement import Measurement
from tinyedge.host.sensors import read_mhz, read_temperature
from tinyedge.host.throttling import read_throttling_bits

# Smaller values are normal: clocks with a turbo mode vary, and every system has background tasks.
CLOCK_CHANGE = 0.20  # of the fastest reading
WAITED_SHARE = 0.10  # of the time that the samples took
COLD_WAITED_SHARE = 0.25  # of cold starts, which also wait for files
MB = 1 << 20


@dataclass(frozen=True)
class Reading:
    """State of the machine at one moment. A value is None if the machine does not report it."""

    mhz: float | None
    """Clock of the fastest core, in MHz."""
    temperature: float | None
    """Temperature of the CPU, in degrees Celsius."""
    throttled: int | None
    """Throttling bits of the Raspberry Pi firmware."""


@dataclass(frozen=True)
class Conditions:
    """Conditions during a run."""

    before: Reading
    """Reading before the worker was started."""
    after: Reading
    """Reading after the worker ended."""
    mhz: tuple[float, ...] = ()
    """Clock of the fastest core during the samples, read each time samples arrived, in MHz."""

    @property
    def new_throttling_bits(self) -> int:
        """Throttling bits, current or since boot, that are set after the run but were not set before."""
        return (self.after.throttled or 0) & ~(self.before.throttled or 0)


@dataclass
class MachineMonitor:
    """Reads the state of the machine before, during and after a run."""

    root: Path = Path("/")
    """Folder that contains /proc and /sys."""
    vcgencmd: str = "vcgencmd"
    """Raspberry Pi program that reports the throttling bits."""
    _mhz: list[float] = field(default_factory=list)

    def read(self) -> Reading:
        """Read everything. Not for use during the samples: it starts a program on a Raspberry Pi."""
        return Reading(read_mhz(self.root), read_temperature(self.root), read_throttling_bits(self.vcgencmd))

    def sample_clock(self) -> None:
        """Record the clock only, which is read from a small file."""
        if (mhz := read_mhz(self.root)) is not None:
            self._mhz.append(mhz)

    def finish(self, before: Reading) -> Conditions:
        """Read the machine after the run, and return the conditions of the run."""
        return Conditions(before, self.read(), tuple(self._mhz))


@dataclass(frozen=True)
class Doubts:
    """Why the times of a run are unreliable: one sentence for each reason, normally none."""

    slowed: tuple[str, ...] = ()
    """What can only add time: a limit of time that is met would be met without it too."""
    changed: tuple[str, ...] = ()
    """What may have shortened some times as well, so that neither a pass nor a fail is certain."""

    @property
    def all(self) -> tuple[str, ...]:
        """Both kinds."""
        return (*self.changed, *self.slowed)


def find_doubts(conditions: Conditions, measurement: Measurement) -> Doubts:
    """Return why the times of a run are unreliable."""
    machine = find_machine_doubts(conditions, measurement.waited_share)
    slowed = (
        *machine.slowed,
        *_check_swap(measurement.swap),
        *_check_warm_up(measurement.warm_up.settled),
    )
    return Doubts(slowed, machine.changed)


def find_machine_doubts(conditions: Conditions, waited_share: float | None) -> Doubts:
    """Return which conditions of the machine make any times unreliable.

    Args:
        conditions: Conditions during the measurement.
        waited_share: Share of the time in which it did not run on a processor; None if it is not known.
    """
    slowed = (*_check_throttling(conditions), *_check_waiting(waited_share))
    return Doubts(slowed, tuple(_check_clock(conditions.mhz)))


def find_cold_doubts(conditions: Conditions, waited_share: float) -> Doubts:
    """Return why the times of cold starts are unreliable.

    Args:
        conditions: Conditions during the run.
        waited_share: Share of the time in which a start did not run on a processor.
    """
    waiting = [f"the starts had no processor for {100 * waited_share:.0f}% of the time: stop other programs"]
    return Doubts((*_check_throttling(conditions), *(waiting if waited_share > COLD_WAITED_SHARE else ())))


def _check_throttling(conditions: Conditions) -> Sequence[str]:
    if not conditions.new_throttling_bits:
        return ()
    return ["the device began to throttle during the run: cool it, or check its power supply"]


def _check_clock(mhz: Sequence[float]) -> Sequence[str]:
    if not mhz or min(mhz) >= (1 - CLOCK_CHANGE) * max(mhz):
        return ()
    return [
        f"the clock changed between {min(mhz):.0f} and {max(mhz):.0f} MHz during the run: set the governor to"
        " performance, or let the machine cool down"
    ]


def _check_swap(swap: int) -> Sequence[str]:
    if not swap:
        return ()
    return [f"{swap / MB:.1f} MB of the worker were swapped out: free some memory"]


def _check_waiting(share: float | None) -> Sequence[str]:
    if share is None or share <= WAITED_SHARE:
        return ()
    return [f"other programs used the processor for {100 * share:.0f}% of the time: stop them"]


def _check_warm_up(settled: bool) -> Sequence[str]:
    if settled:
        return ()
    return ["responses were still becoming faster when the warm-up ended: wait until the machine is idle"]
