"""Clock and temperature at this moment. A sensor that does not exist is None.

In: /sys or a recorded copy on Linux, psutil elsewhere. Out: MHz and degrees Celsius.
"""

from pathlib import Path

from tinyedge.host.procfs import ROOT, has_kernel_files, read_number, read_text

CPUS = Path("sys/devices/system/cpu")


def read_mhz(root: Path = ROOT) -> float | None:
    """Read the clock of the fastest core in MHz, because idle cores run slowly.

    On macOS psutil returns the nominal clock, which never changes.
    """
    if not has_kernel_files(root):
        return _read_mhz_elsewhere()
    readings = (
        read_number(read_text(core / "cpufreq/scaling_cur_freq")) for core in (root / CPUS).glob("cpu[0-9]*")
    )
    return max((khz / 1000 for khz in readings if khz is not None), default=None)


def read_temperature(root: Path = ROOT) -> float | None:
    """Read the temperature of the hottest zone in degrees Celsius.

    On Linux these are the thermal zones: psutil would add the sensors of disks and network cards, which may
    be hot while the CPU is not.
    """
    if not has_kernel_files(root):
        return _read_temperature_elsewhere()
    zones = sorted((root / "sys/class/thermal").glob("thermal_zone*"))
    readings = (read_number(read_text(zone / "temp")) for zone in zones)
    return max((value / 1000 for value in readings if value is not None), default=None)


def _read_mhz_elsewhere() -> float | None:
    import psutil

    from tinyedge.host.psutil_readings import READING_ERRORS, is_reading

    try:
        mhz = psutil.cpu_freq().current  # cpu_freq() is None where the clock is unknown
    except READING_ERRORS:
        return None
    return float(mhz) if is_reading(mhz) and mhz > 0 else None


def _read_temperature_elsewhere() -> float | None:
    import psutil

    from tinyedge.host.psutil_readings import READING_ERRORS, is_reading

    try:
        groups = psutil.sensors_temperatures().values()  # the function is missing on macOS
    except READING_ERRORS:
        return None
    readings = (each.current for group in groups for each in group)
    return max((float(value) for value in readings if is_reading(value)), default=None)
