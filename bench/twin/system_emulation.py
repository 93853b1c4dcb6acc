"""The whole board: Debian's arm64 kernel with the board's memory and cores, booted from the root as a disk.

Memory is real here, and so is every verdict on it. Time is not: nothing that the guest's clock says is kept.
"""

import base64
import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.twin import cpu_model
from bench.twin.build import TOOLS_SUITE, make_system_tools, step
from bench.twin.debian import Archive, program
from bench.twin.layout import SOURCES, TAIL, Twin, TwinError, checkout_environment, run, tool, whole
from bench.twin.self_check import wrong_instructions
from bench.twin.user_emulation import Guest

MEMORY = "450M"  # MemTotal is then 416 MiB, as a Zero 2 W reports with the default share for its GPU
KERNEL = "linux-image-cloud-arm64"
LIMIT_S = 480
IMAGE_SIZE = "900M"
SAMPLES = 20  # of `tinyedge bench`, whose memory is wanted and not its time
NO_LIMIT_MS = "1000000"
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
run generate python3 -m tinyedge generate greedy {shlex.join(GREEDY)}
run bench python3 -m tinyedge bench bundle --samples {SAMPLES} --max-p95-ms {NO_LIMIT_MS} --json $to/report
"""


@dataclass(frozen=True)
class Booted:
    """What the job left: each file by its name."""

    files: Mapping[str, bytes]

    def code(self, name: str) -> int:
        """The exit code of a step of the job. Raises TwinError where it never ended."""
        if f"{name}.code" not in self.files:
            raise TwinError(f"the booted twin never ended `{name}`")
        return int(self.files[f"{name}.code"])

    def errors(self, name: str) -> str:
        """The end of what a step said on standard error."""
        return self.files[f"{name}.errors"].decode(errors="replace").strip()[-TAIL:]

    @property
    def memory_bytes(self) -> int:
        """MemTotal."""
        line = next(
            line for line in self.files["meminfo"].decode().splitlines() if line.startswith("MemTotal:")
        )
        return int(line.split()[1]) * 1024


def parse_console(text: str) -> Booted:
    """Reads what the guest's init prints. Raises TwinError where it did not come to its end."""
    files, ended = {}, False
    for line in text.splitlines():
        kind, *values = line.strip().split(" ")
        if kind == "twin-file":
            files[values[0]] = base64.b64decode(values[1] if len(values) > 1 else "")
        ended |= kind == "twin-end"
    if not ended:
        raise TwinError(f"the booted twin did not come to its end: {text.strip()[-TAIL:]}")
    return Booted(files)


def make_kernel(twin: Twin) -> None:
    """Debian's arm64 kernel."""
    with whole(twin.kernel) as folder:
        archive = Archive(twin.folder / "apt-kernel", TOOLS_SUITE, "arm64")
        archive.fetch_alone(archive.dependency(KERNEL, "linux-image-"))
        archive.unpack(folder)


def make_image(twin: Twin, job: str, bundles: Mapping[str, Path]) -> None:
    """The root with a job and its bundles, by their names there, as an ext4 disk; nothing is mounted."""
    work = twin.root / "opt" / "work"
    with whole(work) as folder:
        (folder / "job").write_text(job)
        shutil.copy(SOURCES / "guest" / "instructions.py", folder)
        for name, bundle in bundles.items():
            shutil.copytree(bundle, folder / name)
    shutil.copy(SOURCES / "guest" / "init", twin.root / "opt" / "init")
    (twin.root / "opt" / "init").chmod(0o755)
    twin.image.unlink(missing_ok=True)
    run([
        program("mke2fs"), "-q", "-t", "ext4", "-O", "^has_journal", "-E", "root_owner=0:0", "-m", "0",
        "-d", twin.root, twin.image, IMAGE_SIZE,
    ])  # fmt: skip


def boot(twin: Twin, limit_s: float = LIMIT_S) -> Booted:
    """Boots the disk, which stays as it is, and waits for the job's end, at most `limit_s` seconds."""
    step("full-system QEMU", twin.system_tools, lambda: make_system_tools(twin))
    step("kernel", twin.kernel, lambda: make_kernel(twin))
    kernel = next((twin.kernel / "boot").glob("vmlinuz-*"))
    command = [
        *tool(twin.system_tools, "pi/qemu-system-aarch64"),
        "-L", str(twin.system_tools / "usr" / "share" / "qemu"),
        "-machine", "virt", "-cpu", cpu_model.CPU_MODEL, "-smp", str(cpu_model.CORES), "-m", MEMORY,
        "-nographic", "-nodefaults", "-no-reboot", "-serial", "stdio", "-monitor", "none",
        "-kernel", str(kernel), "-device", "nvme,drive=disk,serial=twin",
        "-drive", f"file={twin.image},if=none,id=disk,format=raw,snapshot=on",
        "-append", "console=ttyAMA0 root=/dev/nvme0n1 rw init=/opt/init panic=-1 quiet random.trust_cpu=on",
    ]  # fmt: skip
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            timeout=limit_s, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as slow:
        said = (slow.stdout or b"").decode(errors="replace")[-TAIL:]
        raise TwinError(f"the booted twin takes more than {limit_s:.0f} s; it said: {said}") from None
    return parse_console(done.stdout.decode(errors="replace"))


def answer(output: bytes) -> Any:
    """The JSON that a command printed; None where it printed none, as a tinyedge without that command."""
    try:
        return json.loads(output)
    except ValueError:
        return None


def check_system(guest: Guest, bundle: Path, greedy_bundle: Path) -> dict[str, Any]:
    """Boots the board and runs the product there. Raises TwinError where a step does not do as on the board.

    Returns, for the report: memory_total, kernel, what `tinyedge doctor` answers (it judges a real board, so
    that it gates nothing here), the memory of `tinyedge bench` and its gates.
    """
    make_image(guest.twin, JOB, {"bundle": bundle, "greedy": greedy_bundle})
    booted = boot(guest.twin)
    for name in ("instructions", "generate"):
        if code := booted.code(name):
            raise TwinError(f"`{name}` in the booted twin exits with {code}: {booted.errors(name)}")
    if wrong := wrong_instructions(json.loads(booted.files["instructions"])):
        raise TwinError(f"the booted processor is not the board's: {'; '.join(wrong)}")
    here = run(
        [sys.executable, "-m", "tinyedge", "generate", greedy_bundle.resolve(), *GREEDY],
        env=checkout_environment(),
    )
    theirs, ours = json.loads(booted.files["generate"]), json.loads(here)
    if theirs["tokens"] != ours["tokens"]:
        raise TwinError(
            f"`tinyedge generate` writes {theirs['text']!r} in the booted twin, {ours['text']!r} here"
        )
    if "report" not in booted.files:
        raise TwinError(
            f"`tinyedge bench` in the booted twin exits with {booted.code('bench')}: {booted.errors('bench')}"
        )
    report = json.loads(booted.files["report"])
    return {
        "memory_total": booted.memory_bytes,
        "kernel": booted.files["kernel"].decode().strip(),
        "doctor": {"exit_code": booted.code("doctor"), "answer": answer(booted.files["doctor"])},
        "memory": report["memory"],
        "memory_gates": [gate for gate in report["gates"] if gate["unit"] == "MB"],
    }
