"""A Raspberry Pi Zero 2 W as its files describe it: Raspberry Pi OS trixie, 64 bit, just booted.

Written from the public documentation of the kernel and of Raspberry Pi and from listings of users, without a
board. /proc/cpuinfo ends with lines of the firmware, strings of the device tree end with NUL, the firmware
disables the memory controller on the kernel's command line, and the swap is zram.
"""

from collections.abc import Mapping
from pathlib import Path

import psutil
import pytest

from tinyedge.doctor.state import SystemState, read_state

CORE = """processor\t: {core}
BogoMIPS\t: 38.40
Features\t: fp asimd evtstrm crc32 cpuid
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: 0xd03
CPU revision\t: 4

"""
ZERO_2_W: Mapping[str, str] = {
    "proc/cpuinfo": "".join(CORE.format(core=core) for core in range(4))
    + "Revision\t: 902120\nSerial\t\t: 0000000012345678\nModel\t\t: Raspberry Pi Zero 2 W Rev 1.0\n",
    "proc/device-tree/model": "Raspberry Pi Zero 2 W Rev 1.0\0",
    "proc/meminfo": """MemTotal:         426208 kB
MemFree:          118940 kB
MemAvailable:     281672 kB
Buffers:           12324 kB
Cached:           191504 kB
SwapCached:            0 kB
SwapTotal:        426204 kB
SwapFree:         426204 kB
""",
    "proc/swaps": "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
    "/dev/zram0                              partition\t426204\t\t0\t\t100\n",
    "proc/cmdline": "coherent_pool=1M 8250.nr_uarts=0 snd_bcm2835.enable_headphones=0 cgroup_disable=memory"
    " vc_mem.mem_base=0x1ec00000 vc_mem.mem_size=0x20000000 console=ttyS0,115200 console=tty1"
    " root=PARTUUID=12345678-02 rootfstype=ext4 fsck.repair=yes rootwait\n",
    "proc/cgroups": "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpuset\t0\t81\t1\ncpu\t0\t81\t1\n"
    "memory\t0\t81\t0\npids\t0\t81\t1\n",
    "proc/sys/kernel/osrelease": "6.12.47+rpt-rpi-v8\n",
    "sys/fs/cgroup/cgroup.controllers": "cpuset cpu io pids\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "ondemand\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "600000\n",
    "sys/class/thermal/thermal_zone0/temp": "44008\n",
}
VCGENCMD = '#!/bin/sh\n[ "$1" = get_throttled ] && echo throttled={bits}\n'


def record(root: Path, changes: Mapping[str, str | None] | None = None, throttled: str = "0x0") -> Path:
    """Write the board's files under `root`, and the program `vcgencmd` next to them.

    Args:
        root: Folder to write to.
        changes: Other contents by file name; None leaves the file out.
        throttled: What `vcgencmd` prints as the throttling bits.
    """
    for name, text in {**ZERO_2_W, **(changes or {})}.items():
        if text is not None:
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    program = root / "vcgencmd"
    program.write_text(VCGENCMD.format(bits=throttled))
    program.chmod(0o755)
    return root


def read_recorded_state(root: Path) -> SystemState:
    """Read the state of the system whose files are under `root`; psutil reads its /proc as well."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(psutil, "PROCFS_PATH", str(root / "proc"))
        return read_state(root)
