"""What a board is to a package installer: a processor and versions of Python.

Knows no network and no file. Times and budgets of a board are the export's and the bench's business.
"""

from collections.abc import Mapping
from dataclasses import dataclass

# pip takes `--platform` at its word: each older tag that the board can also install has to be named. Debian
# bookworm, the older of the two that Raspberry Pi OS is made from, has glibc 2.36.
NEWEST_GLIBC, OLDEST_GLIBC = 36, 17
OLD_NAMES = {"aarch64": ("manylinux2014",), "x86_64": ("manylinux2014", "manylinux2010", "manylinux1")}
MACHINES = tuple(OLD_NAMES)
OLDEST_PYTHON = (3, 11)


@dataclass(frozen=True)
class Board:
    """machine: as `uname -m` says it, of MACHINES. pythons: as in "3.11"."""

    machine: str
    pythons: tuple[str, ...]

    @property
    def platforms(self) -> list[str]:
        """The platform tags of the wheels that it can install, best first."""
        numbered = [f"manylinux_2_{minor}" for minor in range(NEWEST_GLIBC, OLDEST_GLIBC - 1, -1)]
        return [f"{name}_{self.machine}" for name in (*numbered, *OLD_NAMES[self.machine], "linux")] + ["any"]

    def abis(self, python: str) -> list[str]:
        """The ABI tags of those wheels."""
        return [f"cp{python.replace('.', '')}", "abi3", "none"]

    def markers(self, python: str) -> dict[str, str]:
        """What it answers to the conditions of a requirement, such as `python_version < "3.13"`."""
        return {
            "implementation_name": "cpython",
            "implementation_version": f"{python}.0",
            "os_name": "posix",
            "platform_machine": self.machine,
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": "Linux",
            "platform_version": "",
            "python_full_version": f"{python}.0",
            "python_version": python,
            "sys_platform": "linux",
        }


# By the target of a bundle. Debian, and Raspberry Pi OS with it: bookworm has Python 3.11, trixie 3.13.
BOARDS: Mapping[str, Board] = {
    "pi-zero-2w": Board("aarch64", ("3.11", "3.13")),
    "x86-64": Board("x86_64", ("3.11", "3.13")),
}
