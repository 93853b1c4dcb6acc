"""What machine this is, as far as it says so: a field that cannot be read is None, never an error.

In: /proc and /sys, or a recorded copy of them. Out: a Device. Imports nothing it describes.
"""

import importlib.metadata
import platform
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tinyedge.host.procfs import read_fields, read_number, read_text

# The instruction-set extensions that int8 and fp32 matrix kernels are chosen by, weakest first.
FEATURES = (
    *("asimd", "asimdhp", "asimddp", "atomics", "i8mm", "bf16", "sve", "sve2"),
    *("sse4_2", "avx", "f16c", "fma", "avx2", "avx512f", "avx512bw", "avx512_vnni", "avx_vnni", "amx_int8"),
)
# /proc/cpuinfo of an ARM CPU has no name, only its maker and part; these are the Raspberry Pis'.
ARM_IMPLEMENTER = "0x41"
ARM_PARTS = {"0xd03": "Cortex-A53", "0xd08": "Cortex-A72", "0xd0b": "Cortex-A76"}
CPUS = Path("sys/devices/system/cpu")
VCGENCMD_SECONDS = 5  # it answers in milliseconds, or the firmware is stuck


@dataclass(frozen=True)
class SwapArea:
    """A place that memory is swapped out to, such as /dev/zram0. size, used: bytes."""

    name: str
    size: int
    used: int


@dataclass(frozen=True)
class Device:
    """A machine.

    model: the board's own name. machine: as `uname -m`. features: those of FEATURES that the CPU has.
    governor: of core 0. freq: MHz of the fastest core when it was read. temp: degrees Celsius of the hottest
    zone. throttled: the firmware's bits in hexadecimal; 0-3 are true now, 16-19 since boot. ram: bytes.
    memory_controller: whether the kernel can hold a service to MemoryMax=. swap: its areas, zram included.
    """

    model: str | None
    machine: str | None
    cpu: str | None
    cores: int | None
    features: tuple[str, ...]
    governor: str | None
    freq: float | None
    temp: float | None
    throttled: str | None
    ram: int | None
    kernel: str | None
    python: str
    onnxruntime: str | None
    memory_controller: bool | None = None
    swap: tuple[SwapArea, ...] = ()


def describe(root: Path = Path("/"), vcgencmd: str = "vcgencmd") -> Device:
    """This machine, or the one whose /proc and /sys were copied under `root`."""
    cpuinfo = read_text(root / "proc/cpuinfo") or ""
    cpu = read_fields(cpuinfo)
    board = read_text(root / "proc/device-tree/model") or cpu.get("Model")
    ram_kb = read_number(read_fields(read_text(root / "proc/meminfo")).get("MemTotal"))
    bits = read_throttled(vcgencmd)
    flags = (cpu.get("Features") or cpu.get("flags") or "").split()
    return Device(
        model=board,
        machine=platform.machine() or None,
        cpu=_cpu_name(cpu),
        cores=sum(line.startswith("processor") for line in cpuinfo.splitlines()) or None,
        features=tuple(name for name in FEATURES if name in flags),
        governor=read_text(root / CPUS / "cpu0/cpufreq/scaling_governor"),
        freq=read_mhz(root),
        temp=read_temperature(root),
        throttled=None if bits is None else hex(bits),
        ram=None if ram_kb is None else ram_kb * 1024,
        kernel=read_text(root / "proc/sys/kernel/osrelease"),
        python=platform.python_version(),
        onnxruntime=_version("onnxruntime"),
        memory_controller=read_memory_controller(root),
        swap=read_swap_areas(root),
    )


def read_mhz(root: Path = Path("/")) -> float | None:
    """The clock of the fastest core at this moment, MHz: an idle core is slow, and says nothing."""
    readings = (
        read_number(read_text(core / "cpufreq/scaling_cur_freq")) for core in (root / CPUS).glob("cpu[0-9]*")
    )
    return max((khz / 1000 for khz in readings if khz is not None), default=None)


def read_temperature(root: Path = Path("/")) -> float | None:
    """Degrees Celsius of the hottest zone."""
    zones = sorted((root / "sys/class/thermal").glob("thermal_zone*"))
    readings = (read_number(read_text(zone / "temp")) for zone in zones)
    return max((value / 1000 for value in readings if value is not None), default=None)


def read_memory_controller(root: Path = Path("/")) -> bool | None:
    """Whether the kernel can limit a group's memory, by cgroup v2 or v1; None where it has neither."""
    unified = read_text(root / "sys/fs/cgroup/cgroup.controllers")
    legacy = read_text(root / "proc/cgroups")
    if unified is None and legacy is None:
        return None
    rows = [line.split() for line in (legacy or "").splitlines()]
    return "memory" in (unified or "").split() or any(
        row[0] == "memory" and row[-1] == "1" for row in rows if row
    )


def read_swap_areas(root: Path = Path("/")) -> tuple[SwapArea, ...]:
    """Files, partitions and zram that are in use as swap."""
    rows = [line.split() for line in (read_text(root / "proc/swaps") or "").splitlines()[1:]]
    return tuple(
        SwapArea(row[0], int(row[2]) * 1024, int(row[3]) * 1024)
        for row in rows
        if len(row) > 3 and "".join(row[2:4]).isdigit()
    )


def read_throttled(vcgencmd: str = "vcgencmd") -> int | None:
    """The Raspberry Pi firmware's throttling bits; None where the program is missing, stuck or odd."""
    try:
        answer = subprocess.run(
            [vcgencmd, "get_throttled"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=VCGENCMD_SECONDS,
            text=True,
            check=True,
        ).stdout
        return int(answer.strip().removeprefix("throttled="), 16)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None


def _cpu_name(cpu: dict[str, str]) -> str | None:
    if "model name" in cpu:
        return cpu["model name"]
    implementer, part = cpu.get("CPU implementer"), cpu.get("CPU part")
    if implementer is None or part is None:
        return None
    known = ARM_PARTS.get(part) if implementer == ARM_IMPLEMENTER else None
    return known or f"implementer {implementer}, part {part}"


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
