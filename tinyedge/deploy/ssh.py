"""A board over SSH: one shared connection, commands with safely quoted arguments, and folder copies.

In: user@host as ssh accepts it. Out: results of commands. Knows OpenSSH's programs. Does not know kits or
bundles. Text from the user reaches the board only as data, never as a part of a command line. What a board
sends is bounded in time and size.
"""

import contextlib
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from tinyedge.core.errors import DeployError, UsageError
from tinyedge.deploy import folder_copy, ssh_errors
from tinyedge.deploy.bounded_child import BoundedChild
from tinyedge.deploy.marked_script import COMMAND, MarkedScript

CONNECT_SECONDS = 15
KEEP_SECONDS = 60  # the connection stays open this long between two commands
COMMAND_SECONDS = (
    60.0  # for a command that only reads the board; a Python from a cold SD card needs about 3 s
)
# Installation and measurement take minutes on a board, an hour under emulation.
INSTALL_SECONDS = 2 * 3600.0
OUTPUT_BYTES = 1 << 20  # of a command
SHOWN_BYTES = 1 << 23  # of a command whose output is shown
CLOSE_SECONDS = (
    5.0  # for a session to end after its command; a background job of a start-up file keeps it open
)
# user@ and a host name, an address, or an alias of ssh's configuration. ssh itself accepts more, and passed
# some of it to a shell (CVE-2023-51385).
DESTINATION = re.compile(
    r"(?:[A-Za-z0-9_][A-Za-z0-9._-]*@)?(?:[A-Za-z0-9_][A-Za-z0-9._-]*|[0-9A-Fa-f:]+(?:%\w+)?)"
)
# Settings of the user's configuration that a command without a terminal cannot work with, or that print.
OPTIONS = {
    "RemoteCommand": "none",
    "RequestTTY": "no",
    "PermitLocalCommand": "no",
    "ClearAllForwardings": "yes",
    "ForwardX11": "no",
    "Tunnel": "no",
    "VisualHostKey": "no",
    "LogLevel": "ERROR",  # errors have reasons; a banner and warnings are not among them
    "ConnectTimeout": str(CONNECT_SECONDS),
    "ServerAliveInterval": "15",
    "ServerAliveCountMax": "4",
    "ControlMaster": "auto",
    "ControlPersist": str(KEEP_SECONDS),
}
# OpenSSH 8.7 introduced these; an older one refuses them.
NEWER_OPTIONS = {"SessionType": "default", "StdinNull": "no", "ForkAfterAuthentication": "no"}


@dataclass(frozen=True)
class RemoteResult:
    """Result of a command on the board."""

    code: int
    """Exit code."""
    output: str
    """Standard output."""
    errors: str
    """Standard error."""
    has_noise: bool = False
    """Whether the account's start-up files printed something on standard output."""


class Remote:
    """A connection to a board, as a context manager. ssh asks for a password on the terminal, once."""

    def __init__(
        self,
        destination: str,
        port: int | None = None,
        identity: Path | None = None,
        config: Path | None = None,
    ) -> None:
        """Prepare a connection; the first command opens it.

        Args:
            destination: user@host or host.
            port: Port of the SSH server, as `ssh -p`.
            identity: Private key, as `ssh -i`.
            config: An SSH configuration file to use instead of the user's, as `ssh -F`.

        Raises:
            UsageError: The destination is not a host that ssh reads without ambiguity.
            DeployError: ssh is not installed.
        """
        if not DESTINATION.fullmatch(destination):
            raise UsageError(f"{destination!a} is not user@host", "example: pi@raspberrypi.local")
        if shutil.which("ssh") is None:
            raise DeployError("ssh is not installed", "on Debian: sudo apt install openssh-client")
        self.destination = destination
        # Short: the path of a socket is limited to 107 bytes. Private: the socket gives access to the board.
        self._folder = tempfile.TemporaryDirectory(prefix="te-", dir="/tmp")
        options = {**OPTIONS, "ControlPath": f"{self._folder.name}/%C"}
        if _has_newer_options():
            options |= NEWER_OPTIONS
        self._ssh = ["ssh", *(["-F", str(config)] if config else []), *(["-p", str(port)] if port else [])]
        self._ssh += ["-i", str(identity)] if identity else []
        self._ssh += _format_options(options)

    def __enter__(self) -> "Remote":
        return self

    def __exit__(self, *ignored: object) -> None:
        command = [*self._ssh, "-O", "exit", "--", self.destination]
        with contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run(command, capture_output=True, check=False, timeout=CONNECT_SECONDS)
        self._folder.cleanup()

    def run(self, script: str, *arguments: str, seconds: float = COMMAND_SECONDS) -> RemoteResult:
        """Run a POSIX shell script on the board.

        Args:
            script: The script. It gets an empty standard input.
            arguments: Its positional parameters "$1", "$2" and so on.
            seconds: Time limit.

        Raises:
            DeployError: The board cannot be reached, does not run commands, or exceeds the limits of time and
                output.
        """
        marked = MarkedScript(script, arguments)
        code = self._run(marked, seconds, OUTPUT_BYTES)
        output, errors = marked.output, marked.errors
        return RemoteResult(code, output.content, errors.content, bool(output.noise.strip()))

    def run_visibly(self, script: str, *arguments: str, seconds: float = INSTALL_SECONDS) -> int:
        """Run a script as `run` does, with its output on this terminal, and return its exit code."""
        return self._run(MarkedScript(script, arguments, (sys.stdout, sys.stderr)), seconds, SHOWN_BYTES)

    def _run(self, marked: MarkedScript, seconds: float, limit: int) -> int:
        """Run a script and return its exit code; raise DeployError if it did not run to its end."""
        with BoundedChild(self._command(COMMAND), seconds, limit) as child:
            child.write(marked.stdin)
            child.close_input()
            for descriptor, chunk in child.read_chunks():
                marked.add(descriptor, chunk)
                if marked.has_ended:
                    child.wait(CLOSE_SECONDS)
                    break
            output, errors = marked.output, marked.errors
            if output.code is not None:
                return output.code
            if child.ended_by:
                said = (output.content, errors.content) if output.has_begun else (output.noise, errors.noise)
                raise ssh_errors.explain_limit(self.destination, child.ended_by, seconds, *said)
            code = child.wait(seconds)
        if output.has_begun:
            raise ssh_errors.explain_lost_connection(self.destination, code)
        if code == ssh_errors.SSH_FAILED and (errors.noise.strip() or not output.noise.strip()):
            raise ssh_errors.explain_connection(self.destination, errors.noise)
        raise ssh_errors.explain_no_shell(self.destination, output.noise, errors.noise)

    def copy(
        self,
        source: Path,
        target: str,
        excluded: Collection[str],
        progress: Callable[[int], None],
        present: Collection[str] | None = None,
    ) -> None:
        """Make a folder on the board equal to a local one, with rsync or else with tar.

        Args:
            source: The local folder.
            target: The folder on the board.
            excluded: Files to exclude, as paths inside `source`.
            progress: Receives the bytes sent so far with tar; rsync draws its own progress.
            present: Files that need not be sent with tar, see `find_present`; None looks for them.

        Raises:
            DeployError: The copy failed; `target` may then be incomplete.
        """
        if folder_copy.can_rsync():
            found = self.run("command -v rsync >/dev/null")
            # rsync mistakes what a start-up file prints for its protocol.
            if found.code == 0 and not found.has_noise:
                host = self.destination if ":" not in self.destination else self._bracket_host()
                if folder_copy.copy_with_rsync(self._ssh, host, source, target, excluded):
                    return
        if present is None:
            present = self.find_present(source, target)
        folder_copy.copy_with_tar(
            self._command(), self.destination, source, target, excluded, present, progress
        )

    def find_present(self, source: Path, target: str) -> set[str]:
        """Find the large files of a local folder that a folder on the board has already, by their digests.

        Args:
            source: The local folder.
            target: The folder on the board; it need not exist.

        Returns:
            Their paths inside `source`.
        """
        script = 'cd -- "$1" 2>/dev/null && find . -type f -exec sha256sum -- {} +'
        found = self.run(script, target, seconds=folder_copy.STALL_SECONDS)
        return folder_copy.find_present(source, found.output)

    def _bracket_host(self) -> str:
        """Put an IPv6 address in brackets: rsync treats a bare colon as the end of the host."""
        user, at, host = self.destination.rpartition("@")
        return f"{user}{at}[{host}]"

    def _command(self, *remote: str) -> list[str]:
        return [*self._ssh, "-T", "--", self.destination, *remote]


def _format_options(options: Mapping[str, str]) -> list[str]:
    return [word for name, value in options.items() for word in ("-o", f"{name}={value}")]


def _has_newer_options() -> bool:
    """Return whether ssh knows the options of OpenSSH 8.7, which an older one refuses."""
    command = ["ssh", "-G", "-F", "none", *_format_options(NEWER_OPTIONS), "localhost"]
    return not subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, check=False).returncode
