"""CPU cores and instruction-set extensions.

In: /proc/cpuinfo or a recorded copy. Out: names and numbers.
"""

import os
import platform
import re
from pathlib import Path

from tinyedge.host.procfs import ROOT, has_kernel_files, read_fields, read_text

# The instruction-set extensions that int8 and fp32 matrix kernels are chosen by, weakest first.
FEATURES = (
    *("asimd", "asimdhp", "asimddp", "atomics", "i8mm", "bf16", "sve", "sve2"),
    *("sse4_2", "avx", "f16c", "fma", "avx2", "avx512f", "avx512bw", "avx512_vnni", "avx_vnni", "amx_int8"),
)
# /proc/cpuinfo of an ARM CPU has no model name, only the numbers of its implementer and part. These are the
# CPUs of Raspberry Pis.
ARM_IMPLEMENTER = "0x41"
ARM_PARTS = {"0xd03": "Cortex-A53", "0xd08": "Cortex-A72", "0xd0b": "Cortex-A76"}


def read_cpuinfo(root: Path = ROOT) -> str:
    """Read /proc/cpuinfo; empty if there is none."""
    return read_text(root / "proc/cpuinfo") or "" if has_kernel_files(root) else ""


def count_cores(root: Path = ROOT) -> int | None:
    """Count the machine's logical cores."""
    if not has_kernel_files(root):
        return os.cpu_count()
    return sum(line.startswith("processor") for line in read_cpuinfo(root).splitlines()) or None


def read_cpu_name(root: Path = ROOT) -> str | None:
    """Read the name of the CPU, or the numbers of an ARM CPU without a known name."""
    if not has_kernel_files(root):
        return platform.processor() or None
    cpu = read_fields(read_cpuinfo(root))
    if "model name" in cpu:
        return cpu["model name"]
    implementer, part = cpu.get("CPU implementer"), cpu.get("CPU part")
    if implementer is None or part is None:
        return None
    known = ARM_PARTS.get(part) if implementer == ARM_IMPLEMENTER else None
    return known or f"implementer {implementer}, part {part}"


def read_largest_cache(root: Path = ROOT) -> int | None:
    """Read the size of the largest cache of core 0 in bytes; None if the kernel does not report it."""
    texts = (read_text(path / "size") for path in (root / "sys/devices/system/cpu/cpu0/cache").glob("index*"))
    sizes = (re.fullmatch(r"(\d+)K", text or "") for text in texts)
    return max((1024 * int(size[1]) for size in sizes if size), default=None)


def read_features(root: Path = ROOT) -> tuple[str, ...]:
    """Read which of FEATURES the CPU has; empty where the kernel does not list them."""
    cpu = read_fields(read_cpuinfo(root))
    flags = (cpu.get("Features") or cpu.get("flags") or "").split()
    return tuple(name for name in FEATURES if name in flags)
