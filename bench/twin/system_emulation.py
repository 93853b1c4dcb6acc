"""The complete board: Debian's arm64 kernel with the board's memory and cores, booted from a disk image.

Memory is measured here, and gates on it are valid. Time is not: nothing that the guest's clock shows is kept.
"""

import base64
import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.twin.build import TOOLS_SUITE, make_system_tools, run_step
from bench.twin.debian import Archive, find_program
from bench.twin.layout import (
    BOARD,
    CORES,
    EMULATION,
    MB,
    MEMORY,
    OUTPUT_TAIL,
    SOURCES,
    Twin,
    TwinError,
    atomic_folder,
    checkout_environment,
    loader_command,
    require,
    run,
)
from bench.twin.self_check import find_wrong_instructions
from bench.twin.user_emulation import Guest
from tinyedge.core.engine import EngineChoice

MEMORY_TOLERANCE_MB = 8  # kernels differ in what they reserve
KERNEL = "linux-image-cloud-arm64"
TIMEOUT_S = 480
IMAGE_SIZE = "900M"
SAMPLES = 20  # of `tinyedge bench`, which is run for its memory, not its time
NO_LIMIT_MS = "1000000"
DISK = "nvme0n1"
SECTOR_BYTES = 512  # of /sys/block/*/stat, whatever the disk has
FIRST = ["--prompt", "Once upon a time", "--max-tokens", "1"]
GREEDY = ["--prompt", "Once upon a time there was", "--max-tokens", "20", "--temperature", "0", "--json"]

JOB_START = """\
to=/opt/results
run() { name=$1; shift; "$@" > $to/$name 2> $to/$name.errors; echo $? > $to/$name.code; }
cat /proc/meminfo > $to/meminfo
uname -r > $to/kernel
"""
JOB = f"""\
{JOB_START}\
run instructions python3 instructions.py
run doctor python3 -m tinyedge doctor --json
sync; echo 3 > /proc/sys/vm/drop_caches
cat /sys/block/{DISK}/stat > $to/reads-before
run first python3 -m tinyedge generate bundle {shlex.join(FIRST)}
cat /sys/block/{DISK}/stat > $to/reads-after
run generate python3 -m tinyedge generate greedy {shlex.join(GREEDY)}
run bench python3 -m tinyedge bench bundle --samples {SAMPLES} --max-p95-ms {NO_LIMIT_MS} --json $to/report
"""


@dataclass(frozen=True)
class BootResult:
    """Files that the job in the booted twin wrote."""

    files: Mapping[str, bytes]
    """Contents by name."""

    def exit_code(self, name: str) -> int:
        """The exit code of a step of the job. Raises TwinError if the step never ended."""
        if f"{name}.code" not in self.files:
            raise TwinError(f"the booted twin never ended `{name}`")
        return int(self.files[f"{name}.code"])

    def errors(self, name: str) -> str:
        """The end of a step's standard error."""
        return self.files[f"{name}.errors"].decode(errors="replace").strip()[-OUTPUT_TAIL:]

    @property
    def memory_bytes(self) -> int:
        """MemTotal, in bytes."""
        line = next(
            line for line in self.files["meminfo"].decode().splitlines() if line.startswith("MemTotal:")
        )
        return int(line.split()[1]) * 1024


@dataclass(frozen=True)
class DiskReads:
    """What a program read from the disk."""

    requests: int
    """Requests that the disk got; neighboring pages are one."""
    byte_count: int
    """Bytes of all requests, read-ahead of the kernel included."""

    @classmethod
    def between(cls, before: bytes, after: bytes) -> "DiskReads":
        """The difference of two contents of /sys/block/NAME/stat."""
        requests, sectors = (int(after.split()[field]) - int(before.split()[field]) for field in (0, 2))
        return cls(requests, sectors * SECTOR_BYTES)

    def to_dict(self) -> dict[str, Any]:
        """The counts, and the modelled seconds of the reads on the board's card."""
        seconds = require(BOARD.storage, BOARD, "storage").seconds(self.requests, self.byte_count)
        return {**asdict(self), "seconds_modelled": seconds}


def parse_console(text: str) -> BootResult:
    """Parse the output of the guest's init. Raises TwinError if it did not run to its end."""
    files: dict[str, bytes] = {}
    ended = False
    for line in text.splitlines():
        kind, *values = line.strip().split(" ")
        if kind == "twin-file":
            files[values[0]] = base64.b64decode(values[1] if len(values) > 1 else "")
        ended |= kind == "twin-end"
    if not ended:
        raise TwinError(f"the booted twin did not run to its end: {text.strip()[-OUTPUT_TAIL:]}")
    return BootResult(files)


def make_kernel(twin: Twin) -> None:
    """Unpack Debian's arm64 kernel."""
    with atomic_folder(twin.kernel) as folder:
        archive = Archive(twin.folder / "apt-kernel", TOOLS_SUITE, "arm64")
        archive.fetch_without_dependencies(archive.find_dependency(KERNEL, "linux-image-"))
        archive.unpack(folder)


def make_image(twin: Twin, job: str, bundles: Mapping[str, Path]) -> None:
    """Write the root as an ext4 disk image, with a job and its bundles; nothing is mounted.

    Args:
        twin: Whose root it is.
        job: A shell script, which /opt/init runs in /opt/work.
        bundles: Folders by the name that they get there.
    """
    work = twin.root / "opt" / "work"
    with atomic_folder(work) as folder:
        (folder / "job").write_text(job)
        shutil.copy(SOURCES / "guest" / "instructions.py", folder)
        for name, bundle in bundles.items():
            shutil.copytree(bundle, folder / name)
    shutil.copy(SOURCES / "guest" / "init", twin.root / "opt" / "init")
    (twin.root / "opt" / "init").chmod(0o755)
    twin.image.unlink(missing_ok=True)
    run([
        find_program("mke2fs"), "-q", "-t", "ext4", "-O", "^has_journal", "-E", "root_owner=0:0", "-m", "0",
        "-d", twin.root, twin.image, IMAGE_SIZE,
    ])  # fmt: skip


def boot(twin: Twin, timeout_s: float = TIMEOUT_S) -> BootResult:
    """Boot the disk image, which is not changed, and wait for the job's end.

    Raises:
        TwinError: If the job does not end within `timeout_s` seconds.
    """
    run_step("full-system QEMU", twin.system_tools, lambda: make_system_tools(twin))
    run_step("kernel", twin.kernel, lambda: make_kernel(twin))
    kernel = next((twin.kernel / "boot").glob("vmlinuz-*"))
    command = [
        *loader_command(twin.system_tools, "pi/qemu-system-aarch64"),
        "-L", str(twin.system_tools / "usr" / "share" / "qemu"),
        "-machine", "virt", "-cpu", EMULATION.cpu_model, "-smp", str(CORES), "-m", f"{EMULATION.memory_mb}M",
        "-nographic", "-nodefaults", "-no-reboot", "-serial", "stdio", "-monitor", "none",
        "-kernel", str(kernel), "-device", "nvme,drive=disk,serial=twin",
        "-drive", f"file={twin.image},if=none,id=disk,format=raw,snapshot=on",
        "-append", "console=ttyAMA0 root=/dev/nvme0n1 rw init=/opt/init panic=-1 quiet random.trust_cpu=on",
    ]  # fmt: skip
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            timeout=timeout_s, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as slow:
        output = (slow.stdout or b"").decode(errors="replace")[-OUTPUT_TAIL:]
        raise TwinError(f"the booted twin takes more than {timeout_s:.0f} s; its output: {output}") from None
    return parse_console(done.stdout.decode(errors="replace"))


def parse_json(output: bytes) -> Any:
    """The JSON that a command printed; None if it printed none, as a tinyedge without that command."""
    try:
        return json.loads(output)
    except ValueError:
        return None


def check_memory(total: int) -> None:
    """Check that MemTotal, in bytes, is the board's. Raises TwinError otherwise."""
    if abs(total / MB - MEMORY.usable_mb) > MEMORY_TOLERANCE_MB:
        raise TwinError(
            f"the booted twin has {total / MB:.0f} MB of memory, the board {MEMORY.usable_mb} MB",
            "change emulation.memory_mb in the board's file",
        )


def check_system(guest: Guest, bundle: Path, greedy_bundle: Path) -> dict[str, Any]:
    """Boot the board and run the product there.

    Args:
        guest: The twin.
        bundle: Folder of the bundle to measure.
        greedy_bundle: Folder of an fp32 bundle, whose greedy text is compared with this machine's.

    Returns:
        For the report: memory_total in bytes; kernel; the result of `tinyedge doctor`, which is no gate here
        because it evaluates a real board; engine and memory of `tinyedge bench`, and its memory gates; what a
        start of `tinyedge generate` reads from the disk if the kernel has no file in memory.

    Raises:
        TwinError: If a step behaves differently from the board.
    """
    make_image(guest.twin, JOB, {"bundle": bundle, "greedy": greedy_bundle})
    booted = boot(guest.twin)
    check_memory(booted.memory_bytes)
    for name in ("instructions", "first", "generate"):
        if code := booted.exit_code(name):
            raise TwinError(f"`{name}` in the booted twin exited with {code}: {booted.errors(name)}")
    if wrong := find_wrong_instructions(json.loads(booted.files["instructions"])):
        raise TwinError(f"the booted processor differs from the board's: {'; '.join(wrong)}")
    output = run(
        [sys.executable, "-m", "tinyedge", "generate", greedy_bundle.resolve(), *GREEDY],
        env=checkout_environment(),
    )
    there, here = json.loads(booted.files["generate"]), json.loads(output)
    if there["tokens"] != here["tokens"]:
        raise TwinError(
            f"`tinyedge generate` writes {there['text']!r} in the booted twin, {here['text']!r} here"
        )
    if "report" not in booted.files:
        code = booted.exit_code("bench")
        raise TwinError(f"`tinyedge bench` in the booted twin exited with {code}: {booted.errors('bench')}")
    report = json.loads(booted.files["report"])
    return {
        "memory_total": booted.memory_bytes,
        "kernel": booted.files["kernel"].decode().strip(),
        "doctor": {"exit_code": booted.exit_code("doctor"), "answer": parse_json(booted.files["doctor"])},
        "engine": EngineChoice(**report["device"]["engine"]).title,
        "memory": report["memory"],
        "first_start": DiskReads.between(booted.files["reads-before"], booted.files["reads-after"]).to_dict(),
        "memory_gates": [gate for gate in report["gates"] if gate["unit"] == "MB"],
    }
