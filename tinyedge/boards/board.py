"""A board as typed data: what its JSON file holds.

Does not know files, models, bundles or the network.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from tinyedge.boards.latency import ThreadCosts
from tinyedge.boards.wheel_platform import WheelPlatform


@dataclass(frozen=True)
class Processor:
    """The processor of a board."""

    machine: str
    """Architecture as `uname -m` prints it: aarch64 or x86_64."""
    cores: int | None = None
    """Number of cores; None where it varies, as for a class of machines."""
    features: tuple[str, ...] = ()
    """Features that are present on every such board, as /proc/cpuinfo names them. Others are absent."""

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

    def platforms(self, machine: str) -> tuple[str, ...]:
        """Platform tags, most specific first.

        pip takes `--platform` literally, so each older tag has to be named too.

        Args:
            machine: Architecture, as `uname -m` prints it.
        """
        newest, oldest = (_glibc_minor(version) for version in (self.newest_glibc, self.oldest_glibc))
        numbered = [f"manylinux_2_{minor}" for minor in range(newest, oldest - 1, -1)]
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
    memory_mb: int
    """Memory to boot with, in MB of 2^20 bytes, so that MemTotal is that of the board."""


@dataclass(frozen=True)
class LatencyModel:
    """Modelled time of one thread, from counts of the emulated board.

    Fitted to published single-thread times of networks on the board. Not in the model: the kernel's own work,
    the instruction cache, write-backs, the TLB, throttling, the SD card, and cores that share the memory's
    bandwidth.
    """

    ns_per_instruction: float
    """Nanoseconds for one instruction."""
    ns_per_dram_fill: float
    """Nanoseconds for one line of 64 bytes that is loaded from DRAM."""
    error_percent: float
    """The model is quoted as plus or minus this, in percent."""
    margin: float
    """Factor that covers the largest error seen; a gate compares margin x model with its limit."""

    def milliseconds(self, instructions: float, dram_fills: float) -> float:
        """Modelled time in ms."""
        return (self.ns_per_instruction * instructions + self.ns_per_dram_fill * dram_fills) / 1e6


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
    """From instructions and DRAM fills to time."""
    prompt_tokens: tuple[int, ...]
    """Lengths of the benchmark's prompts, BOS included."""
    instructions: Mapping[str, float]
    """Instructions for one of each term."""
    dram_fills: Mapping[str, float]
    """Lines of 64 bytes from DRAM for one of each term."""
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
    """None where it varies, as for a class of machines."""
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
