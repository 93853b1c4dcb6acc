"""Description of the machine. A property that cannot be read is None, never an error.

In: /proc and /sys or a recorded copy, psutil elsewhere. Out: a Device. Does not import the libraries whose
versions it reports.
"""

import importlib.metadata
import platform
from dataclasses import dataclass
from pathlib import Path

from tinyedge.host.cpu import count_cores, read_cpu_name, read_cpuinfo, read_features
from tinyedge.host.procfs import ROOT, has_kernel_files, read_fields, read_text
from tinyedge.host.sensors import CPUS, read_mhz, read_temperature
from tinyedge.host.system_memory import (
    SwapArea,
    read_memory_controller,
    read_swap_areas,
    read_total_memory,
)
from tinyedge.host.throttling import read_throttling_bits


@dataclass(frozen=True)
class Device:
    """A machine."""

    model: str | None
    """Name of the board, from the device tree."""
    machine: str | None
    """Architecture, as `uname -m` prints it."""
    cpu: str | None
    """Name of the CPU."""
    cores: int | None
    """Number of logical cores."""
    features: tuple[str, ...]
    """Instruction-set extensions, those of `cpu.FEATURES`."""
    governor: str | None
    """Frequency governor of core 0."""
    freq: float | None
    """MHz of the fastest core at the time of reading."""
    temp: float | None
    """Degrees Celsius of the hottest zone."""
    throttled: str | None
    """Throttling bits of the firmware in hexadecimal: 0-3 are set now, 16-19 since boot."""
    ram: int | None
    """Bytes."""
    kernel: str | None
    """Release of the kernel."""
    python: str
    """Version of Python."""
    onnxruntime: str | None
    """Version of the installed onnxruntime."""
    memory_controller: bool | None = None
    """Whether the kernel can enforce a service's MemoryMax=."""
    swap: tuple[SwapArea, ...] = ()
    """Swap areas in use, zram included."""


def describe_machine(root: Path = ROOT, vcgencmd: str = "vcgencmd") -> Device:
    """Describe this machine, or one that was recorded.

    Args:
        root: Folder that holds the machine's `proc` and `sys`, or a recorded copy of them.
        vcgencmd: The program that reports the throttling bits.
    """
    bits = read_throttling_bits(vcgencmd)
    return Device(
        model=_read_model(root),
        machine=platform.machine() or None,
        cpu=read_cpu_name(root),
        cores=count_cores(root),
        features=read_features(root),
        governor=read_text(root / CPUS / "cpu0/cpufreq/scaling_governor"),
        freq=read_mhz(root),
        temp=read_temperature(root),
        throttled=None if bits is None else hex(bits),
        ram=read_total_memory(root),
        kernel=_read_kernel(root),
        python=platform.python_version(),
        onnxruntime=_installed_version("onnxruntime"),
        memory_controller=read_memory_controller(root),
        swap=read_swap_areas(root),
    )


def _read_model(root: Path) -> str | None:
    if not has_kernel_files(root):
        return None
    return read_text(root / "proc/device-tree/model") or read_fields(read_cpuinfo(root)).get("Model")


def _read_kernel(root: Path) -> str | None:
    if not has_kernel_files(root):
        return f"{platform.system()} {platform.release()}"
    return read_text(root / "proc/sys/kernel/osrelease")


def _installed_version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
