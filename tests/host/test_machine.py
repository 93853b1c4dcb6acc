"""Descriptions of recorded machines: a Pi, a PC, and one whose files are missing or invalid."""

from pathlib import Path

import pytest

from tests.support.recorded_files import write_files, write_program
from tinyedge.host.cpu import read_largest_cache
from tinyedge.host.machine import describe_machine

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


def test_the_largest_cache(tmp_path: Path) -> None:
    folder = "sys/devices/system/cpu/cpu0/cache/index"
    sizes = {f"{folder}0/size": "32K\n", f"{folder}2/size": "512K\n", f"{folder}3/size": "none\n"}
    assert read_largest_cache(write_files(tmp_path / "root", sizes)) == 512 << 10
    assert read_largest_cache(write_files(tmp_path / "none", PI)) is None


def test_a_pi(tmp_path: Path) -> None:
    root = write_files(tmp_path / "root", PI)
    vcgencmd = write_program(tmp_path / "vcgencmd", 'test "$1" = get_throttled && echo throttled=0x50005')
    device = describe_machine(root, str(vcgencmd))
    assert device.model == "Raspberry Pi Zero 2 W Rev 1.0"
    assert (device.cpu, device.cores, device.features) == ("Cortex-A53", 4, ("asimd",))
    assert (device.governor, device.freq, device.temp) == ("ondemand", 1000.0, 47.236)
    assert (device.throttled, device.ram) == ("0x50005", 424960 * 1024)
    assert device.kernel == "6.12.25+rpt-rpi-v8"


def test_a_pi_without_a_device_tree_has_its_model_in_cpuinfo(tmp_path: Path) -> None:
    files = {name: text for name, text in PI.items() if "device-tree" not in name}
    assert describe_machine(write_files(tmp_path, files)).model == "Raspberry Pi Zero 2 W Rev 1.0"


def test_a_pc(tmp_path: Path) -> None:
    device = describe_machine(write_files(tmp_path, PC), "no-such-program")
    assert (device.cpu, device.cores) == ("AMD EPYC", 2)
    assert device.features == ("avx", "f16c", "fma", "avx2")
    assert {device.model, device.governor, device.freq, device.temp, device.throttled} == {None}


def test_an_unknown_arm_cpu_is_named_by_its_numbers(tmp_path: Path) -> None:
    files = {"proc/cpuinfo": "processor : 0\nCPU implementer : 0x61\nCPU part : 0xd03\n"}
    assert describe_machine(write_files(tmp_path, files)).cpu == "implementer 0x61, part 0xd03"


@pytest.mark.parametrize("text", ["", "\0\0", "garbage", "MemTotal: many kB\nprocessor"])
def test_missing_and_invalid_files_give_none(tmp_path: Path, text: str) -> None:
    device = describe_machine(write_files(tmp_path, dict.fromkeys(PI, text)), "no-such-program")
    assert {device.ram, device.freq, device.temp, device.throttled, device.cpu} == {None}
    assert describe_machine(tmp_path / "nothing", "no-such-program").cores is None
