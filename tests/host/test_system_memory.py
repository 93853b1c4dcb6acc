"""RAM, swap areas and the memory controller of a recorded machine."""

from pathlib import Path

import psutil
import pytest

from tests.support.recorded_files import write_files
from tinyedge.host.machine import describe_machine
from tinyedge.host.system_memory import (
    SwapArea,
    SystemMemory,
    read_memory_controller,
    read_swap_areas,
    read_system_memory,
    read_total_memory,
)

KB = 1024


def read_recorded(root: Path, monkeypatch: pytest.MonkeyPatch) -> SystemMemory | None:
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(root / "proc"))
    return read_system_memory()


def test_total_and_available_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    meminfo = "MemTotal: 426208 kB\nMemFree: 118940 kB\nMemAvailable: 281672 kB\n"
    root = write_files(tmp_path, {"proc/meminfo": meminfo})
    # The file lacks Buffers, Cached and others; the warnings of psutil about that would be errors here.
    assert read_recorded(root, monkeypatch) == SystemMemory(426208 * KB, 281672 * KB)
    assert read_total_memory(root) == 426208 * KB


@pytest.mark.parametrize("meminfo", [None, "", "invalid", "MemTotal:\n", "MemTotal: many kB\n"])
def test_memory_that_cannot_be_read_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, meminfo: str | None
) -> None:
    root = write_files(tmp_path, {} if meminfo is None else {"proc/meminfo": meminfo})
    assert read_recorded(root, monkeypatch) is None
    assert read_total_memory(root) is None


@pytest.mark.parametrize(
    ("files", "is_on"),
    [
        ({"sys/fs/cgroup/cgroup.controllers": "cpuset cpu io memory pids\n"}, True),
        ({"sys/fs/cgroup/cgroup.controllers": "cpuset cpu io pids\n"}, False),  # cgroup_disable=memory
        ({"proc/cgroups": "#subsys_name hierarchy num_cgroups enabled\nmemory 0 1 1\n"}, True),
        ({"proc/cgroups": "#subsys_name hierarchy num_cgroups enabled\nmemory 0 1 0\n"}, False),
        ({}, None),
    ],
)
def test_the_memory_controller(tmp_path: Path, files: dict[str, str], is_on: bool | None) -> None:
    assert read_memory_controller(write_files(tmp_path, files)) is is_on
    assert describe_machine(tmp_path, "no-such-program").memory_controller is is_on


def test_swap_areas_include_zram(tmp_path: Path) -> None:
    swaps = (
        "Filename Type Size Used Priority\n/dev/zram0 partition 212480 1024 100\n/var/swap file 102400 0 -2\n"
    )
    expected = (
        SwapArea("/dev/zram0", 212480 * KB, 1024 * KB),
        SwapArea("/var/swap", 102400 * KB, 0),
    )
    assert read_swap_areas(write_files(tmp_path, {"proc/swaps": swaps})) == expected
    assert describe_machine(tmp_path, "no-such-program").swap == expected
