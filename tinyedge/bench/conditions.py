"""What a run was made under, and what of it spoils the figures: heat, clocks, swap, other programs.

In: the machine's own readings before, during and after. Out: Conditions, and doubts in words. Judges nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tinyedge.bench.measurement import Measurement
from tinyedge.host.sensors import read_mhz, read_temperature
from tinyedge.host.throttling import read_throttling_bits

# Below these, a difference says nothing: clocks with a turbo jitter, and every system has some chores.
CLOCK_CHANGE = 0.20  # of the fastest reading
WAITED_SHARE = 0.10  # of the time that the samples took
COLD_WAITED_SHARE = 0.25  # of whole starts, which also wait for files
MB = 1 << 20


@dataclass(frozen=True)
class Reading:
    """One look at the machine: MHz of its fastest core, degrees Celsius, the firmware's throttling bits."""

    mhz: float | None
    temperature: float | None
    throttled: int | None


@dataclass(frozen=True)
class Conditions:
    """before, after: the worker's life. mhz: the clock while samples were taken, as often as they came in."""

    before: Reading
    after: Reading
    mhz: tuple[float, ...] = ()

    @property
    def new_throttling_bits(self) -> int:
        """Throttling bits, of the moment or since boot, that are set after and were not before."""
        return (self.after.throttled or 0) & ~(self.before.throttled or 0)


@dataclass
class MachineMonitor:
    """Looks at the machine while it is measured. root: what /proc and /sys are under."""

    root: Path = Path("/")
    vcgencmd: str = "vcgencmd"
    _mhz: list[float] = field(default_factory=list)

    def read(self) -> Reading:
        """Everything; starts a program on a Raspberry Pi, so not while samples are taken."""
        return Reading(read_mhz(self.root), read_temperature(self.root), read_throttling_bits(self.vcgencmd))

    def sample_clock(self) -> None:
        """The clock alone, from a small file."""
        if (mhz := read_mhz(self.root)) is not None:
            self._mhz.append(mhz)

    def finish(self, before: Reading) -> Conditions:
        """The run has ended."""
        return Conditions(before, self.read(), tuple(self._mhz))


def find_doubts(conditions: Conditions, measurement: Measurement) -> tuple[str, ...]:
    """Why times of this run are not those of the machine as it should be, a sentence each; mostly none."""
    return (
        *_check_throttling(conditions),
        *_check_clock(conditions.mhz),
        *_check_swap(measurement.swap),
        *_check_waiting(measurement.waited_share),
        *_check_warm_up(measurement.warm_up.settled),
    )


def find_cold_doubts(conditions: Conditions, waited_share: float) -> tuple[str, ...]:
    """Why whole starts are not those of the machine as it should be. waited_share: without a processor."""
    waiting = [f"the starts had no processor for {100 * waited_share:.0f} % of the time: stop other programs"]
    return (*_check_throttling(conditions), *(waiting if waited_share > COLD_WAITED_SHARE else ()))


def _check_throttling(conditions: Conditions) -> Sequence[str]:
    if not conditions.new_throttling_bits:
        return ()
    return ["the device began to throttle during the run: cool it, or check its power supply"]


def _check_clock(mhz: Sequence[float]) -> Sequence[str]:
    if not mhz or min(mhz) >= (1 - CLOCK_CHANGE) * max(mhz):
        return ()
    return [
        f"the clock changed between {min(mhz):.0f} and {max(mhz):.0f} MHz during the run: set the governor to"
        " performance, or let the machine cool"
    ]


def _check_swap(swap: int) -> Sequence[str]:
    if not swap:
        return ()
    return [f"{swap / MB:.1f} MB of the worker were swapped out: free some memory"]


def _check_waiting(share: float | None) -> Sequence[str]:
    if share is None or share <= WAITED_SHARE:
        return ()
    return [f"other programs had the processor for {100 * share:.0f} % of the time: stop them"]


def _check_warm_up(settled: bool) -> Sequence[str]:
    if settled:
        return ()
    return ["responses were still becoming faster when the warm-up ended: let the machine come to rest"]
