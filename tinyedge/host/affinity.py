"""CPU cores that this process may use, and how many of them compute a token.

The measured worker of `tinyedge bench` imports this module, so it stays apart from the larger `cpu`.
"""

import os
from typing import Final

from tinyedge.core.settings import require_range

# For generate, serve, bench and the library. Each token waits several times for all of its threads, and what
# they share is the memory: the latency model (tinyedge/boards/latency.py) tells what a second core gains.
DEFAULT_THREADS: Final = 1


def count_usable_cores() -> int:
    """Count the cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # macOS has no affinity


def default_threads() -> int:
    """Return the number of threads where none is given: the default, or all cores where they are fewer."""
    return min(DEFAULT_THREADS, count_usable_cores())


def require_usable_threads(threads: int) -> None:
    """Raise UsageError, naming the parameter `threads`, unless this process has a core for each of them."""
    require_range("threads", threads, 1, count_usable_cores(), whole=True, unit="(cores of this machine)")
