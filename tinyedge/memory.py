"""What this process takes of the machine's memory, as the kernel counts it."""

from pathlib import Path

from tinyedge.errors import BenchError

_NAMES = {"VmRSS": "rss", "VmHWM": "peak", "VmSwap": "swap"}


def read_memory(status: Path = Path("/proc/self/status")) -> dict[str, int]:
    """This process's memory in bytes: rss now, peak (VmHWM) since it began, swap now.

    Raises BenchError where the kernel does not say.
    """
    memory = {}
    for line in status.read_text().splitlines():
        key, _, value = line.partition(":")
        if key in _NAMES:
            memory[_NAMES[key]] = int(value.split()[0]) * 1024
    if len(memory) < len(_NAMES):
        raise BenchError(
            f"{status} lacks one of {', '.join(_NAMES)}", "measure on a Linux kernel that reports them"
        )
    return memory
