"""What machine this is, as far as it says so: a field that cannot be read is None, never an error.

In: /proc and /sys, or a recorded copy of them. Out: a Device. Imports nothing it describes.
"""

import importlib.metadata
import platform
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tinyedge.readings import read_fields, read_number, read_text

# The instruction-set extensions that int8 and fp32 matrix kernels are chosen by, weakest first.
FEATURES = (
    *("asimd", "asimdhp", "asimddp", "atomics", "i8mm", "bf16", "sve", "sve2"),
    *("sse4_2", "avx", "f16c", "fma", "avx2", "avx512f", "avx512bw", "avx512_vnni", "avx_vnni", "amx_int8"),
)
# /proc/cpuinfo of an ARM CPU has no name, only its maker and part; these are the Raspberry Pis'.
ARM_IMPLEMENTER = "0x41"
ARM_PARTS = {"0xd03": "Cortex-A53", "0xd08": "Cortex-A72", "0xd0b": "Cortex-A76"}
VCGENCMD_SECONDS = 5  # it answers in milliseconds, or the firmware is stuck


@dataclass(frozen=True)
class Device:
    """A machine.

    model: the board's own name. machine: as `uname -m`. features: those of FEATURES that the CPU has.
    governor: of core 0. freq: MHz of core 0 when it was read. temp: degrees Celsius of the hottest zone.
    throttled: the firmware's bits in hexadecimal; 0-3 are true now, 16-19 since boot. ram: bytes.
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


def describe(root: Path = Path("/"), vcgencmd: str = "vcgencmd") -> Device:
    """This machine, or the one whose /proc and /sys were copied under `root`."""
    cpuinfo = read_text(root / "proc/cpuinfo") or ""
    cpu = read_fields(cpuinfo)
    board = read_text(root / "proc/device-tree/model") or cpu.get("Model")
    core0 = root / "sys/devices/system/cpu/cpu0/cpufreq"
    freq_khz = read_number(read_text(core0 / "scaling_cur_freq"))
    ram_kb = read_number(read_fields(read_text(root / "proc/meminfo")).get("MemTotal"))
    bits = read_throttled(vcgencmd)
    flags = (cpu.get("Features") or cpu.get("flags") or "").split()
    return Device(
        model=board,
        machine=platform.machine() or None,
        cpu=_cpu_name(cpu),
        cores=sum(line.startswith("processor") for line in cpuinfo.splitlines()) or None,
        features=tuple(name for name in FEATURES if name in flags),
        governor=read_text(core0 / "scaling_governor"),
        freq=None if freq_khz is None else freq_khz / 1000,
        temp=_hottest(root / "sys/class/thermal"),
        throttled=None if bits is None else hex(bits),
        ram=None if ram_kb is None else ram_kb * 1024,
        kernel=read_text(root / "proc/sys/kernel/osrelease"),
        python=platform.python_version(),
        onnxruntime=_version("onnxruntime"),
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


def began_to_throttle(before: int | None, after: int | None) -> bool:
    """Whether a throttling bit, of the moment or since boot, is set `after` that was not `before`."""
    return bool((after or 0) & ~(before or 0))


def _cpu_name(cpu: dict[str, str]) -> str | None:
    if "model name" in cpu:
        return cpu["model name"]
    implementer, part = cpu.get("CPU implementer"), cpu.get("CPU part")
    if implementer is None or part is None:
        return None
    known = ARM_PARTS.get(part) if implementer == ARM_IMPLEMENTER else None
    return known or f"implementer {implementer}, part {part}"


def _hottest(thermal: Path) -> float | None:
    readings = (read_number(read_text(zone / "temp")) for zone in sorted(thermal.glob("thermal_zone*")))
    return max((value / 1000 for value in readings if value is not None), default=None)


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
