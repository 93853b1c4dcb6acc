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
_NAMES = {"rss": "VmRSS", "peak": "VmHWM", "swap": "VmSwap"}


def read_memory(status: Path = STATUS) -> dict[str, int]:
    """Read this process's memory.

    On Linux the peak is VmHWM, not getrusage's ru_maxrss: the kernel keeps ru_maxrss across an exec, so a new
    child of a large parent reports the size of its parent.

    Returns:
        Bytes: `rss` now, `peak` since the process started, and `swap` now. `swap` is missing where the system
        does not report it for a process (macOS).

    Raises:
        BenchError: A Linux kernel does not report all three, or another system not both of the others.
    """
    if status == STATUS and not has_kernel_files():
        return _read_memory_elsewhere()
    fields = read_fields(read_text(status))
    kilobytes = {name: read_number(fields.get(key)) for name, key in _NAMES.items()}
    memory = {name: value * 1024 for name, value in kilobytes.items() if value is not None}
    if len(memory) < len(_NAMES):
        raise BenchError(
            f"{status} lacks one of {', '.join(_NAMES.values())}",
            "measure on a Linux kernel that reports them",
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

    from tinyedge.host.psutil_readings import READING_ERRORS, is_reading

    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss: bytes on macOS, KiB on the BSDs
    try:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
        rss = psutil.Process().memory_info().rss
    except READING_ERRORS as failure:
        reason = str(failure) or type(failure).__name__
        raise BenchError(f"the system does not report this process's memory: {reason}") from None
    if not is_reading(rss):
        raise BenchError("the system does not report this process's memory")
    return {"rss": rss, "peak": peak}
