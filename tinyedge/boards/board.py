"""A board as typed data: what its JSON file holds.

Does not know files, models, bundles or the network.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace

from tinyedge.boards.latency import ThreadCosts
from tinyedge.boards.wheel_platform import WheelPlatform


@dataclass(frozen=True)
class Cache:
    """One cache of a core, with lines of 64 bytes."""

    level: int
    """1 is next to the core."""
    kind: str
    """"data", "instruction" or "unified"."""
    size_kb: int
    """Size in kB of 2^10 bytes."""
    ways: int
    """Lines that one address may be in."""
    shared_by: int = 1
    """Cores that share it."""


@dataclass(frozen=True)
class Processor:
    """The processor of a board."""

    machine: str
    """Architecture as `uname -m` prints it: aarch64 or x86_64."""
    cores: int | None = None
    """Number of cores; None where it varies, as for a class of machines."""
    features: tuple[str, ...] = ()
    """Features that are present on every such board, as /proc/cpuinfo names them. Others are absent."""
    midr: str | None = None
    """Main ID register of an Arm core, such as "0x410fd034": implementer, variant, part and revision."""
    min_mhz: int | None = None
    """Lowest clock in MHz, to which the firmware throttles."""
    max_mhz: int | None = None
    """Highest clock in MHz, without overclocking."""
    caches: tuple[Cache, ...] = ()
    """Caches of a core, those next to it first."""

    def has_feature(self, name: str) -> bool:
        """Whether every such board has the feature."""
        return name in self.features


@dataclass(frozen=True)
class Memory:
    """The memory of a board, in MB of 2^20 bytes."""

    ram_mb: int
    """Physical RAM."""
    usable_mb: int
    """MemTotal that the board reports: the GPU and the kernel take their share first."""


@dataclass(frozen=True)
class Storage:
    """Reads of a good SD card in the board, fitted to published ones: ms_per_read + bytes / mb_per_s."""

    ms_per_read: float
    """Milliseconds that each read takes, whatever its size."""
    mb_per_s: float
    """Speed of a long read, in MB of 10^6 bytes a second."""

    def seconds(self, reads: int, byte_count: int) -> float:
        """Time of some reads, one after the other, in seconds."""
        return reads * self.ms_per_read / 1e3 + byte_count / (self.mb_per_s * 1e6)


@dataclass(frozen=True)
class Budgets:
    """Limits of the process that answers. A bundle for the board promises to meet them."""

    max_rss_mb: float
    """Steady memory, swap included, in MB of 2^20 bytes."""
    max_peak_mb: float
    """Peak memory, swap included, in MB of 2^20 bytes."""
    max_p95_ms: float
    """95th percentile of the time of a response of 20 tokens, in ms."""

    def to_dict(self) -> dict[str, float]:
        """As in the field `budgets` of a manifest."""
        return asdict(self)


@dataclass(frozen=True)
class WheelTags:
    """Wheels that the board's system can install, as a range of glibc versions."""

    newest_glibc: str
    """glibc of the oldest system that the board runs, such as "2.36"."""
    oldest_glibc: str
    """Oldest glibc that wheels for this architecture are built for, such as "2.17"."""
    legacy: tuple[str, ...] = ()
    """Older names of tags in that range, such as "manylinux2014"."""

    @property
    def newest_minor(self) -> int:
        """The 36 of glibc "2.36"."""
        return _glibc_minor(self.newest_glibc)

    def platforms(self, machine: str) -> tuple[str, ...]:
        """Platform tags, most specific first.

        pip takes `--platform` literally, so each older tag has to be named too.

        Args:
            machine: Architecture, as `uname -m` prints it.
        """
        oldest = _glibc_minor(self.oldest_glibc)
        numbered = [f"manylinux_2_{minor}" for minor in range(self.newest_minor, oldest - 1, -1)]
        return *(f"{name}_{machine}" for name in (*numbered, *self.legacy, "linux")), "any"


@dataclass(frozen=True)
class BadPackage:
    """A version of a package that does not run on the board."""

    package: str
    """Name on the package index."""
    version: str
    """The version that fails."""
    needs_feature: str
    """Processor feature that it needs; it fails on every processor of this architecture without it."""
    why: str
    """What happens, as the rest of a sentence after package and version."""
    hint: str
    """Remedy, usually a command."""


@dataclass(frozen=True)
class Emulation:
    """How QEMU plays the board, for `python -m bench.twin`."""

    cpu_model: str
    """QEMU's name of the processor, for `-cpu`."""
    memory_mb: int | None = None
    """Memory to boot with, in MB of 2^20 bytes, so that MemTotal is the board's; None if never booted."""


@dataclass(frozen=True)
class CoreCosts:
    """Cycles of a core that does not wait for DRAM, from what the emulated board counts."""

    cycles_per_pipeline_cycle: float
    """For a cycle of the pipeline's model, which knows each instruction but not all that delays it."""
    cycles_per_misprediction: float
    """For a branch that went the other way than predicted."""
    cycles_per_l1_miss: float
    """For data that the second cache had and the first had not."""

    def cycles(self, pipeline_cycles: float, mispredictions: float, l1_misses: float) -> float:
        """Cycles of the core."""
        return (
            self.cycles_per_pipeline_cycle * pipeline_cycles
            + self.cycles_per_misprediction * mispredictions
            + self.cycles_per_l1_miss * l1_misses
        )


@dataclass(frozen=True)
class LineCost:
    """Time that a core waits for a line of 64 bytes from DRAM."""

    cycles: float
    """The part that passes with the core's clock."""
    ns: float
    """The part that does not depend on it, in ns."""

    def at(self, clock_mhz: float) -> float:
        """Nanoseconds at a clock in MHz."""
        return self.cycles * 1000 / clock_mhz + self.ns


@dataclass(frozen=True)
class LatencyModel:
    """Modelled time of one thread, from counts of the emulated board.

    Fitted to published times on boards with this core. Not in the model: the kernel's own work, the TLB,
    throttling, the SD card, and cores that share the memory's bandwidth.
    """

    clock_mhz: float
    """Clock of the core in MHz, if nothing throttles it."""
    core: CoreCosts
    """Cycles of the core."""
    streamed_line: LineCost
    """A line that follows others, so that the core has asked for it before."""
    random_line: LineCost
    """Another line."""
    written_line: LineCost
    """A line that was changed and goes back to DRAM."""
    error_percent: float
    """The model is quoted as plus or minus this, in percent."""
    margin: float
    """Factor that covers the largest error seen; a gate compares margin x model with its limit."""

    @property
    def ns_per_streamed_line(self) -> float:
        """Nanoseconds for a line of 64 bytes, read in order."""
        return self.streamed_line.at(self.clock_mhz)

    @property
    def ns_per_random_line(self) -> float:
        """Nanoseconds for a line of 64 bytes, read in random order."""
        return self.random_line.at(self.clock_mhz)

    @property
    def ns_per_crowded_line(self) -> float:
        """Nanoseconds for a line that follows others, beside more streams than the core follows.

        As if half of them were there in time: a coefficient of its own is near, and predicts no better.
        """
        return (self.ns_per_streamed_line + self.ns_per_random_line) / 2

    def memory_ns(
        self, streamed_lines: float, crowded_lines: float, random_lines: float, written_lines: float
    ) -> float:
        """Nanoseconds of waiting for lines from DRAM."""
        return (
            self.ns_per_streamed_line * streamed_lines
            + self.ns_per_crowded_line * crowded_lines
            + self.ns_per_random_line * random_lines
            + self.written_line.at(self.clock_mhz) * written_lines
        )

    def milliseconds(self, core_cycles: float, memory_ns: float) -> float:
        """Modelled time in ms."""
        return (core_cycles * 1000 / self.clock_mhz + memory_ns) / 1e6

    def calibrated(
        self, clock_mhz: float, ns_per_streamed_line: float, ns_per_random_line: float
    ) -> "LatencyModel":
        """The same model with the clock and the memory of one machine.

        A written line follows one that is read in order, in proportion. The error and the margin stay: they
        are those of the counts and of the core's model too.

        Args:
            clock_mhz: Measured clock in MHz.
            ns_per_streamed_line: Nanoseconds for a line of 64 bytes from memory, read in order.
            ns_per_random_line: Nanoseconds for a line of 64 bytes from memory, in random order.
        """
        written = self.written_line.at(clock_mhz) * ns_per_streamed_line / self.streamed_line.at(clock_mhz)
        return replace(
            self,
            clock_mhz=clock_mhz,
            streamed_line=LineCost(0.0, ns_per_streamed_line),
            random_line=LineCost(0.0, ns_per_random_line),
            written_line=LineCost(0.0, written),
        )

    def at_clock(self, clock_mhz: float) -> "LatencyModel":
        """The same board at another clock, such as that of a throttled one, in MHz."""
        return replace(self, clock_mhz=clock_mhz)


@dataclass(frozen=True)
class ErrorSummary:
    """Errors of a figure of the cost formula, in percent of what was counted or measured."""

    mean: float
    """Mean of the absolute errors."""
    worst: float
    """Largest error, with its sign."""
    worst_of: str
    """Shape with the largest error."""
    n: int
    """Number of figures."""


@dataclass(frozen=True)
class FigureErrors:
    """Errors of the cost formula on a set of shapes."""

    response: ErrorSummary
    """Time of single answers."""
    p95: ErrorSummary
    """p95 of the benchmark's prompts, one figure for each shape."""
    peak_rss: ErrorSummary
    """Peak memory."""


@dataclass(frozen=True)
class FormulaErrors:
    """Errors of the cost formula, compared with the emulated board."""

    fitted: FigureErrors
    """On the shapes it was fitted to."""
    held_out: FigureErrors
    """On the other shapes."""


@dataclass(frozen=True)
class CostSource:
    """Origin of a cost formula."""

    board: str
    """Name of the board that the counts were made for: a formula holds for no other."""
    created: str
    """Time in UTC."""
    versions: Mapping[str, str]
    """Versions of everything that ran."""
    made_by: str
    """The command."""
    fitted_on: tuple[str, ...]
    """Names of the shapes it was fitted to."""
    held_out: tuple[str, ...]
    """Names of the other shapes that were counted."""
    errors_percent: FormulaErrors
    """How far off it is."""


@dataclass(frozen=True)
class CostData:
    """Coefficients of the cost formula; `tinyedge.fit` knows the terms. Written by `bench.twin scale`."""

    latency_model: LatencyModel
    """From counts to time."""
    prompt_tokens: tuple[int, ...]
    """Lengths of the benchmark's prompts, BOS included."""
    core_cycles: Mapping[str, float]
    """Cycles of the core for one of each term."""
    memory_ns: Mapping[str, float]
    """Nanoseconds of waiting for DRAM, for one of each term."""
    peak_bytes: Mapping[str, float]
    """Bytes of peak memory for one of each term."""
    source: CostSource
    """Origin of the coefficients."""
    threads: ThreadCosts | None = None
    """None where only one thread is modelled."""


@dataclass(frozen=True)
class Board:
    """One board: all that tinyedge needs to know of it."""

    name: str
    """As in `--target` and in a manifest's field `target`."""
    title: str
    """Name for people."""
    processor: Processor
    """Its processor."""
    budgets: Budgets
    """What a bundle for it promises."""
    debian: Mapping[str, str]
    """Debian suites that the board runs, each with its version of Python."""
    wheels: WheelTags
    """Wheels that it can install."""
    bad_packages: tuple[BadPackage, ...] = ()
    """Package versions that are known not to run."""
    memory: Memory | None = None
    """None where it varies: for a class of machines, and for a board that is sold with several sizes."""
    device_tree: str | None = None
    """How the model in its device tree begins. None: with the title; or it is a class of machines."""
    storage: Storage | None = None
    """None where no figures are known."""
    emulation: Emulation | None = None
    """None where no emulation is known."""
    cost_model: CostData | None = field(default=None, repr=False)
    """None where no cost formula was fitted."""
    notes: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Reasons and sources of the figures, by field; JSON has no comments."""

    @property
    def pythons(self) -> tuple[str, ...]:
        """Versions of Python, such as "3.11"; one for each Debian suite."""
        return tuple(self.debian.values())

    @property
    def wheel_platform(self) -> WheelPlatform:
        """The board as a package installer sees it."""
        machine = self.processor.machine
        return WheelPlatform(machine, self.pythons, self.wheels.platforms(machine))


def _glibc_minor(version: str) -> int:
    return int(version.partition(".")[2])
