"""Clocks and temperatures of a recorded machine."""

from pathlib import Path

from tests.support.recorded_files import write_files
from tinyedge.host.sensors import read_mhz, read_temperature


def test_the_clock_is_that_of_the_fastest_core(tmp_path: Path) -> None:
    clocks = {
        f"sys/devices/system/cpu/cpu{core}/cpufreq/scaling_cur_freq": f"{mhz}000\n"
        for core, mhz in enumerate((600, 1000, 800))
    }
    assert read_mhz(write_files(tmp_path, clocks)) == 1000


def test_the_temperature_is_that_of_the_hottest_zone(tmp_path: Path) -> None:
    zones = {
        f"sys/class/thermal/thermal_zone{zone}/temp": text
        for zone, text in enumerate(("45084\n", "47236\n", "-274000\n", "invalid\n"))
    }
    assert read_temperature(write_files(tmp_path, zones)) == 47.236


def test_a_machine_without_sensors_gives_none(tmp_path: Path) -> None:
    assert read_mhz(tmp_path) is None
    assert read_temperature(tmp_path) is None
