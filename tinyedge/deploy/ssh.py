"""A board over ssh: one connection, commands whose words stay words, and folders copied to it.

In: user@host as ssh knows it. Knows OpenSSH's programs and nothing of kits or bundles. A user's text reaches
the board in two ways alone: quoted for a POSIX shell that reads its script from standard input, or as data.
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
KEEP_SECONDS = 60  # how long the connection stays open between two commands
SSH_FAILED = 255
# The end of a destination: a name, an address, or one in ssh's own configuration. ssh itself takes more, and
# some of it has been run by a shell (CVE-2023-51385).
DESTINATION = re.compile(
    r"(?:[A-Za-z0-9_][A-Za-z0-9._-]*@)?(?:[A-Za-z0-9_][A-Za-z0-9._-]*|[0-9A-Fa-f:]+(?:%\w+)?)"
)
REASONS = {
    "Could not resolve hostname": ("its name is not known", "check the name, or use the address"),
    "Permission denied": ("it refuses this user and key", "check user@, --identity, or run: ssh-copy-id"),
    "Too many authentication failures": ("it refuses all keys", "name the right one with --identity"),
    "REMOTE HOST IDENTIFICATION HAS CHANGED": (
        "its host key is not the one that was seen before",
        "if the card was written anew: ssh-keygen -R HOST; if not, somebody may be in between",
    ),
    "Host key verification failed": ("its host key is not known", "log in once with ssh and compare the key"),
    "Connection refused": (
        "no ssh server answers there",
        "check --port; on the board: sudo systemctl enable --now ssh",
    ),
    "timed out": ("it does not answer", "is it on, and in this network?"),
    "No route to host": ("there is no way to it", "is it on, and in this network?"),
    "Network is unreachable": ("there is no way to it", "is this machine in a network?"),
    "Connection closed": ("it closed the connection", "look at its log: journalctl -u ssh"),
}


@dataclass(frozen=True)
class Done:
    """How a command on the board ended."""

    code: int
    output: str
    errors: str


class Remote:
    """A connection; `with` ends it. ssh asks for passwords on the terminal, once.

    destination: user@host or host. port, identity: as ssh's -p and -i. config: another ssh configuration.
    Raises UsageError for a destination that ssh could take for something else.
    """

    def __init__(
        self,
        destination: str,
        port: int | None = None,
        identity: Path | None = None,
        config: Path | None = None,
    ) -> None:
        if not DESTINATION.fullmatch(destination):
            raise UsageError(f"{destination!a} is not user@host", "as in pi@raspberrypi.local")
        if shutil.which("ssh") is None:
            raise DeployError("ssh is not installed", "on Debian: sudo apt install openssh-client")
        self.destination = destination
        # Short, because a socket's path may have 107 bytes; private, because who opens it is on the board.
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

    def run(self, script: str, *arguments: str) -> Done:
        """Runs a POSIX shell script on the board; `arguments` are its "$1" and so on.

        Raises DeployError where the board cannot be reached.
        """
        done = subprocess.run(
            self._command("exec sh -s"), input=_script(script, arguments), capture_output=True, check=False,
            env=_environment(),
        )  # fmt: skip
        errors = done.stderr.decode(errors="replace")
        if done.returncode == SSH_FAILED:
            raise self._unreachable(errors)
        return Done(done.returncode, done.stdout.decode(errors="replace"), errors)

    def show(self, script: str, *arguments: str) -> int:
        """Runs a script as `run` does, with its output on this terminal; its exit code."""
        done = subprocess.run(
            self._command("exec sh -s"), input=_script(script, arguments), check=False, env=_environment()
        )
        if done.returncode == SSH_FAILED:
            raise DeployError(
                f"the connection to {self.destination} was lost", "run the same command again: it goes on"
            )
        return done.returncode

    def copy(
        self, source: Path, target: str, left_out: Collection[str], progress: Callable[[int], None]
    ) -> None:
        """Makes the folder `target` on the board equal to `source`, without the files `left_out`.

        left_out: paths inside `source`. progress: told the bytes that went, where tar does the work; rsync
        draws its own. Raises DeployError where it fails; `target` may then be half made.
        """
        if _can_rsync() and self.run("command -v rsync >/dev/null").code == 0:
            self._rsync(source, target, left_out)
        else:
            self._tar(source, target, left_out, progress)

    def _rsync(self, source: Path, target: str, left_out: Collection[str]) -> None:
        # --protect-args: the board's shell never sees the target's name.
        command = [
            "rsync",
            "--recursive",
            "--times",
            "--perms",
            "--delete",
            "--delete-excluded",
            "--protect-args",
        ]
        command += [f"--exclude=/{name}" for name in sorted(left_out)]
        command += ["--info=progress2"] if os.isatty(2) else []
        shell = shlex.join(self._ssh)
        host = self.destination if ":" not in self.destination else self._bracketed()
        done = subprocess.run(
            [*command, "--rsh", shell, "--", f"{source}/", f"{host}:{target}/"],
            stdin=subprocess.DEVNULL, stdout=2, stderr=subprocess.PIPE, check=False, env=_environment(),
        )  # fmt: skip
        if done.returncode:
            raise self._not_copied(done.stderr.decode(errors="replace"))

    def _bracketed(self) -> str:
        user, at, host = self.destination.rpartition("@")
        return f"{user}{at}[{host}]"

    def _tar(
        self, source: Path, target: str, left_out: Collection[str], progress: Callable[[int], None]
    ) -> None:
        # The name comes first on standard input, a line that `read` takes byte by byte; the archive follows.
        unpack = 'IFS= read -r to && rm -rf "$to" && mkdir -p "$to" && exec tar -xf - -C "$to"'
        with subprocess.Popen(
            self._command(f"exec sh -c {shlex.quote(unpack)}"),
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=_environment(),
        ) as child:  # fmt: skip
            assert child.stdin is not None
            assert child.stderr is not None
            try:
                child.stdin.write(target.encode() + b"\n")
                with tarfile.open(fileobj=child.stdin, mode="w|") as archive:
                    _add(archive, source, left_out, progress)
                child.stdin.close()
            except BrokenPipeError:
                pass  # the board says why
            errors = child.stderr.read().decode(errors="replace")
        if child.returncode:
            raise self._not_copied(errors)

    def _command(self, remote: str) -> list[str]:
        return [*self._ssh, "-T", "--", self.destination, remote]

    def _unreachable(self, errors: str) -> DeployError:
        for sign, (reason, hint) in REASONS.items():
            if sign in errors:
                return DeployError(f"{self.destination} cannot be reached: {reason}", hint)
        return DeployError(f"{self.destination} cannot be reached: {_last(errors)}", "try it with ssh itself")

    def _not_copied(self, errors: str) -> DeployError:
        if "No space left" in errors or "Disk quota exceeded" in errors:
            return DeployError(
                f"{self.destination} has no space left", "free some space there, and try again"
            )
        return DeployError(
            f"the kit cannot be copied to {self.destination}: {_last(errors)}",
            "run the same command again: it goes on",
        )


def _can_rsync() -> bool:
    """Whether there is one here that knows what is asked of it; another program of that name does not."""
    known = ["rsync", "--protect-args", "--info=progress2", "--version"]
    return shutil.which("rsync") is not None and not subprocess.run(known, capture_output=True).returncode


def _add(
    archive: tarfile.TarFile, source: Path, left_out: Collection[str], progress: Callable[[int], None]
) -> None:
    sent = 0
    for path in sorted(source.rglob("*")):
        name = str(path.relative_to(source))
        if name in left_out:
            continue
        entry = archive.gettarinfo(path, name)
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = ""
        with _content(path) as content:
            archive.addfile(entry, content)
        sent += entry.size
        progress(sent)


def _content(path: Path) -> IO[bytes]:
    return Path(os.devnull if path.is_dir() else path).open("rb")


def _script(script: str, arguments: Sequence[str]) -> bytes:
    """As `sh -s` reads it: the login shell, whichever it is, sees none of it."""
    return f"set -- {shlex.join(arguments)}\n{script}\n".encode()


def _environment() -> dict[str, str]:
    return {**os.environ, "LC_ALL": "C"}  # for what ssh and rsync say


def _last(errors: str) -> str:
    lines = [line for line in errors.strip().splitlines() if line.strip()]
    return ascii(lines[-1].strip())[1:-1] if lines else "it does not say why"
