"""The board's Python in QEMU's user mode: an emulated processor on this machine's kernel and files."""

import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.twin.counts import Counts, parse_counts
from bench.twin.layout import Twin, loader_command, require
from tinyedge.core.engine import VARIABLE


@dataclass(frozen=True)
class Outcome:
    """The result of a program in the guest."""

    returncode: int
    """Exit code; negative for a signal, as in subprocess."""
    output: bytes
    """Standard output."""
    errors: str
    """Standard error."""


@dataclass(frozen=True)
class Guest:
    """A twin that can run Python, or another program."""

    twin: Twin
    """Where it was built."""
    engine: str = ""
    """Name of the engine that its programs are told to use; empty if they choose."""
    root: Path | None = None
    """File system to run in; None for the twin's."""
    executable: str = ""
    """Program to run, a path in the file system; empty for the twin's Python."""

    def environment(self, package_folders: Sequence[Path] = ()) -> dict[str, str]:
        """The guest's complete environment, without any of the host's variables, so that counts repeat.

        Args:
            package_folders: Folders that take precedence over the packages in the root.
        """
        # Paths inside the root: the location of the twin's folder must not change a count.
        paths = [*package_folders, "/opt/tinyedge", "/opt/packages"]
        return {
            "PATH": "/usr/bin:/bin", "HOME": "/root", "LANG": "C.UTF-8",
            "PYTHONPATH": ":".join(map(str, paths)), "PYTHONNOUSERSITE": "1",
            "PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0",
            "PYTHONSAFEPATH": "1",  # `-m tinyedge` is the installed one, wherever this is started
            **({VARIABLE: self.engine} if self.engine else {}),
        }  # fmt: skip

    def command(self, arguments: Sequence[str], plugin: Sequence[str] = ()) -> list[str]:
        """The command that runs the board's Python, or the guest's program.

        Args:
            arguments: Arguments of the program.
            plugin: QEMU's options for a plugin.
        """
        root = self.root or self.twin.root
        program = self.executable or f"/usr/bin/python{self.twin.python_version}"
        emulation = require(self.twin.board.emulation, self.twin.board, "emulation")
        core = max(os.sched_getaffinity(0))  # one core: numpy's library starts a thread for each core it sees
        return [
            # The same addresses in every run, so that the caches' model gives the same figures.
            "setarch", "--addr-no-randomize", "taskset", "--cpu-list", str(core),
            *loader_command(self.twin.tools, "pi/qemu-aarch64", self.twin.plugin if plugin else None),
            "-cpu", emulation.cpu_model, "-seed", "1", "-L", str(root), *plugin,
            "-0", program, f"{root}{program}", *arguments,
        ]  # fmt: skip

    def run(
        self,
        arguments: Sequence[str],
        package_folders: Sequence[Path] = (),
        variables: Mapping[str, str] | None = None,
    ) -> Outcome:
        """Run the board's Python; arguments as in `command` and `environment`, with additional variables."""
        environment = {**self.environment(package_folders), **(variables or {})}
        done = subprocess.run(
            self.command(arguments),
            env=environment,
            capture_output=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        return Outcome(done.returncode, done.stdout, done.stderr.decode(errors="replace"))

    def count(
        self, arguments: Sequence[str], blocks: bool = False, variables: Mapping[str, str] | None = None
    ) -> tuple[Outcome, Counts]:
        """Run the board's Python, or the guest's program, and count.

        Args:
            arguments: Arguments of the program.
            blocks: Whether to count each piece of code too.
            variables: Environment, in addition to the usual one.

        Raises:
            TwinError: If a signal killed the program.
        """
        with tempfile.TemporaryDirectory() as folder:
            log = Path(folder) / "counts"
            options = f"{self.twin.plugin}" + (",blocks=on" if blocks else "")
            command = self.command(arguments, ["-d", "plugin", "-D", str(log), "-plugin", options])
            environment = {**self.environment(), **(variables or {})}
            done = subprocess.run(
                command, env=environment, capture_output=True, check=False, stdin=subprocess.DEVNULL
            )
            outcome = Outcome(done.returncode, done.stdout, done.stderr.decode(errors="replace"))
            return outcome, parse_counts(log.read_text() if log.exists() else "")
