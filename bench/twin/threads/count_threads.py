"""Counts of programs whose threads `team.c` plays: what one thread does alone, and what several divide.

In: a counted run. Out: `SharedCounts`, and `pairs.json` with those of all programs. Knows no published times.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from bench.twin.counts import Counts, Figures
from bench.twin.layout import SOURCES, Twin, TwinError
from bench.twin.published.count import count_program, read_versions, save
from bench.twin.published.programs import Program

SCHEMA: Final = "tinyedge.thread-pairs/2"
PAIRS: Final = Path(__file__).with_name("pairs.json")


@dataclass(frozen=True)
class SharedCounts:
    """A unit of work of a program with several threads."""

    serial: Figures
    """What one thread does while the others wait."""
    divided: Figures
    """What all threads do in regions that they divide."""
    busiest: Figures
    """The part of it that is done by the busiest thread of each region."""
    forks: int
    """Number of regions."""

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> "SharedCounts":
        """From a row of `pairs.json`."""
        parts = {name: Figures(**row[name]) for name in ("serial", "divided", "busiest")}
        return cls(**parts, forks=row["forks"])

    def to_row(self) -> dict[str, Any]:
        """A row of `pairs.json`."""
        return {
            **{name: asdict(getattr(self, name)) for name in ("serial", "divided", "busiest")},
            "forks": self.forks,
        }


def share(program: Program, counts: Counts) -> SharedCounts:
    """What threads do alone and together in a unit of work.

    The busiest thread of a region is the one with the longest modelled time.

    Raises:
        TwinError: If the program has no regions there.
    """
    first, last = counts.marks[1], counts.marks[-1]
    begins = range(int(first.instructions), int(last.instructions))
    regions = [one for one in counts.regions if one.begin.instructions in begins]
    if not regions:
        raise TwinError(f"{program.name} divides nothing among its threads")
    return SharedCounts(
        serial=program.cut(counts) - add(one.cores[0] for one in regions),
        divided=add(core for one in regions for core in one.cores),
        busiest=add(max(one.cores, key=lambda core: core.modelled_ms) for one in regions),
        forks=len(regions),
    )


def add(figures: Iterable[Figures]) -> Figures:
    """The sum."""
    return sum(figures, Figures())


def count_pairs(twin: Twin, programs: Sequence[Program], threads: int, path: Path = PAIRS) -> None:
    """Count programs with several threads, print what they divide, and keep it.

    Args:
        twin: A twin with its plugin.
        programs: What to count.
        threads: Threads, each on a core of its own.
        path: File to add them to.

    Raises:
        TwinError: If a program fails, or divides nothing.
    """
    team = hashlib.sha256((SOURCES / "threads" / "team.c").read_bytes()).hexdigest()
    versions = {**read_versions(twin), "team": team}
    for program in programs:
        shared = share(program, count_program(twin, program, threads))
        serial, divided, busiest = (
            part.modelled_ms for part in (shared.serial, shared.divided, shared.busiest)
        )
        print(
            f"{program.name:40} modelled ms: alone {serial:.2f}, divided {divided:.2f},"
            f" busiest thread {busiest:.2f}; {shared.forks} regions",
            flush=True,
        )
        save(path, SCHEMA, {program.name: shared.to_row()}, versions, threads)
