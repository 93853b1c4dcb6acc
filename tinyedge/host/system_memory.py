"""RAM and swap of the machine, and whether the kernel can limit a service's memory.

In: /proc and /sys or a recorded copy, and psutil. Out: bytes.
"""

import warnings
from dataclasses import dataclass
from pathlib import Path

from tinyedge.host.procfs import ROOT, has_kernel_files, read_fields, read_number, read_text


@dataclass(frozen=True)
class SwapArea:
    """A file, a partition or a zram device that memory is swapped out to."""

    name: str
    """Its path, such as /dev/zram0; "swap" where the system reports only a total."""
    size: int
    """Bytes."""
    used: int
    """Bytes."""


@dataclass(frozen=True)
class SystemMemory:
    """RAM of the machine."""

    total: int
    """Bytes that the kernel manages."""
    available: int
    """Bytes that new programs can get without swapping."""


def read_system_memory() -> SystemMemory | None:
    """Read total and available RAM with psutil, which needs 0.4 MB: for commands that run once.

    A recorded copy of /proc is read through `psutil.PROCFS_PATH`.

    Returns:
        None if the system does not report it.
    """
    import psutil

    from tinyedge.host.psutil_readings import READING_ERRORS, is_reading

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # about counters that are not used here
            memory = psutil.virtual_memory()
    except (*READING_ERRORS, LookupError, ValueError):  # also /proc/meminfo without the expected lines
        return None
    if not (is_reading(memory.total) and is_reading(memory.available)):
        return None
    return SystemMemory(memory.total, memory.available)


def read_total_memory(root: Path = ROOT) -> int | None:
    """Read the RAM of the machine in bytes; without psutil on Linux."""
    if has_kernel_files(root):
        kilobytes = read_number(read_fields(read_text(root / "proc/meminfo")).get("MemTotal"))
        return None if kilobytes is None else kilobytes * 1024
    memory = read_system_memory()
    return None if memory is None else memory.total


def read_swap_areas(root: Path = ROOT) -> tuple[SwapArea, ...]:
    """Read the swap areas in use, zram included; a single area named "swap" where only a total is known."""
    if not has_kernel_files(root):
        return _read_swap_elsewhere()
    rows = [line.split() for line in (read_text(root / "proc/swaps") or "").splitlines()[1:]]
    return tuple(
        SwapArea(row[0], int(row[2]) * 1024, int(row[3]) * 1024)
        for row in rows
        if len(row) > 3 and "".join(row[2:4]).isdigit()
    )


def read_memory_controller(root: Path = ROOT) -> bool | None:
    """Read whether the kernel can limit the memory of a control group, by cgroup v2 or v1.

    Returns:
        None if there are no control groups.
    """
    if not has_kernel_files(root):
        return None
    unified = read_text(root / "sys/fs/cgroup/cgroup.controllers")
    legacy = read_text(root / "proc/cgroups")
    if unified is None and legacy is None:
        return None
    rows = [line.split() for line in (legacy or "").splitlines()]
    return "memory" in (unified or "").split() or any(
        row[0] == "memory" and row[-1] == "1" for row in rows if row
    )


def _read_swap_elsewhere() -> tuple[SwapArea, ...]:
    import psutil

    from tinyedge.host.psutil_readings import READING_ERRORS, is_reading

    try:
        swap = psutil.swap_memory()
    except READING_ERRORS:
        return ()
    is_known = is_reading(swap.total) and is_reading(swap.used)
    return (SwapArea("swap", swap.total, swap.used),) if is_known and swap.total else ()
