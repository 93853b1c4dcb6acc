"""CPU cores that this process may use.

The measured worker of `tinyedge bench` imports this module, so it stays apart from the larger `cpu`.
"""

import os


def count_usable_cores() -> int:
    """Count the cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # macOS has no affinity
