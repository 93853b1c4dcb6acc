"""Networks that were timed on a board with one thread and with several, and what they do.

In: published times, counts with one thread and with several. Out: `ThreadPair`s. Fits nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from bench.twin.counts import Figures, modelled_ms
from bench.twin.layout import LATENCY, TwinError
from bench.twin.published.count import COUNTS
from bench.twin.published.count import SCHEMA as COUNTS_SCHEMA
from bench.twin.published.measurements import load_measurements
from bench.twin.threads.count_threads import PAIRS, SCHEMA, SharedCounts
from tinyedge.boards.board import LatencyModel
from tinyedge.boards.latency import Region, ThreadCosts
from tinyedge.core import files

THREADS: Final = 4
COMMANDS: Final = "run `python -m bench.twin published --only ncnn-20220216/`, and again with `--threads 4`"
SOURCES: Final = {1000: "ncnn-zero-2w-2022", 1400: "ncnn-3b-plus-2022"}  # by the clock in MHz


@dataclass(frozen=True)
class ThreadPair:
    """A network that was timed with one thread and with several."""

    network: str
    """Its name in benchncnn."""
    one_ms: float
    """Published time with one thread."""
    several_ms: float
    """Published time with several."""
    alone_ms: float
    """Modelled time with one thread."""
    regions: tuple[Region, ...]
    """Its work with several threads, as modelled."""

    @classmethod
    def from_counts(
        cls,
        network: str,
        published: Mapping[int, float],
        alone: Figures,
        shared: SharedCounts,
        latency: LatencyModel,
    ) -> "ThreadPair":
        """Model the work of a network.

        Args:
            network: Its name.
            published: Times in ms, by number of threads.
            alone: Counts with one thread.
            shared: Counts with several.
            latency: From counts to time.
        """
        serial, divided, busiest = (
            modelled_ms(part, latency) for part in (shared.serial, shared.divided, shared.busiest)
        )
        lines = shared.divided.dram_lines + shared.divided.written_lines
        regions = Region(serial), Region(divided, lines, divided / busiest, shared.forks)
        return cls(network, published[1], published[THREADS], modelled_ms(alone, latency), regions)

    @property
    def scaled(self) -> tuple[Region, ...]:
        """The regions, if the model of one thread were right: its published time, divided as modelled."""
        factor = self.one_ms / self.alone_ms
        return tuple(replace(region, alone_ms=factor * region.alone_ms) for region in self.regions)

    def error(self, costs: ThreadCosts) -> float:
        """Relative error of the time with several threads, if that with one is known."""
        return costs.milliseconds(self.scaled) / self.several_ms - 1

    def modelled_error(self, costs: ThreadCosts) -> float:
        """The same, if nothing is known but the counts."""
        return costs.milliseconds(self.regions) / self.several_ms - 1


def read_pairs(
    latency: LatencyModel = LATENCY, counts: Path = COUNTS, pairs: Path = PAIRS
) -> list[ThreadPair]:
    """Read the counted networks that were timed on the board with the clock of `latency`.

    Args:
        latency: From counts to time.
        counts: Counts with one thread.
        pairs: Counts with several.

    Raises:
        TwinError: If no network is counted, or counts are of different versions.
    """
    alone, shared = (
        files.read_json(counts, COUNTS_SCHEMA, TwinError),
        files.read_json(pairs, SCHEMA, TwinError),
    )
    if alone["versions"].items() - shared["versions"].items():
        raise TwinError("counts with one thread and with several are of different versions", COMMANDS)
    source = SOURCES[round(latency.clock_mhz)]
    times: dict[str, dict[int, float]] = {}
    for measurement in load_measurements()[1]:
        if measurement.source == source:
            # The smallest of the runs: some means contain one that something interrupted.
            shortest = measurement.minimum or measurement.value
            times.setdefault(measurement.program, {})[measurement.threads] = shortest
    ones, several = alone["counts"].get("1", {}), shared["counts"].get(str(THREADS), {})
    if not any(program in ones and program in several for program in times):
        raise TwinError(f"no network is counted with one and {THREADS} threads", COMMANDS)
    return [
        ThreadPair.from_counts(
            program.partition("/")[2],
            published,
            Figures(**ones[program]),
            SharedCounts.from_row(several[program]),
            latency,
        )
        for program, published in times.items()
        if program in ones and program in several
    ]
