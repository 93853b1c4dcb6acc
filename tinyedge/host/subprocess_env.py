"""Child processes of tinyedge: they import this very tinyedge, installed or not, and end with their parent.

Standard library only.
"""

import ctypes
import os
import signal
import sys
from pathlib import Path

PACKAGE_ROOT = Path(__file__).parents[2]
PR_SET_PDEATHSIG = 1  # linux/prctl.h


def make_environment() -> dict[str, str]:
    """Copy this process's environment, with the folder of this tinyedge first in PYTHONPATH."""
    paths = [str(PACKAGE_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def die_with_parent() -> None:
    """Have the kernel kill this child when its parent dies, even inside C++ code. Call it in the child.

    Does nothing if the system is not Linux: a child then ends when its pipe closes or its work is done.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
