"""A board as a package installer sees it: an architecture, versions of Python, platform tags.

Knows no network and no files.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class WheelPlatform:
    """What wheels are chosen for. Two are equal if architecture and versions of Python are."""

    machine: str
    """Architecture as `uname -m` prints it."""
    pythons: tuple[str, ...]
    """Versions of Python, such as "3.11"."""
    platforms: tuple[str, ...] = field(compare=False)
    """Platform tags of wheels that can be installed, most specific first."""

    def abis(self, python: str) -> list[str]:
        """ABI tags of wheels for one version of Python."""
        return [f"cp{python.replace('.', '')}", "abi3", "none"]

    def markers(self, python: str) -> dict[str, str]:
        """Values for the environment markers of a requirement, such as `python_version < "3.13"`."""
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
