"""Child processes of tinyedge: they find this very tinyedge, installed or not, and end with their parent.

Standard library alone.
"""

import ctypes
import os
import signal
from pathlib import Path

PACKAGE_ROOT = Path(__file__).parents[2]
PR_SET_PDEATHSIG = 1  # linux/prctl.h


def environment() -> dict[str, str]:
    """This process's, with the folder that this tinyedge is in before all others that modules come from."""
    paths = [str(PACKAGE_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def die_with_parent() -> None:
    """In the child: a parent that is killed outright takes it along, out of any C++. Linux only."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
