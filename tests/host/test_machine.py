"""Machines as recorded: a Pi, a PC, and one that says nothing."""

from pathlib import Path

import pytest

from tinyedge.host import machine

PI_CPU = """processor\t: {core}
BogoMIPS\t: 38.40
Features\t: fp asimd evtstrm crc32 cpuid
CPU implementer\t: 0x41
CPU architecture: 8
CPU part\t: 0xd03

"""
PI = {
    "proc/cpuinfo": "".join(PI_CPU.format(core=core) for core in range(4))
    + "Revision\t: 902120\nModel\t\t: Raspberry Pi Zero 2 W Rev 1.0\n",
    "proc/device-tree/model": "Raspberry Pi Zero 2 W Rev 1.0\0",
    "proc/meminfo": "MemTotal:         424960 kB\nMemFree:          200000 kB\n",
    "proc/sys/kernel/osrelease": "6.12.25+rpt-rpi-v8\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "ondemand\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "1000000\n",
    "sys/class/thermal/thermal_zone0/temp": "45084\n",
    "sys/class/thermal/thermal_zone1/temp": "47236\n",
}
PC = {
    "proc/cpuinfo": "processor\t: 0\nmodel name\t: AMD EPYC\nflags\t\t: fpu fma avx f16c avx2\n"
    "processor\t: 1\nmodel name\t: AMD EPYC\nflags\t\t: fpu fma avx f16c avx2\n",
}


def record(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def program(folder: Path, body: str) -> str:
    path = folder / "vcgencmd"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


def test_a_pi(tmp_path: Path) -> None:
    root = record(tmp_path / "root", PI)
    device = machine.describe(root, program(tmp_path, 'test "$1" = get_throttled && echo throttled=0x50005'))
    assert device.model == "Raspberry Pi Zero 2 W Rev 1.0"
    assert (device.cpu, device.cores, device.features) == ("Cortex-A53", 4, ("asimd",))
    assert (device.governor, device.freq, device.temp) == ("ondemand", 1000.0, 47.236)
    assert (device.throttled, device.ram) == ("0x50005", 424960 * 1024)
    assert device.kernel == "6.12.25+rpt-rpi-v8"


def test_a_pi_without_a_device_tree_still_says_its_model(tmp_path: Path) -> None:
    files = {name: text for name, text in PI.items() if "device-tree" not in name}
    assert machine.describe(record(tmp_path, files)).model == "Raspberry Pi Zero 2 W Rev 1.0"


def test_a_pc(tmp_path: Path) -> None:
    device = machine.describe(record(tmp_path, PC), "no-such-program")
    assert (device.cpu, device.cores) == ("AMD EPYC", 2)
    assert device.features == ("avx", "f16c", "fma", "avx2")
    assert device.model is device.governor is device.freq is device.temp is device.throttled is None


def test_an_unknown_arm_cpu_is_named_by_its_numbers(tmp_path: Path) -> None:
    files = {"proc/cpuinfo": "processor : 0\nCPU implementer : 0x61\nCPU part : 0xd03\n"}
    assert machine.describe(record(tmp_path, files)).cpu == "implementer 0x61, part 0xd03"


@pytest.mark.parametrize("text", ["", "\0\0", "garbage", "MemTotal: many kB\nprocessor"])
def test_a_machine_that_says_nothing_or_nonsense(tmp_path: Path, text: str) -> None:
    device = machine.describe(record(tmp_path, dict.fromkeys(PI, text)), "no-such-program")
    assert device.ram is device.freq is device.temp is device.throttled is device.cpu is None
    assert machine.describe(tmp_path / "nothing", "no-such-program").cores is None


@pytest.mark.parametrize("body", ["exit 1", "echo VCHI initialization failed", "echo throttled=", "true"])
def test_a_program_that_fails_is_no_reading(tmp_path: Path, body: str) -> None:
    assert machine.read_throttled(program(tmp_path, body)) is None


def test_a_program_that_hangs_is_no_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "VCGENCMD_SECONDS", 0.1)
    assert machine.read_throttled(program(tmp_path, "exec sleep 60")) is None


@pytest.mark.parametrize(
    ("files", "on"),
    [
        ({"sys/fs/cgroup/cgroup.controllers": "cpuset cpu io memory pids\n"}, True),
        ({"sys/fs/cgroup/cgroup.controllers": "cpuset cpu io pids\n"}, False),  # cgroup_disable=memory
        ({"proc/cgroups": "#subsys_name hierarchy num_cgroups enabled\nmemory 0 1 1\n"}, True),
        ({"proc/cgroups": "#subsys_name hierarchy num_cgroups enabled\nmemory 0 1 0\n"}, False),
        ({}, None),
    ],
)
def test_the_memory_controller(tmp_path: Path, files: dict[str, str], on: bool | None) -> None:
    assert machine.read_memory_controller(record(tmp_path, files)) is on
    assert machine.describe(tmp_path, "no-such-program").memory_controller is on


def test_swap_areas_zram_included(tmp_path: Path) -> None:
    swaps = (
        "Filename Type Size Used Priority\n/dev/zram0 partition 212480 1024 100\n/var/swap file 102400 0 -2\n"
    )
    found = machine.describe(record(tmp_path, {"proc/swaps": swaps}), "no-such-program").swap
    assert found == (
        machine.SwapArea("/dev/zram0", 212480 * 1024, 1024 * 1024),
        machine.SwapArea("/var/swap", 102400 * 1024, 0),
    )


def test_the_clock_is_that_of_the_fastest_core(tmp_path: Path) -> None:
    clocks = {f"sys/devices/system/cpu/cpu{n}/cpufreq/scaling_cur_freq": f"{mhz}000\n"
              for n, mhz in enumerate((600, 1000, 800))}  # fmt: skip
    assert machine.read_mhz(record(tmp_path, clocks)) == 1000
