"""What this process takes of the machine's memory, as the kernel counts it."""

from pathlib import Path

from tinyedge.core.errors import BenchError
from tinyedge.host.procfs import read_fields, read_number, read_text

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


def read_pss(rollup: Path = Path("/proc/self/smaps_rollup")) -> int | None:
    """Bytes of this process's memory, each shared page divided by those who share it; None where not told.

    The kernel walks all page tables for it: a thing for a few moments of a run, not for each sample.
    """
    kilobytes = read_number(read_fields(read_text(rollup)).get("Pss"))
    return None if kilobytes is None else kilobytes * 1024
