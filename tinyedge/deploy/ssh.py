"""A board over SSH: one shared connection, commands with safely quoted arguments, and folder copies.

In: user@host as ssh accepts it. Out: results of commands. Knows OpenSSH's programs. Does not know kits or
bundles. Text from the user reaches the board only as data, or quoted for a POSIX shell that reads its script
from standard input.
"""

import os
import re
import shlex
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tinyedge.core.errors import DeployError, UsageError

CONNECT_SECONDS = 15
KEEP_SECONDS = 60  # the connection stays open this long between two commands
SSH_FAILED = 255
# user@ and a host name, an address, or an alias of ssh's configuration. ssh itself accepts more, and passed
# some of it to a shell (CVE-2023-51385).
DESTINATION = re.compile(
    r"(?:[A-Za-z0-9_][A-Za-z0-9._-]*@)?(?:[A-Za-z0-9_][A-Za-z0-9._-]*|[0-9A-Fa-f:]+(?:%\w+)?)"
)
REASONS = {
    "Could not resolve hostname": ("its name cannot be resolved", "check the name, or use the address"),
    "Permission denied": ("it refuses this user and key", "check user@, --identity, or run: ssh-copy-id"),
    "Too many authentication failures": ("it refuses all keys", "select the right one with --identity"),
    "REMOTE HOST IDENTIFICATION HAS CHANGED": (
        "its host key has changed",
        "after a new installation of its system: ssh-keygen -R HOST; else the connection may be intercepted",
    ),
    "Host key verification failed": ("its host key is unknown", "log in once with ssh and compare the key"),
    "Connection refused": (
        "no SSH server listens on this port",
        "check --port; on the board: sudo systemctl enable --now ssh",
    ),
    "timed out": ("it does not answer", "is it switched on, and in this network?"),
    "No route to host": ("there is no route to it", "is it switched on, and in this network?"),
    "Network is unreachable": ("there is no route to it", "is this machine connected to a network?"),
    "Connection closed": ("it closed the connection", "see its log: journalctl -u ssh"),
}


@dataclass(frozen=True)
class RemoteResult:
    """Result of a command on the board."""

    code: int
    """Exit code."""
    output: str
    """Standard output."""
    errors: str
    """Standard error."""


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
        options = {
            "ControlMaster": "auto",
            "ControlPath": f"{self._folder.name}/%C",
            "ControlPersist": str(KEEP_SECONDS),
            "ConnectTimeout": str(CONNECT_SECONDS),
            "ServerAliveInterval": "15",
        }
        self._ssh = ["ssh", *(["-F", str(config)] if config else []), *(["-p", str(port)] if port else [])]
        self._ssh += ["-i", str(identity)] if identity else []
        self._ssh += [word for name, value in options.items() for word in ("-o", f"{name}={value}")]

    def __enter__(self) -> "Remote":
        return self

    def __exit__(self, *ignored: object) -> None:
        subprocess.run([*self._ssh, "-O", "exit", "--", self.destination], capture_output=True, check=False)
        self._folder.cleanup()

    def run(self, script: str, *arguments: str) -> RemoteResult:
        """Run a POSIX shell script on the board.

        Args:
            script: The script.
            arguments: Its positional parameters "$1", "$2" and so on.

        Raises:
            DeployError: The board cannot be reached.
        """
        result = subprocess.run(
            self._command("exec sh -s"),
            input=_format_script(script, arguments),
            capture_output=True,
            check=False,
            env=_make_environment(),
        )
        errors = result.stderr.decode(errors="replace")
        if result.returncode == SSH_FAILED:
            raise self._explain_connection_error(errors)
        return RemoteResult(result.returncode, result.stdout.decode(errors="replace"), errors)

    def run_visibly(self, script: str, *arguments: str) -> int:
        """Run a script as `run` does, with its output on this terminal, and return its exit code."""
        result = subprocess.run(
            self._command("exec sh -s"),
            input=_format_script(script, arguments),
            check=False,
            env=_make_environment(),
        )
        if result.returncode == SSH_FAILED:
            raise DeployError(
                f"the connection to {self.destination} was lost",
                "run the same command again: it continues",
            )
        return result.returncode

    def copy(
        self, source: Path, target: str, excluded: Collection[str], progress: Callable[[int], None]
    ) -> None:
        """Make a folder on the board equal to a local one, with rsync or else with tar.

        Args:
            source: The local folder.
            target: The folder on the board.
            excluded: Files to exclude, as paths inside `source`.
            progress: Receives the bytes sent so far with tar; rsync draws its own progress.

        Raises:
            DeployError: The copy failed; `target` may then be incomplete.
        """
        if _can_rsync() and self.run("command -v rsync >/dev/null").code == 0:
            self._copy_with_rsync(source, target, excluded)
        else:
            self._copy_with_tar(source, target, excluded, progress)

    def _copy_with_rsync(self, source: Path, target: str, excluded: Collection[str]) -> None:
        # --protect-args: the board's shell does not interpret the target's name.
        command = [
            "rsync",
            "--recursive",
            "--times",
            "--perms",
            "--delete",
            "--delete-excluded",
            "--protect-args",
        ]
        command += [f"--exclude=/{name}" for name in sorted(excluded)]
        command += ["--info=progress2"] if os.isatty(2) else []
        shell = shlex.join(self._ssh)
        host = self.destination if ":" not in self.destination else self._bracket_host()
        result = subprocess.run(
            [*command, "--rsh", shell, "--", f"{source}/", f"{host}:{target}/"],
            stdin=subprocess.DEVNULL, stdout=2, stderr=subprocess.PIPE, check=False, env=_make_environment(),
        )  # fmt: skip
        if result.returncode:
            raise self._explain_copy_error(result.stderr.decode(errors="replace"))

    def _bracket_host(self) -> str:
        """Put an IPv6 address in brackets: rsync treats a bare colon as the end of the host."""
        user, at, host = self.destination.rpartition("@")
        return f"{user}{at}[{host}]"

    def _copy_with_tar(
        self, source: Path, target: str, excluded: Collection[str], progress: Callable[[int], None]
    ) -> None:
        # The first line of standard input is the target's name; `read` does not read past it.
        unpack = 'IFS= read -r to && rm -rf "$to" && mkdir -p "$to" && exec tar -xf - -C "$to"'
        with subprocess.Popen(
            self._command(f"exec sh -c {shlex.quote(unpack)}"),
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=_make_environment(),
        ) as child:  # fmt: skip
            assert child.stdin is not None
            assert child.stderr is not None
            try:
                child.stdin.write(target.encode() + b"\n")
                with tarfile.open(fileobj=child.stdin, mode="w|") as archive:
                    _add_files(archive, source, excluded, progress)
                child.stdin.close()
            except BrokenPipeError:
                pass  # standard error has the reason
            errors = child.stderr.read().decode(errors="replace")
        if child.returncode:
            raise self._explain_copy_error(errors)

    def _command(self, remote: str) -> list[str]:
        return [*self._ssh, "-T", "--", self.destination, remote]

    def _explain_connection_error(self, errors: str) -> DeployError:
        for sign, (reason, hint) in REASONS.items():
            if sign in errors:
                return DeployError(f"{self.destination} cannot be reached: {reason}", hint)
        return DeployError(
            f"{self.destination} cannot be reached: {_get_last_line(errors)}", "try to connect with ssh"
        )

    def _explain_copy_error(self, errors: str) -> DeployError:
        if "No space left" in errors or "Disk quota exceeded" in errors:
            return DeployError(f"{self.destination} has no space left", "free some space there and try again")
        return DeployError(
            f"the kit cannot be copied to {self.destination}: {_get_last_line(errors)}",
            "run the same command again: it continues",
        )


def _can_rsync() -> bool:
    """Return whether rsync is installed with the options used here, which other rsync programs lack."""
    command = ["rsync", "--protect-args", "--info=progress2", "--version"]
    return shutil.which("rsync") is not None and not subprocess.run(command, capture_output=True).returncode


def _add_files(
    archive: tarfile.TarFile, source: Path, excluded: Collection[str], progress: Callable[[int], None]
) -> None:
    sent = 0
    for path in sorted(source.rglob("*")):
        name = str(path.relative_to(source))
        if name in excluded:
            continue
        entry = archive.gettarinfo(path, name)
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = ""
        with _open_content(path) as content:
            archive.addfile(entry, content)
        sent += entry.size
        progress(sent)


def _open_content(path: Path) -> IO[bytes]:
    """Open a file; for a folder, return an empty one."""
    return Path(os.devnull if path.is_dir() else path).open("rb")


def _format_script(script: str, arguments: Sequence[str]) -> bytes:
    """Format a script with its arguments for `sh -s`: the login shell interprets none of it."""
    return f"set -- {shlex.join(arguments)}\n{script}\n".encode()


def _make_environment() -> dict[str, str]:
    return {**os.environ, "LC_ALL": "C"}  # English messages of ssh and rsync, see REASONS


def _get_last_line(errors: str) -> str:
    lines = [line for line in errors.strip().splitlines() if line.strip()]
    return ascii(lines[-1].strip())[1:-1] if lines else "no error message"
