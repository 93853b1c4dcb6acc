"""Costs of several threads, fitted to networks that were timed on a board with one thread and with four.

In: the published times, and what the networks do, counted with `team.c`. Out: `ThreadCosts` and their errors.
Does not count.

The time of one thread is taken as published, so the errors are those of the threads alone. Counts tell how it
is divided.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.twin.counts import Figures, memory_ns, modelled_ms
from bench.twin.layout import TwinError
from tinyedge.boards.board import LatencyModel
from tinyedge.boards.latency import Region, ThreadCosts
from tinyedge.core import files

SCHEMA: Final = "tinyedge.thread-pairs/1"
PAIRS: Final = Path(__file__).parent / "pairs.json"
SHARED_STEPS: Final = tuple(number / 50 for number in range(151))  # shared_memory: 0 to 3


@dataclass(frozen=True)
class ThreadPair:
    """A network that was timed with one thread and with several."""

    network: str
    """Its name in benchncnn."""
    one_ms: float
    """Published time with one thread."""
    several_ms: float
    """Published time with several."""
    regions: tuple[Region, ...]
    """Its work with several threads. They wait less: what one loads, the others find in the cache."""

    @classmethod
    def from_row(cls, row: Mapping[str, Any], latency: LatencyModel) -> "ThreadPair":
        """Scale a counted network to its published time.

        Args:
            row: A row of `pairs.json`: its times; counts of one thread, `alone`; and of several: what is
                `serial`, what is `divided`, and the part of that which the `busiest` thread does.
            latency: The board's time of one thread, from counts.
        """
        counted = [Figures(**row[part]) for part in ("alone", "serial", "divided", "busiest")]
        alone, serial, divided, busiest = (modelled_ms(figures, latency) for figures in counted)
        scale = row["one_ms"] / alone
        waiting = scale * memory_ns(counted[2], latency) / 1e6
        shared = Region(scale * divided, waiting, divided / busiest, row["forks"])
        return cls(row["network"], row["one_ms"], row["several_ms"], (Region(scale * serial), shared))

    def error(self, costs: ThreadCosts) -> float:
        """Relative error of the modelled time with several threads."""
        return costs.milliseconds(self.regions) / self.several_ms - 1


def read_pairs(latency: LatencyModel, path: Path = PAIRS) -> list[ThreadPair]:
    """Read the counted networks; `latency` as in `ThreadPair.from_row`."""
    rows = files.read_json(path, SCHEMA, TwinError)["networks"]
    return [ThreadPair.from_row(row, latency) for row in rows]


def fit(pairs: Sequence[ThreadPair], steps: Sequence[float] = SHARED_STEPS) -> ThreadCosts:
    """Find the costs with the least sum of squared relative errors.

    Args:
        pairs: The networks.
        steps: Values of `shared_memory` to try; a single one keeps it.
    """
    return min(
        (_fit_forks(pairs, step) for step in steps),
        key=lambda costs: sum(pair.error(costs) ** 2 for pair in pairs),
    )


def _fit_forks(pairs: Sequence[ThreadPair], shared_memory: float) -> ThreadCosts:
    """The best cost of a fork: the error is linear in it."""
    free = ThreadCosts(shared_memory, 0.0, 0.0)
    slopes = [pair.error(ThreadCosts(shared_memory, 1.0, 0.0)) - pair.error(free) for pair in pairs]
    squares = sum(slope**2 for slope in slopes)
    best = -sum(slope * pair.error(free) for slope, pair in zip(slopes, pairs, strict=True))
    return ThreadCosts(shared_memory, max(0.0, best / squares) if squares else 0.0, 0.0)


def leave_one_out(pairs: Sequence[ThreadPair], steps: Sequence[float] = SHARED_STEPS) -> dict[str, float]:
    """Error of each network, by costs that were fitted to all others, in percent."""
    return {
        pair.network: 100 * pair.error(fit([other for other in pairs if other is not pair], steps))
        for pair in pairs
    }


def summarize(errors: Mapping[str, float]) -> tuple[float, float, str]:
    """Mean and largest of the absolute errors, and the network with the largest."""
    worst = max(errors, key=lambda network: abs(errors[network]))
    return statistics.fmean(map(abs, errors.values())), abs(errors[worst]), worst
