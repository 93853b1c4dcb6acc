"""Checks of a machine, each of one property.

In: a Device and a SystemState. Out: Findings. Reads no files, starts no programs, changes nothing.
"""

from tinyedge.doctor.cgroups import check_memory_controller
from tinyedge.doctor.finding import Finding, Level
from tinyedge.doctor.state import SystemState
from tinyedge.host.machine import Device
from tinyedge.host.procfs import read_number
from tinyedge.host.system_memory import SwapArea, SystemMemory
from tinyedge.host.throttling import HOT_C, TOO_HOT_C, Throttling

MB = 1 << 20
MACHINES = ("aarch64", "arm64", "x86_64")  # with onnxruntime wheels; macOS calls aarch64 arm64
MIN_PYTHON = (3, 11)
# The default model needs about 80 MB to answer; the budget of a bundle may be up to 512 MB.
FREE_MEMORY_BAD, FREE_MEMORY_LOW = 100 * MB, 200 * MB
# Two bundles, and what pip unpacks to install another version: numpy and onnxruntime are about 100 MB.
FREE_DISK_BAD, FREE_DISK_LOW = 50 * MB, 500 * MB
SWAP_USED_LOW = 0.25  # share of the swap; the kernel moves a little there even if memory is not short


def check_machine(device: Device, state: SystemState) -> list[Finding]:
    """Run all checks of this module, in the order in which they are shown."""
    return [
        Finding("board", ", ".join(filter(None, [device.model or "not a known board", device.kernel]))),
        check_userland(device, state.pointer_bits),
        check_cpu(device),
        check_python(device),
        check_memory(state.memory),
        check_swap(device.swap, state.platform),
        check_memory_controller(device, state),
        check_temperature(device),
        check_throttling(device),
        check_disk(state.free_disk),
    ]


def check_userland(device: Device, pointer_bits: int) -> Finding:
    """Check for a 64-bit system: a 64-bit kernel may run a 32-bit one, which has no onnxruntime wheels."""
    found = f"{pointer_bits} bit, {device.machine or 'unknown machine'}"
    if pointer_bits == 64 and device.machine in MACHINES:
        return Finding("system", found)
    return Finding("system", found, "bad", "install Raspberry Pi OS Lite (64-bit)")


def check_cpu(device: Device) -> Finding:
    """Check the instruction-set extensions, by which matrix kernels are chosen."""
    cores = f" x {device.cores}" if device.cores else ""
    features = ", ".join(device.features) or "no known features"
    found = f"{device.cpu or 'unknown CPU'}{cores}: {features}"
    if device.machine == "aarch64" and "asimd" not in device.features:
        return Finding("CPU", found, "bad", "use a 64-bit ARM CPU with asimd (NEON)")
    return Finding("CPU", found)


def check_python(device: Device) -> Finding:
    """Check the version of this Python."""
    major, minor = (read_number(part) or 0 for part in device.python.split(".")[:2])
    if (major, minor) >= MIN_PYTHON:
        return Finding("Python", device.python)
    return Finding(
        "Python", device.python, "bad", "install Debian bookworm (Python 3.11) or trixie (Python 3.13)"
    )


def check_memory(memory: SystemMemory | None) -> Finding:
    """Check the memory that a new program can get without swapping."""
    if memory is None:
        return Finding("memory", "not reported by the kernel", "warning", "mount /proc")
    free = memory.available
    level: Level = "bad" if free < FREE_MEMORY_BAD else "warning" if free < FREE_MEMORY_LOW else "ok"
    return Finding(
        "memory",
        f"{free // MB} MB free of {memory.total // MB}",
        level,
        "" if level == "ok" else "stop large programs; list them: ps -eo rss,args --sort=-rss | head",
    )


def check_swap(areas: tuple[SwapArea, ...], platform: str) -> Finding:
    """Check how much swap is in use: swapped-out memory is missing from RSS.

    macOS is not checked against the share, because it creates swap files only as it needs them.
    """
    if not areas:
        return Finding("swap", "none")
    total, used = sum(area.size for area in areas), sum(area.used for area in areas)
    names = " and ".join("zram" if "zram" in area.name else area.name for area in areas)
    found = f"{names}: {used // MB} MB in use of {total // MB}"
    if platform != "darwin" and used > total * SWAP_USED_LOW:
        remedy = "memory is short: stop other programs, or reboot before a benchmark"
        return Finding("swap", found, "warning", remedy)
    return Finding("swap", found)


def check_temperature(device: Device) -> Finding:
    """Check the hottest sensor."""
    if device.temp is None:
        return Finding("temperature", "no sensor")
    level: Level = "bad" if device.temp >= TOO_HOT_C else "warning" if device.temp >= HOT_C else "ok"
    remedy = f"add airflow or a heat sink: the CPU slows down at {TOO_HOT_C:.0f} °C"
    return Finding("temperature", f"{device.temp:.0f} °C", level, "" if level == "ok" else remedy)


def check_throttling(device: Device) -> Finding:
    """Check what the firmware did about heat and a weak power supply."""
    if device.throttled is None:
        if "Raspberry Pi" in (device.model or ""):
            remedy = "sudo apt install raspi-utils-core; add the user to the group video"
            return Finding("throttling", "vcgencmd does not report it", "warning", remedy)
        return Finding("throttling", "not a Raspberry Pi")
    throttling = Throttling.from_bits(int(device.throttled, 16))
    if not throttling.now and not throttling.since_boot:
        return Finding("throttling", "none since boot")
    remedy = "add airflow or a heat sink"
    if throttling.is_under_voltage:
        remedy = "use a 5 V, 2.5 A supply and a short cable"
    if throttling.now:
        return Finding("throttling", f"now: {', '.join(throttling.now)}", "bad", remedy)
    found = f"since boot: {', '.join(throttling.since_boot)}"
    return Finding("throttling", found, "warning", f"{remedy}; then reboot")


def check_disk(free: int) -> Finding:
    """Check for space for a second bundle and for another version of a library.

    Args:
        free: Bytes.
    """
    level: Level = "bad" if free < FREE_DISK_BAD else "warning" if free < FREE_DISK_LOW else "ok"
    return Finding("disk", f"{free // MB:,} MB free", level, "" if level == "ok" else "free some space")
