"""Memory of this process.

In: /proc/self on Linux, psutil and getrusage elsewhere. Out: bytes. Imported by the measured worker of
`tinyedge bench`, so psutil is loaded only where /proc does not exist.
"""

import sys
from pathlib import Path

from tinyedge.core.errors import BenchError
from tinyedge.host.procfs import has_kernel_files, read_fields, read_number, read_text

STATUS = Path("/proc/self/status")
SMAPS_ROLLUP = Path("/proc/self/smaps_rollup")
_NAMES = {"VmRSS": "rss", "VmHWM": "peak", "VmSwap": "swap"}


def read_memory(status: Path = STATUS) -> dict[str, int]:
    """Read this process's memory.

    On Linux the peak is VmHWM, not getrusage's ru_maxrss: the kernel keeps ru_maxrss across an exec, so a new
    child of a large parent reports the size of its parent.

    Returns:
        Bytes: `rss` now, `peak` since the process started, and `swap` now. `swap` is missing where the system
        does not report it for a process (macOS).

    Raises:
        BenchError: A Linux kernel does not report all three.
    """
    if status == STATUS and not has_kernel_files():
        return _read_memory_elsewhere()
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


def read_pss(rollup: Path = SMAPS_ROLLUP) -> int | None:
    """Read this process's proportional set size in bytes: a page shared by n processes counts 1/n.

    The kernel walks all page tables for it, so call it a few times per run, not for every sample.

    Returns:
        Bytes, or None where the kernel does not report it.
    """
    kilobytes = read_number(read_fields(read_text(rollup)).get("Pss"))
    return None if kilobytes is None else kilobytes * 1024


def _read_memory_elsewhere() -> dict[str, int]:
    import resource

    import psutil

    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss: bytes on macOS, KiB on the BSDs
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return {"rss": psutil.Process().memory_info().rss, "peak": peak}
