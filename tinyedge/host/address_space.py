"""The limit of this process's address space (`ulimit -v`). Imported only once memory is short.

In: /proc/self/limits. Out: the limit. Does not know any command.
"""

from pathlib import Path

LIMITS_FILE = Path("/proc/self/limits")


def read_limit() -> int:
    """Return the limit in bytes, or 0 if there is none."""
    try:
        lines = LIMITS_FILE.read_text("ascii").splitlines()
    except OSError:  # the system is not Linux
        return 0
    words = next((line.split() for line in lines if line.startswith("Max address space")), [])
    return int(words[3]) if words[3:] and words[3].isdecimal() else 0
