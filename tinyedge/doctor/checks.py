"""Everything about a machine that can be read from its files, judged one by one.

In: a Device, and /proc and /sys or a recorded copy. Out: Findings. Starts nothing and changes nothing.
"""

from pathlib import Path

from tinyedge.doctor.finding import Finding, Level
from tinyedge.host.machine import Device, read_memory_controller, read_swap_areas
from tinyedge.host.procfs import read_fields, read_number, read_text

MB = 1 << 20
KB = 1 << 10
MACHINES = ("aarch64", "x86_64")  # for which there are wheels of onnxruntime
MIN_PYTHON = (3, 11)
# The default model answers in some 80 MB; a bundle may promise up to 512.
FREE_MEMORY_BAD, FREE_MEMORY_LOW = 100 * MB, 200 * MB
# Two bundles, and what pip unpacks to install another version: numpy and onnxruntime are some 100 MB.
FREE_DISK_BAD, FREE_DISK_LOW = 50 * MB, 500 * MB
SWAP_USED_LOW = 0.25  # of the swap: from here on the machine is short of memory, not just tidy
HOT_C, TOO_HOT_C = 70.0, 80.0  # the firmware slows a Pi Zero 2 W down from 80 on

# `vcgencmd get_throttled`, of Raspberry Pi's documentation: what is true now; 16 bits higher, since boot.
UNDER_VOLTAGE = 1 << 0
THROTTLING = {
    UNDER_VOLTAGE: "under-voltage",
    1 << 1: "frequency capped",
    1 << 2: "throttled",
    1 << 3: "soft temperature limit",
}
SINCE_BOOT = 16

CMDLINE = "/boot/firmware/cmdline.txt"


def check_machine(device: Device, root: Path, bits: int, free_disk: int) -> list[Finding]:
    """All that follows, in the order in which it is read.

    root: what /proc and /sys are under. bits: of this Python's addresses. free_disk: bytes.
    """
    return [
        Finding("board", ", ".join(filter(None, [device.model or "unknown board", device.kernel]))),
        check_userland(device, bits),
        check_cpu(device),
        check_python(device),
        check_memory(root),
        check_swap(root),
        check_memory_controller(root),
        check_temperature(device),
        check_throttling(device),
        check_disk(free_disk),
    ]


def check_userland(device: Device, bits: int) -> Finding:
    """A 64-bit kernel may run a 32-bit system, for which there is no onnxruntime."""
    found = f"{bits} bit, {device.machine or 'unknown machine'}"
    if bits == 64 and device.machine in MACHINES:
        return Finding("system", found)
    return Finding("system", found, "bad", "install Raspberry Pi OS Lite (64-bit)")


def check_cpu(device: Device) -> Finding:
    """Cores, and the instructions that matrix kernels are chosen by."""
    cores = f" x {device.cores}" if device.cores else ""
    features = ", ".join(device.features) or "no known features"
    found = f"{device.cpu or 'unknown CPU'}{cores}: {features}"
    if device.machine == "aarch64" and "asimd" not in device.features:
        return Finding("CPU", found, "bad", "a 64-bit ARM CPU with asimd (NEON) is needed")
    return Finding("CPU", found)


def check_python(device: Device) -> Finding:
    """The version that runs this."""
    major, minor = (read_number(part) or 0 for part in device.python.split(".")[:2])
    if (major, minor) >= MIN_PYTHON:
        return Finding("Python", device.python)
    return Finding(
        "Python", device.python, "bad", "Debian bookworm has 3.11, trixie 3.13: install one of them"
    )


def check_memory(root: Path) -> Finding:
    """What the kernel could give to a new program without swapping."""
    fields = read_fields(read_text(root / "proc/meminfo"))
    total, available = (read_number(fields.get(name)) for name in ("MemTotal", "MemAvailable"))
    if total is None or available is None:
        return Finding("memory", "the kernel does not say", "warning", "mount /proc")
    free = available * KB
    level: Level = "bad" if free < FREE_MEMORY_BAD else "warning" if free < FREE_MEMORY_LOW else "ok"
    found = f"{free // MB} MB free of {total * KB // MB}"
    return Finding(
        "memory",
        found,
        level,
        "" if level == "ok" else "stop what takes it: ps -eo rss,args --sort=-rss | head",
    )


def check_swap(root: Path) -> Finding:
    """Files, partitions and zram, and how much of them is in use: what is swapped out hides from RSS."""
    areas = read_swap_areas(root)
    if not areas:
        return Finding("swap", "none")
    total, used = sum(area.size for area in areas), sum(area.used for area in areas)
    names = " and ".join("zram" if "zram" in area.name else area.name for area in areas)
    found = f"{names}: {used // MB} MB in use of {total // MB}"
    if used > total * SWAP_USED_LOW:
        return Finding(
            "swap", found, "warning", "memory is short: stop other programs, or measure after a reboot"
        )
    return Finding("swap", found)


def check_memory_controller(root: Path) -> Finding:
    """Whether the kernel can hold a service to MemoryMax=; Raspberry Pi's firmware boots without."""
    if read_memory_controller(root):
        return Finding("memory limits", "the memory controller is on")
    switched_off = "cgroup_disable=memory" in (read_text(root / "proc/cmdline") or "").split()
    why = "cgroup_disable=memory" if switched_off else "no memory controller"
    return Finding(
        "memory limits",
        f"{why}: MemoryMax= of a service has no effect",
        "warning",
        f"append cgroup_enable=memory to the one line of {CMDLINE}, and reboot",
    )


def check_temperature(device: Device) -> Finding:
    """Of the hottest sensor."""
    if device.temp is None:
        return Finding("temperature", "no sensor")
    level: Level = "bad" if device.temp >= TOO_HOT_C else "warning" if device.temp >= HOT_C else "ok"
    way_out = "" if level == "ok" else "give it air or a heat sink: at 80 °C it slows down"
    return Finding("temperature", f"{device.temp:.0f} °C", level, way_out)


def check_throttling(device: Device) -> Finding:
    """What the firmware has done about heat and a weak supply."""
    if device.throttled is None:
        if "Raspberry Pi" in (device.model or ""):
            way_out = "sudo apt install raspi-utils-core; the user must be in group video"
            return Finding("throttling", "vcgencmd does not say", "warning", way_out)
        return Finding("throttling", "not a Raspberry Pi")
    bits = int(device.throttled, 16)
    now = [name for bit, name in THROTTLING.items() if bits & bit]
    before = [name for bit, name in THROTTLING.items() if bits >> SINCE_BOOT & bit]
    if not now and not before:
        return Finding("throttling", "none since boot")
    weak = bool((bits | bits >> SINCE_BOOT) & UNDER_VOLTAGE)
    way_out = "use a 5 V, 2.5 A supply and a short cable" if weak else "give it air or a heat sink"
    if now:
        return Finding("throttling", f"now: {', '.join(now)}", "bad", way_out)
    return Finding("throttling", f"since boot: {', '.join(before)}", "warning", f"{way_out}; then reboot")


def check_disk(free: int) -> Finding:
    """Room for a second bundle and for another version of a library."""
    level: Level = "bad" if free < FREE_DISK_BAD else "warning" if free < FREE_DISK_LOW else "ok"
    return Finding("disk", f"{free // MB:,} MB free", level, "" if level == "ok" else "free some space")
