"""Output of the counting plugin, and the time that the board would need.

Times are modelled from counts, by the latency model of the board's file: nothing here reads a clock.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass

from bench.twin.layout import LATENCY, TwinError
from tinyedge.boards.board import LatencyModel


@dataclass(frozen=True)
class Figures:
    """Counts since the program began, or between two moments; the fields are the plugin's columns."""

    instructions: float = 0
    """Executed instructions."""
    pipeline_cycles: float = 0
    """Cycles of the core's pipeline, if every access hit the first cache."""
    mispredictions: float = 0
    """Branches that went the other way than predicted."""
    l1_misses: float = 0
    """Accesses that the second cache answered."""
    fetch_misses: float = 0
    """Lines of code that the second cache had."""
    streamed_lines: float = 0
    """Lines of 64 bytes from DRAM that follow others, so that the core has asked for them before."""
    crowded_lines: float = 0
    """The same, beside more others than the core follows at a time."""
    random_lines: float = 0
    """Other lines from DRAM, code among them."""
    written_lines: float = 0
    """Lines that were changed and went back to DRAM."""

    def __add__(self, other: "Figures") -> "Figures":
        return Figures(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    def __sub__(self, other: "Figures") -> "Figures":
        return Figures(*(a - b for a, b in zip(astuple(self), astuple(other), strict=True)))

    def __truediv__(self, count: int) -> "Figures":
        return Figures(*(value / count for value in astuple(self)))

    @property
    def dram_lines(self) -> float:
        """Lines of 64 bytes that the core waited for."""
        return self.streamed_lines + self.crowded_lines + self.random_lines

    @property
    def modelled_ms(self) -> float:
        """Time on the board in ms, one thread, as exact as the latency model."""
        return modelled_ms(self, LATENCY)


def core_cycles(figures: Figures, latency: LatencyModel) -> float:
    """Cycles in which the core does not wait for DRAM."""
    return latency.core.cycles(figures.pipeline_cycles, figures.mispredictions, figures.l1_misses)


def memory_ns(figures: Figures, latency: LatencyModel) -> float:
    """Nanoseconds of waiting for DRAM."""
    return latency.memory_ns(
        figures.streamed_lines, figures.crowded_lines, figures.random_lines, figures.written_lines
    )


def modelled_ms(figures: Figures, latency: LatencyModel) -> float:
    """Time of one thread in ms by a latency model."""
    return latency.milliseconds(core_cycles(figures, latency), memory_ns(figures, latency))


@dataclass(frozen=True)
class Block:
    """A piece of code without jumps."""

    file: str
    """File that it was mapped from; "?" if unknown."""
    offset: int
    """Where it starts in that file, in bytes."""
    figures: Figures
    """What it costs."""


@dataclass(frozen=True)
class ParallelRegion:
    """Work that several cores do side by side, played one after the other."""

    begin: Figures
    """Counts of core 0 when it begins."""
    cores: tuple[Figures, ...]
    """What each core does in it."""


@dataclass(frozen=True)
class Counts:
    """A counted run."""

    total: Figures
    """The complete run, all cores together."""
    sockets: int
    """Number of network sockets that were opened."""
    threads: int
    """Number of threads that were started."""
    marks: tuple[Figures, ...]
    """Counts of core 0 at each os.getsid(0)."""
    shown: tuple[Figures, ...]
    """Counts at each write to standard output."""
    blocks: tuple[Block, ...]
    """The most expensive first; empty unless requested."""
    regions: tuple[ParallelRegion, ...] = ()
    """What several cores did; empty unless threads/team.c played them."""

    @property
    def steps(self) -> tuple[Figures, ...]:
        """Costs from each mark to the next, without the cost of the marks themselves.

        The first two marks of a script have nothing in between: their difference is the cost of a mark.

        Raises:
            TwinError: If there are no two marks.
        """
        if len(self.marks) < 2:
            raise TwinError("the script called os.getsid(0) less than twice, so it marked nothing")
        empty = self.marks[1] - self.marks[0]
        return tuple(
            after - before - empty for before, after in zip(self.marks[1:], self.marks[2:], strict=False)
        )


def parse_counts(text: str) -> Counts:
    """Parse the plugin's output.

    Raises:
        TwinError: If the total is missing, because a signal killed the program.
    """
    figures: dict[str, list[Figures]] = {"mark": [], "shown": [], "socket": [], "thread": [], "total": []}
    mappings: list[tuple[int, int, int, str]] = []
    blocks: list[Block] = []
    regions: list[tuple[Figures, dict[int, Figures]]] = []
    for line in text.splitlines():
        kind, *values = line.split()
        if kind in figures:
            figures[kind].append(Figures(*map(int, values[1:])))
        elif kind == "begin":
            regions.append((Figures(*map(int, values[1:])), {}))
        elif kind == "end":
            regions[-1][1][int(values[0], 16)] = Figures(*map(int, values[1:]))
        elif kind == "map":
            low, high = (int(end, 16) for end in values[0].split("-"))
            mappings.append((low, high, int(values[2], 16), values[5] if len(values) > 5 else "?"))
        elif kind == "block":
            address, costs = int(values[0], 16), Figures(*map(int, values[1:]))
            located = (
                Block(file, address - low + offset, costs)
                for low, high, offset, file in mappings
                if low <= address < high
            )
            blocks.append(next(located, Block("?", address, costs)))
    if not figures["total"]:
        raise TwinError(
            "the counted program did not run to its end",
            "run it with `python -m bench.twin python` to see why",
        )
    blocks.sort(key=lambda block: -block.figures.instructions)
    return Counts(
        sum(figures["total"], Figures()), len(figures["socket"]), len(figures["thread"]),
        tuple(figures["mark"]), tuple(figures["shown"]), tuple(blocks), tuple(_find_regions(regions)),
    )  # fmt: skip


def _find_regions(counted: Iterable[tuple[Figures, Mapping[int, Figures]]]) -> Iterator[ParallelRegion]:
    """Regions from the counts of core 0 when each begins, and those of all cores when it ends."""
    before: dict[int, Figures] = {}
    for begin, ends in counted:
        before[0] = begin
        cores = (end - before.get(core, Figures()) for core, end in ends.items())
        yield ParallelRegion(begin, tuple(done for done in cores if done.instructions))
        before |= ends


def sum_by_file(blocks: Sequence[Block]) -> dict[str, float]:
    """Instructions of each file, the most expensive first."""
    sums: dict[str, float] = {}
    for block in blocks:
        sums[block.file] = sums.get(block.file, 0) + block.figures.instructions
    return dict(sorted(sums.items(), key=lambda item: -item[1]))


def percentile(values: Sequence[float], percent: float) -> float:
    """Nearest rank: the smallest value that at least `percent`% of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]
