"""The board's Python, run by QEMU's user mode: an emulated processor on this machine's kernel and files."""

import os
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.twin.counts import Counts, parse_counts
from bench.twin.cpu_model import CPU_MODEL
from bench.twin.layout import Twin, tool


@dataclass(frozen=True)
class Outcome:
    """How a program in the guest ended. returncode: as subprocess has it, minus the signal's number."""

    returncode: int
    output: bytes
    errors: str


@dataclass(frozen=True)
class Guest:
    """A twin whose Python can be run."""

    twin: Twin

    def environment(self, first: Sequence[Path] = ()) -> dict[str, str]:
        """All that the guest sees of an environment; nothing of the host's, so that counts repeat.

        first: folders of packages that win over those in the root.
        """
        paths = [*first, "/opt/tinyedge", "/opt/packages"]  # of the root; the twin's folder changes no count
        return {
            "PATH": "/usr/bin:/bin", "HOME": "/root", "LANG": "C.UTF-8",
            "PYTHONPATH": ":".join(map(str, paths)), "PYTHONNOUSERSITE": "1",
            "PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0",
            "PYTHONSAFEPATH": "1",  # `-m tinyedge` is the installed one, wherever this is started
        }  # fmt: skip

    def command(self, arguments: Sequence[str], plugin: Sequence[str] = ()) -> list[str]:
        """What runs the board's Python with `arguments`. plugin: QEMU's options for a plugin."""
        python = f"python{self.twin.python_version}"
        core = max(os.sched_getaffinity(0))  # one core: numpy's library starts a thread for each it sees
        return [
            # The same addresses in every run, so that the caches' model gives the same figures.
            "setarch", "--addr-no-randomize", "taskset", "--cpu-list", str(core),
            *tool(self.twin.tools, "pi/qemu-aarch64", self.twin.plugin if plugin else None),
            "-cpu", CPU_MODEL, "-seed", "1", "-L", str(self.twin.root), *plugin,
            "-0", f"/usr/bin/{python}", f"{self.twin.root}/usr/bin/{python}", *arguments,
        ]  # fmt: skip

    def run(self, arguments: Sequence[str], first: Sequence[Path] = ()) -> Outcome:
        """Runs the board's Python to its end."""
        done = subprocess.run(
            self.command(arguments), env=self.environment(first), capture_output=True, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        return Outcome(done.returncode, done.stdout, done.stderr.decode(errors="replace"))

    def count(self, arguments: Sequence[str], blocks: bool = False) -> tuple[Outcome, Counts]:
        """Runs the board's Python to its end, and counts. blocks: of each piece of code, too."""
        with tempfile.TemporaryDirectory() as folder:
            log = Path(folder) / "counts"
            options = f"{self.twin.plugin}" + (",blocks=on" if blocks else "")
            command = self.command(arguments, ["-d", "plugin", "-D", str(log), "-plugin", options])
            done = subprocess.run(
                command, env=self.environment(), capture_output=True, check=False, stdin=subprocess.DEVNULL
            )
            outcome = Outcome(done.returncode, done.stdout, done.stderr.decode(errors="replace"))
            return outcome, parse_counts(log.read_text() if log.exists() else "")
