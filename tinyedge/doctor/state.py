"""State of the system that the checks need in addition to the description of the machine.

In: the running system, or the kernel files of a recorded one. Out: a SystemState.
"""

import shutil
import struct
import sys
from dataclasses import dataclass
from pathlib import Path

from tinyedge.host.procfs import ROOT, read_text
from tinyedge.host.system_memory import SystemMemory, read_system_memory

BOOT_FILES = ("boot/firmware/cmdline.txt", "boot/cmdline.txt")  # since bookworm, and before
POINTER_BITS = struct.calcsize("P") * 8


@dataclass(frozen=True)
class SystemState:
    """What the checks need in addition to a Device."""

    platform: str
    """Operating system, as in `sys.platform`."""
    pointer_bits: int
    """Width of this Python's addresses: 32 or 64."""
    memory: SystemMemory | None
    """RAM, or None if the system does not report it."""
    free_disk: int
    """Bytes free in the current folder."""
    kernel_arguments: tuple[str, ...] = ()
    """The kernel's command line; empty where it cannot be read."""
    boot_file: str | None = None
    """The Raspberry Pi firmware's file of kernel arguments; None where there is none."""
    boot_lines: tuple[str, ...] = ()
    """Lines of that file that have text. The firmware reads only the first line."""


def read_state(root: Path = ROOT) -> SystemState:
    """Read the state of this system.

    Args:
        root: Folder that holds `proc`; a recorded one also needs `psutil.PROCFS_PATH`.
    """
    boot_file = next((name for name in BOOT_FILES if (root / name).is_file()), None)
    boot_text = read_text(root / boot_file) if boot_file else None
    return SystemState(
        platform=sys.platform,
        pointer_bits=POINTER_BITS,
        memory=read_system_memory(),
        free_disk=shutil.disk_usage(Path.cwd()).free,
        kernel_arguments=tuple((read_text(root / "proc/cmdline") or "").split()),
        boot_file=f"/{boot_file}" if boot_file else None,
        boot_lines=tuple(filter(str.strip, (boot_text or "").splitlines())),
    )
