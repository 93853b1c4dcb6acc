"""Findings about a recorded board, without a fault and with one at a time, and about imports that fail."""

import dataclasses
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.recorded_board import ZERO_2_W, read_recorded_state, record
from tinyedge.doctor.checks import MB
from tinyedge.doctor.finding import Finding
from tinyedge.doctor.libraries import LIBRARIES, check_libraries
from tinyedge.doctor.report import MachineReport, examine_machine, render
from tinyedge.host.machine import describe_machine

ENGINE = '{"name": "kernels", "instructions": "neon", "reason": "tinyedge_kernels is installed"}'
ENGINE_WORKS = (sys.executable, "-c", f"print({ENGINE!r})")  # a child process that computed a token
IMPORTS_WORK = (sys.executable, "-c", "print('imported')")  # a child process whose imports succeed
# What Python reports about itself on the board.
PROCESS = {"machine": "aarch64", "python": "3.13.5", "onnxruntime": "1.23.2"}
Changes = Mapping[str, str | None]


def examine_board(
    root: Path,
    changes: Changes | None = None,
    throttled: str = "0x0",
    bits: int = 64,
    free_disk: int = 20_000 * MB,
    **process: str,
) -> MachineReport:
    """Examine the recorded board after `changes` to its files."""
    record(root, changes, throttled)
    device = describe_machine(root, str(root / "vcgencmd"))
    facts: dict[str, Any] = {**PROCESS, **process}
    device = dataclasses.replace(device, **facts)
    state = dataclasses.replace(
        read_recorded_state(root), platform="linux", pointer_bits=bits, free_disk=free_disk
    )
    return examine_machine(device, state, IMPORTS_WORK, ENGINE_WORKS)


def get_finding(name: str, report: MachineReport) -> Finding:
    (finding,) = (finding for finding in report.findings if finding.name == name)
    return finding


def test_a_new_board(tmp_path: Path) -> None:
    report = examine_board(tmp_path)
    found = {finding.name: (finding.level, finding.found) for finding in report.findings}
    libraries = found.pop("libraries")
    assert found == {
        "board": ("ok", "Raspberry Pi Zero 2 W Rev 1.0, 6.12.47+rpt-rpi-v8"),
        "system": ("ok", "64 bit, aarch64"),
        "CPU": ("ok", "Cortex-A53 x 4: asimd"),
        "Python": ("ok", "3.13.5"),
        "memory": ("ok", "275 MB free of 416"),
        "swap": ("ok", "zram: 0 MB in use of 416"),
        "memory limits": ("warning", "cgroup_disable=memory: MemoryMax= of a service has no effect"),
        "temperature": ("ok", "44 °C"),
        "throttling": ("ok", "none since boot"),
        "disk": ("ok", "20,000 MB free"),
        "engine": ("ok", "kernels (neon): tinyedge_kernels is installed"),
    }
    assert libraries[0] == "ok"
    assert all(name in libraries[1] for name in LIBRARIES)
    assert "cgroup_enable=memory" in get_finding("memory limits", report).remedy
    assert report.fit


MEMINFO = ZERO_2_W["proc/meminfo"]
SWAPS = ZERO_2_W["proc/swaps"]


@pytest.mark.parametrize(
    ("name", "level", "found", "case"),
    [
        ("system", "bad", "32 bit, aarch64", {"bits": 32}),
        ("system", "bad", "32 bit, armv7l", {"bits": 32, "machine": "armv7l"}),
        ("system", "bad", "64 bit, riscv64", {"machine": "riscv64"}),
        ("CPU", "bad", "no known features", {"changes": {"proc/cpuinfo": "processor : 0\n"}}),
        ("Python", "bad", "3.9.2", {"python": "3.9.2"}),
        ("Python", "ok", "3.11.2", {"python": "3.11.2"}),
        (
            *("memory", "warning", "150 MB free of 416"),
            {"changes": {"proc/meminfo": MEMINFO.replace("281672", "153600")}},
        ),
        (
            *("memory", "bad", "60 MB free of 416"),
            {"changes": {"proc/meminfo": MEMINFO.replace("281672", "61440")}},
        ),
        ("memory", "warning", "not reported by the kernel", {"changes": {"proc/meminfo": None}}),
        ("swap", "ok", "none", {"changes": {"proc/swaps": None}}),
        ("swap", "ok", "none", {"changes": {"proc/swaps": "Filename Type Size Used Priority\nx y z\n"}}),
        (
            *("swap", "warning", "zram: 195 MB in use of 416"),
            {"changes": {"proc/swaps": SWAPS.replace("\t\t0\t", "\t\t200000\t")}},
        ),
        (
            *("swap", "ok", "zram and /var/swap: 10 MB in use of 928"),
            {"changes": {"proc/swaps": SWAPS + "/var/swap file 524284 10240 -2\n"}},
        ),
        (
            *("memory limits", "ok", "the memory controller is on"),
            {"changes": {"sys/fs/cgroup/cgroup.controllers": "cpuset cpu io memory pids\n"}},
        ),
        (
            *("memory limits", "ok", "the memory controller is on"),
            {"changes": {"proc/cgroups": ZERO_2_W["proc/cgroups"].replace("81\t0", "81\t1")}},
        ),
        (
            *("memory limits", "warning", "no memory controller: MemoryMax= of a service has no effect"),
            {"changes": {"proc/cmdline": "console=tty1\n"}},
        ),
        (
            *("temperature", "warning", "72 °C"),
            {"changes": {"sys/class/thermal/thermal_zone0/temp": "72100\n"}},
        ),
        (
            *("temperature", "bad", "83 °C"),
            {"changes": {"sys/class/thermal/thermal_zone0/temp": "83000\n"}},
        ),
        ("temperature", "ok", "no sensor", {"changes": {"sys/class/thermal/thermal_zone0/temp": None}}),
        ("throttling", "bad", "now: under-voltage, throttled", {"throttled": "0x50005"}),
        ("throttling", "bad", "now: frequency capped, soft temperature limit", {"throttled": "0xa"}),
        ("throttling", "warning", "since boot: under-voltage", {"throttled": "0x10000"}),
        ("throttling", "warning", "since boot: throttled, soft temperature limit", {"throttled": "0xc0000"}),
        ("throttling", "warning", "vcgencmd does not report it", {"throttled": ""}),
        ("disk", "warning", "300 MB free", {"free_disk": 300 * MB}),
        ("disk", "bad", "3 MB free", {"free_disk": 3 * MB}),
        (
            *("libraries", "bad", "onnxruntime 1.21.0 dies with SIGILL on this CPU, which is ARMv8.0"),
            {"onnxruntime": "1.21.0"},
        ),
    ],
)
def test_one_fault_at_a_time(tmp_path: Path, name: str, level: str, found: str, case: Any) -> None:
    report = examine_board(tmp_path, **case)
    finding = get_finding(name, report)
    assert finding.level == level
    assert found in finding.found
    assert bool(finding.remedy) is (level != "ok")
    # a fault changes one finding only
    good = {finding.name: finding.level for finding in examine_board(tmp_path / "good").findings}
    assert {f.name: f.level for f in report.findings if f.name != name} == {
        other: level for other, level in good.items() if other != name
    }
    assert report.fit is (level != "bad")


FIRMWARE = ZERO_2_W["proc/cmdline"].rstrip()  # has cgroup_disable=memory
ON, OFF = "cgroup_enable=memory", "cgroup_disable=memory"
APPEND = "append cgroup_enable=memory to"


@pytest.mark.parametrize(
    ("running", "file", "found", "remedy"),
    [
        (FIRMWARE, None, OFF, f"{APPEND} the single line of /boot/firmware/cmdline.txt, and reboot"),
        (FIRMWARE, "console=tty1", OFF, f"{APPEND} the single line of /boot/firmware/cmdline.txt"),
        (
            FIRMWARE,
            f"console=tty1 {ON}",
            OFF,
            "reboot: cgroup_enable=memory is in /boot/firmware/cmdline.txt",
        ),
        (FIRMWARE, "console=tty1 cgroup_enable=cpuset,memory\n", OFF, "reboot: "),
        (
            FIRMWARE,
            f"console=tty1\n{ON}\n",
            OFF,
            "to the end of the first line of /boot/firmware/cmdline.txt",
        ),
        (f"{FIRMWARE} {ON}", f"console=tty1 {ON}", f"off despite {ON}", "this kernel ignores"),
        (f"{FIRMWARE} cgroup_memory=1 {ON}", None, f"off despite {ON}", "this kernel ignores"),
        (f"{FIRMWARE} cgroup_enable=cpuset,memory", None, f"off despite {ON}", "this kernel ignores"),
        (f"console=tty1 {ON} {OFF}", f"x {ON} {OFF}", f"off despite {ON}", f"remove {OFF} after {ON}"),
        (f"console=tty1 {ON} {OFF}", f"x {OFF} {ON}", f"off despite {ON}", "reboot: "),
        (f"{FIRMWARE} {ON}", "console=tty1", f"off despite {ON}", "the next start is without it"),
    ],
)
def test_the_remedy_for_memory_limits_is_the_next_step(
    tmp_path: Path, running: str, file: str | None, found: str, remedy: str
) -> None:
    """What is on the kernel's command line is not asked for again."""
    changes = {"proc/cmdline": f"{running}\n", "boot/firmware/cmdline.txt": file}
    finding = get_finding("memory limits", examine_board(tmp_path, changes))
    assert finding.level == "warning"
    assert found in finding.found
    assert remedy in finding.remedy
    assert (APPEND in finding.remedy) == (remedy.startswith(APPEND) or "next start" in remedy)


def test_the_file_of_kernel_arguments_before_bookworm(tmp_path: Path) -> None:
    remedy = get_finding("memory limits", examine_board(tmp_path, {"boot/cmdline.txt": "x"})).remedy
    assert "/boot/cmdline.txt" in remedy


@pytest.mark.parametrize(
    ("running", "remedy"), [(OFF, f"remove {OFF} from"), (ON, "CONFIG_MEMCG"), ("quiet", "delegate")]
)
def test_another_machine_has_no_file_of_the_firmware(tmp_path: Path, running: str, remedy: str) -> None:
    changes = {"proc/cmdline": running, "proc/device-tree/model": None, "proc/cpuinfo": "processor : 0"}
    finding = get_finding("memory limits", examine_board(tmp_path, changes, machine="x86_64"))
    assert remedy in finding.remedy
    assert "/boot/" not in finding.remedy


@pytest.mark.parametrize(
    ("throttled", "remedy"), [("0x1", "supply"), ("0x10004", "supply"), ("0x4", "heat sink")]
)
def test_a_weak_supply_and_heat_have_different_remedies(tmp_path: Path, throttled: str, remedy: str) -> None:
    assert remedy in get_finding("throttling", examine_board(tmp_path, throttled=throttled)).remedy


def test_a_newer_arm_cpu_runs_that_onnxruntime(tmp_path: Path) -> None:
    newer = ZERO_2_W["proc/cpuinfo"].replace("crc32 cpuid", "crc32 atomics asimddp cpuid")
    report = examine_board(tmp_path, {"proc/cpuinfo": newer}, onnxruntime="1.21.0")
    assert get_finding("libraries", report).level == "ok"


def test_a_machine_that_reports_nothing_is_examined(tmp_path: Path) -> None:
    device = describe_machine(tmp_path, "no-such-program")
    facts: dict[str, Any] = {**PROCESS, "machine": "x86_64"}
    device = dataclasses.replace(device, **facts)
    state = dataclasses.replace(
        read_recorded_state(tmp_path), platform="linux", pointer_bits=64, free_disk=1 << 40
    )
    report = examine_machine(device, state, IMPORTS_WORK, ENGINE_WORKS)
    assert get_finding("board", report).found == "not a known board"
    assert get_finding("throttling", report).found == "not a Raspberry Pi"
    assert report.fit


@pytest.mark.parametrize("text", ["", "\0\0", "garbage", "a: b\nMemTotal: many kB\n" * 3])
def test_invalid_files_are_no_errors(tmp_path: Path, text: str) -> None:
    report = examine_board(tmp_path, dict.fromkeys(ZERO_2_W, text), throttled=text.split("\n")[0].strip("\0"))
    assert len(report.findings) == 12


# --- libraries, imported in a child process ---


def child_command(code: str, *libraries: str) -> tuple[str, ...]:
    """Return the command of a child that prints `libraries` and then runs `code`."""
    prints = "".join(f"print({name!r}, flush=True); " for name in libraries)
    return (sys.executable, "-c", f"import os, signal, sys, time; {prints}{code}")


DEVICE = describe_machine(Path("/nowhere"), "no-such-program")


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("SIGILL", "install another version of onnxruntime"),
        ("SIGKILL", "ran out of memory"),
        ("SIGBUS", "SD card"),
        ("SIGSEGV", "install another version of onnxruntime"),
    ],
)
def test_a_library_that_kills_its_process(name: str, remedy: str) -> None:
    command = child_command(f"os.kill(os.getpid(), signal.{name})", "numpy", "onnxruntime")
    finding = check_libraries(DEVICE, command)
    assert finding.level == "bad"
    assert finding.found.startswith("importing onnxruntime ")
    assert finding.found.endswith(f"died with {name}")
    assert remedy in finding.remedy


def test_a_library_that_is_missing() -> None:
    finding = check_libraries(
        DEVICE, child_command("import sentencepiece_", "numpy", "onnxruntime", "sentencepiece")
    )
    assert finding.level == "bad"
    expected = "sentencepiece cannot be imported: ModuleNotFoundError: No module named 'sentencepiece_'"
    assert finding.found == expected
    assert finding.remedy == "pip install sentencepiece"


def test_onnxruntime_sends_no_telemetry() -> None:
    command = child_command("print({'1': 'imported'}[os.environ['ORT_DISABLE_TELEMETRY']])")
    assert check_libraries(DEVICE, command).level == "ok"


def test_a_child_without_output() -> None:
    finding = check_libraries(DEVICE, child_command("sys.exit(3)"))
    assert finding.found == "numpy cannot be imported: no reason given"


def test_a_child_that_does_not_report_all_imports() -> None:
    assert check_libraries(DEVICE, child_command("sys.exit(0)", *LIBRARIES)).level == "bad"


def test_a_python_that_does_not_start(tmp_path: Path) -> None:
    finding = check_libraries(DEVICE, (str(tmp_path / "python3"),))
    assert finding.level == "bad"
    assert finding.found == f"{tmp_path}/python3 cannot be started: No such file or directory"


def test_a_library_that_hangs() -> None:
    finding = check_libraries(DEVICE, child_command("time.sleep(60)", "numpy"), seconds=0.5)
    assert finding.level == "bad"
    assert "took more than 0.5 s" in finding.found


def test_the_real_child_imports_the_real_libraries() -> None:
    from importlib.metadata import version

    finding = check_libraries(dataclasses.replace(DEVICE, machine="x86_64"))
    assert finding == Finding("libraries", ", ".join(f"{name} {version(name)}" for name in LIBRARIES))


# --- output ---


def test_the_report_fits_one_screen(tmp_path: Path) -> None:
    lines = render(examine_board(tmp_path, throttled="0x50005", free_disk=MB)).splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 100
    assert lines[0].split()[:2] == ["ok", "board"]
    (index,) = (number for number, line in enumerate(lines) if line.startswith("bad      throttling"))
    assert lines[index + 1].lstrip() == "-> use a 5 V, 2.5 A supply and a short cable"
    assert lines[-1] == "fit: no"


def test_as_json(tmp_path: Path) -> None:
    value = json.loads(json.dumps(examine_board(tmp_path, free_disk=0).to_dict()))
    assert (value["schema"], value["fit"]) == ("tinyedge.doctor/1", False)
    assert value["device"]["model"] == "Raspberry Pi Zero 2 W Rev 1.0"
    disk = next(finding for finding in value["findings"] if finding["name"] == "disk")
    assert disk == {"name": "disk", "found": "0 MB free", "level": "bad", "way_out": "free some space"}


def test_the_command_prints_the_report_and_loads_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "sys.argv = ['tinyedge', 'doctor', '--json']\n"
        "from tinyedge.cli import main\n"
        "try:\n"
        "    main.main()\n"
        "finally:\n"
        "    heavy = {'numpy', 'onnxruntime', 'sentencepiece', 'torch'}\n"
        "    print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    value = json.loads(done.stdout)
    assert done.returncode == (0 if value["fit"] else 1)
    assert len(value["findings"]) == 12
    assert done.stderr.splitlines()[-1] == "[]"
