"""The file of published measurements.

In: `measurements.json`, which `collect` writes. Out: `Measurement`s and `Source`s.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.twin.layout import TwinError
from tinyedge.core import files

SCHEMA: Final = "tinyedge.published-measurements/1"
MEASUREMENTS: Final = Path(__file__).with_name("measurements.json")


@dataclass(frozen=True)
class Source:
    """Where measurements were published."""

    address: str
    """Repository, and the file in it."""
    commit: str
    """Commit that was read."""
    date: str
    """When it was published or run, YYYY-MM-DD or less; empty if the source does not tell."""
    note: str
    """Software, system and protocol, as far as the source tells."""


@dataclass(frozen=True)
class Measurement:
    """One published figure."""

    name: str
    """Unique: board, program, threads, clock."""
    program: str
    """Name of the program in `programs` that does the same work."""
    work: str
    """Unit of work: "run" of a network, "byte", or "read"."""
    board: str
    """Board that was measured: a name, or "cortex-a53" where the source names the core only."""
    clock_mhz: float | None
    """Clock during the measurement; None if the figure does not depend on it."""
    threads: int
    """Threads that shared the work."""
    value: float
    """The figure as published."""
    minimum: float | None
    """The smallest of the runs whose mean `value` is, if published: some means contain an interrupted run."""
    unit: str
    """Its unit: ms, ns, MB/s (10^6 bytes), KiB/s, kB/s (10^3 bytes) or cycles/byte."""
    ns: float | None
    """Time for a unit of work, in ns; lower is better. None if the source gives cycles."""
    cycles: float | None
    """Cycles for a unit of work; None if the source gives a time."""
    source: str
    """Key of its source."""
    comparable: bool
    """Whether the program that is counted does the same work with the same kind of instructions."""
    reason: str
    """Why it is comparable or not."""


def load_measurements(path: Path = MEASUREMENTS) -> tuple[dict[str, Source], tuple[Measurement, ...]]:
    """Load the file.

    Returns:
        The sources by key, and the measurements.

    Raises:
        TwinError: If the file is damaged.
    """
    data = files.read_json(path, SCHEMA, TwinError)
    sources: Mapping[str, Mapping[str, str]] = data["sources"]
    return (
        {key: Source(**source) for key, source in sources.items()},
        tuple(Measurement(**measurement) for measurement in data["measurements"]),
    )
