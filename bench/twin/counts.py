"""What the counting plugin says, and what it would take on the board.

The times are modelled: nothing here has a clock. 1.39 ns for an instruction and 42.5 ns for a line from DRAM
are fitted to published single-thread times of eleven networks on a Raspberry Pi Zero 2 W. Of those the model
is 10 % off on average, at worst 28 % below and 25 % above, so that it is quoted as +-30 %; MARGIN times the
model covers all eleven and is what a gate takes. Not in the model: what the kernel does, the instruction
cache, write-backs, the TLB, throttling, the SD card, and cores that share the memory's bandwidth.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bench.twin.layout import TwinError

NS_PER_INSTRUCTION = 1.39
NS_PER_FILL = 42.5
MARGIN = 1.4
ERROR_PERCENT = 30


@dataclass(frozen=True)
class Figures:
    """Since the program began, or between two moments. fills: lines of 64 bytes that came from DRAM."""

    instructions: float
    accesses: float
    l1_misses: float
    fills: float

    def __add__(self, other: "Figures") -> "Figures":
        return Figures(
            self.instructions + other.instructions, self.accesses + other.accesses,
            self.l1_misses + other.l1_misses, self.fills + other.fills,
        )  # fmt: skip

    def __sub__(self, other: "Figures") -> "Figures":
        return Figures(
            self.instructions - other.instructions, self.accesses - other.accesses,
            self.l1_misses - other.l1_misses, self.fills - other.fills,
        )  # fmt: skip

    def __truediv__(self, count: int) -> "Figures":
        return Figures(
            self.instructions / count, self.accesses / count, self.l1_misses / count, self.fills / count
        )

    @property
    def modelled_ms(self) -> float:
        """On the board, one thread, +-30 %."""
        return (NS_PER_INSTRUCTION * self.instructions + NS_PER_FILL * self.fills) / 1e6


@dataclass(frozen=True)
class Block:
    """A piece of code without jumps. file, offset: what it was mapped from, and where in it."""

    file: str
    offset: int
    instructions: int


@dataclass(frozen=True)
class Counts:
    """A counted run.

    sockets, threads: how many it opened and started. marks: at each getsid(). shown: at each write to
    standard output. blocks: the dearest first, if asked for.
    """

    total: Figures
    sockets: int
    threads: int
    marks: tuple[Figures, ...]
    shown: tuple[Figures, ...]
    blocks: tuple[Block, ...]

    @property
    def steps(self) -> tuple[Figures, ...]:
        """From each mark to the next, without what the marks themselves cost.

        The first two marks of a script stand together, and what is between them is a mark's cost.
        """
        if len(self.marks) < 2:
            raise TwinError("the script called os.getsid(0) less than twice, so it marked nothing")
        empty = self.marks[1] - self.marks[0]
        return tuple(
            after - before - empty for before, after in zip(self.marks[1:], self.marks[2:], strict=False)
        )


def parse_counts(text: str) -> Counts:
    """Reads the plugin's output. Raises TwinError where it has no end: the program was killed by a signal."""
    figures: dict[str, list[Figures]] = {"mark": [], "shown": [], "socket": [], "thread": [], "total": []}
    mappings, blocks = [], []
    for line in text.splitlines():
        kind, *values = line.split()
        if kind in figures:
            figures[kind].append(Figures(*map(int, values)))
        elif kind == "map":
            low, high = (int(end, 16) for end in values[0].split("-"))
            mappings.append((low, high, int(values[2], 16), values[5] if len(values) > 5 else "?"))
        elif kind == "block":
            address, cost = int(values[0], 16), int(values[1])
            found = (
                Block(file, address - low + at, cost)
                for low, high, at, file in mappings
                if low <= address < high
            )
            blocks.append(next(found, Block("?", address, cost)))
    if not figures["total"]:
        raise TwinError(
            "the counted program did not come to its end",
            "`python -m bench.twin python` runs it and shows why",
        )
    blocks.sort(key=lambda block: -block.instructions)
    return Counts(
        figures["total"][-1], len(figures["socket"]), len(figures["thread"]),
        tuple(figures["mark"]), tuple(figures["shown"]), tuple(blocks),
    )  # fmt: skip


def by_file(blocks: Sequence[Block]) -> dict[str, int]:
    """Instructions of each file, the dearest first."""
    sums: dict[str, int] = {}
    for block in blocks:
        sums[block.file] = sums.get(block.file, 0) + block.instructions
    return dict(sorted(sums.items(), key=lambda item: -item[1]))


def percentile(values: Sequence[float], percent: float) -> float:
    """The nearest rank: the smallest value that `percent` % of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]
