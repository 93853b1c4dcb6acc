"""Modelled time of work that several cores of one board divide among themselves.

In: stretches of work, each with its time on one core and its lines of memory. Out: ms. Does not know how they
were counted, nor how one core's time follows from counts.

Cores divide the computation of a region, but not the transfer of its lines, which all pass through one
memory, whose speed does not depend on the cores' clock. So of a region's time on one core, the part in which
the memory is busy stays as it is, and the rest is divided. Not in the model: threads that
evict each other's lines from the cache that they share, and cores that run other programs.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Region:
    """Work from one moment at which the threads wait for each other to the next.

    A region with the defaults is one thread's.
    """

    alone_ms: float
    """Time on one core, in ms."""
    lines: float = 0.0
    """Lines of 64 bytes that DRAM transfers for it, read or written."""
    ways: float = 1.0
    """All of its work divided by that of the busiest thread, so at most the number of threads."""
    forks: float = 0.0
    """How often threads are woken for it, and waited for."""


@dataclass(frozen=True)
class ThreadCosts:
    """What several threads cost on a board.

    Fitted to published times of networks with one thread and with four.
    """

    ns_per_shared_line: float
    """Nanoseconds that the memory is busy with a line: cores do not share this time."""
    us_per_fork: float
    """Microseconds to wake the threads, and to wait for the last of them."""
    error_percent: float
    """Largest error of a network's time with four threads, in percent, where the time with one is known."""

    def combine_error(self, error_percent: float) -> float:
        """Error of a time with several threads, in whole percent.

        The two errors are of different origin, so their squares add up.

        Args:
            error_percent: Error of a time with one thread, in percent.
        """
        return float(math.ceil(round(math.hypot(error_percent, self.error_percent), 6)))

    def combine_margin(self, margin: float) -> float:
        """Margin of a time with several threads, in hundredths, if that of one thread is `margin`."""
        return math.ceil(round(100 + math.hypot(100 * (margin - 1), self.error_percent), 6)) / 100

    def milliseconds(self, regions: Iterable[Region]) -> float:
        """Modelled time in ms of regions that follow each other."""
        return sum(map(self._region_ms, regions))

    def _region_ms(self, region: Region) -> float:
        if region.ways <= 1:
            return region.alone_ms
        # A memory that is busy all the time cannot be busier: the region then takes as long as on one core.
        transfer = min(region.alone_ms, region.lines * self.ns_per_shared_line / 1e6)
        divided = (region.alone_ms - transfer) / region.ways
        return transfer + divided + region.forks * self.us_per_fork / 1e3


def format_threads(threads: int) -> str:
    """Format a number of threads for a sentence."""
    return "one thread" if threads == 1 else f"{threads} threads"
