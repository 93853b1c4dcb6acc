"""The latency model, fitted to published times of programs on a board, and its errors.

In: published measurements, and what the emulated board counts of the same programs. Out: a `LatencyModel`,
the error of each measurement, and of each by a model fitted without its program. Does not count.

Programs are fitted, and beside them five loops that do nothing but use the memory in one way: without them,
the costs of lines would only be those that suit the programs together. The loops' times at several clocks say
which part of the cost of a line passes with the clock.
"""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.twin.counts import Figures, modelled_ms
from bench.twin.fit_cost_model import nonnegative_least_squares
from bench.twin.layout import TwinError
from bench.twin.published.count import COUNTS
from bench.twin.published.count import SCHEMA as COUNTS_SCHEMA
from bench.twin.published.measurements import Measurement, load_measurements
from tinyedge.boards.board import CoreCosts, LatencyModel, LineCost
from tinyedge.core import files

NETWORKS: Final = "ncnn-20220216/"
LOOPS: Final = "memory/"
ANY_BOARD: Final = "cortex-a53"  # measurements of the core alone, in cycles
BOARD_NAME: Final = "pi-zero-2w"
REFERENCE_MHZ: Final = 1000.0
# Loops of sbc-bench that read, chase and write, at three clocks. A straight line through their times (least
# squares over 1 / clock) splits the cost of a line in cycles and ns.
SPLITS: Final = {
    "streamed_lines": "memory/neon-read-prefetched",
    "random_lines": "memory/random-read-8388608",
    "written_lines": "memory/memset",
}
# At the reference clock; other clocks and loops are predicted.
FITTED_LOOPS: Final = (
    "memory/neon-read-prefetched", "memory/memcpy", "memory/memset",
    "memory/random-read-262144", "memory/random-read-8388608",
)  # fmt: skip
# Half of the crowded lines each, as `LatencyModel.ns_per_crowded_line` has it.
SHARED_BY_CROWDED: Final = ("streamed_lines", "random_lines")
CORE_TERMS: Final = ("pipeline_cycles", "mispredictions", "l1_misses")


@dataclass(frozen=True)
class Point:
    """A published measurement, and what the emulated board counts of a unit of its work."""

    measurement: Measurement
    """As published."""
    figures: Figures
    """Counts of a unit of work."""

    @property
    def clock_mhz(self) -> float:
        """Clock in MHz; for a measurement in cycles, any."""
        return self.measurement.clock_mhz or REFERENCE_MHZ

    @property
    def measured_ms(self) -> float:
        """Time of a unit of work in ms: of the fastest run, where the source tells."""
        found = self.measurement
        if found.cycles is not None:
            return found.cycles * 1e3 / REFERENCE_MHZ / 1e6
        if found.ns is None:
            raise TwinError(f"measurement {found.name} has neither a time nor cycles")
        return found.ns / 1e6 * ((found.minimum or found.value) / found.value if found.unit == "ms" else 1.0)

    def error(self, latency: LatencyModel) -> float:
        """Relative error of the modelled time."""
        return modelled_ms(self.figures, latency.at_clock(self.clock_mhz)) / self.measured_ms - 1


def load_points(board: str = BOARD_NAME, threads: int = 1, counts: Path = COUNTS) -> list[Point]:
    """The measurements of a board and of its core that are comparable and counted.

    Raises:
        TwinError: If a file is missing or damaged.
    """
    counted = files.read_json(counts, COUNTS_SCHEMA, TwinError)["counts"].get(str(threads), {})
    measurements = load_measurements()[1]
    return [
        Point(one, Figures(**counted[one.program]))
        for one in measurements
        if one.program in counted
        and one.threads == threads
        and one.comparable
        and one.board in (board, ANY_BOARD)
    ]


def list_programs(points: Iterable[Point]) -> list[Point]:
    """The points that are programs, not loops over memory."""
    return [point for point in points if not point.measurement.program.startswith(LOOPS)]


def list_fitted_loops(points: Iterable[Point]) -> list[Point]:
    """The loops that are fitted beside the programs."""
    return [
        point
        for point in points
        if point.measurement.program in FITTED_LOOPS and point.clock_mhz == REFERENCE_MHZ
    ]


def split_by_clock(points: Iterable[Point], program: str) -> LineCost:
    """Cycles and ns of a unit of a loop's work, from its times at several clocks, in the same unit."""
    found = [point for point in points if point.measurement.program == program]
    cycles_per_ns = [1000 / point.clock_mhz for point in found]
    times = [point.measured_ms * 1e6 for point in found]
    if len(set(cycles_per_ns)) < 2:
        raise TwinError(f"{program} was not measured at two clocks")
    slope, constant = statistics.linear_regression(cycles_per_ns, times)
    return LineCost(max(slope, 0.0), max(constant, 0.0))


def fit_latency(points: Sequence[Point], splits: Mapping[str, LineCost]) -> LatencyModel:
    """Find the model with the least sum of squared relative errors.

    Args:
        points: Programs and loops.
        splits: For each kind of line, how its cost divides in cycles and ns; only the proportion counts.
    """

    def amounts(point: Point) -> dict[str, float]:
        core = {term: getattr(point.figures, term) * 1000 / point.clock_mhz for term in CORE_TERMS}
        counted = {term: getattr(point.figures, term) for term in splits}
        for term in SHARED_BY_CROWDED:
            counted[term] += point.figures.crowded_lines / len(SHARED_BY_CROWDED)
        lines = {
            term: counted[term] * split.at(point.clock_mhz) / split.at(REFERENCE_MHZ)
            for term, split in splits.items()
        }
        return {**core, **lines}

    found = nonnegative_least_squares(
        [amounts(point) for point in points], [p.measured_ms * 1e6 for p in points]
    )

    def scale(term: str) -> LineCost:
        split = splits[term]
        factor = found[term] / split.at(REFERENCE_MHZ)
        return LineCost(round(split.cycles * factor, 2), round(split.ns * factor, 2))

    return LatencyModel(
        clock_mhz=REFERENCE_MHZ,
        core=CoreCosts(*(round(found[term], 4) for term in CORE_TERMS)),
        streamed_line=scale("streamed_lines"),
        random_line=scale("random_lines"),
        written_line=scale("written_lines"),
        error_percent=1.0,
        margin=1.0,
    )


def leave_one_out(
    programs: Sequence[Point], loops: Sequence[Point], splits: Mapping[str, LineCost]
) -> dict[str, float]:
    """Relative error of each program's measurements by a model that was fitted without any of them."""
    errors: dict[str, float] = {}
    for name in dict.fromkeys(point.measurement.program for point in programs):
        others = [point for point in programs if point.measurement.program != name]
        latency = fit_latency([*others, *loops], splits)
        errors |= {p.measurement.name: p.error(latency) for p in programs if p.measurement.program == name}
    return errors
