"""A real ssh server on loopback, as an ordinary process with keys and a configuration of its own."""

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROGRAM = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
WAIT_S = 20.0
# Not that of a virtual environment, which a board has none of.
BASE_PYTHON = str(Path(sys.base_prefix) / "bin" / f"python{sys.version_info[0]}.{sys.version_info[1]}")


@dataclass(frozen=True)
class Server:
    """A running server. home: of whoever logs in. path: PATH there."""

    folder: Path
    port: int

    @property
    def destination(self) -> str:
        return f"{getpass.getuser()}@127.0.0.1"

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def programs(self) -> Path:
        """What the board has in its PATH: links, which a test may remove."""
        return self.folder / "bin"

    @property
    def identity(self) -> Path:
        return self.folder / "identity"

    @property
    def config(self) -> Path:
        """For the client: nothing of this machine's, and the server's key known."""
        return self.folder / "ssh_config"

    @property
    def flags(self) -> list[str]:
        """For `tinyedge deploy`."""
        flags = ["--port", self.port, "--identity", self.identity, "--ssh-config", self.config]
        return list(map(str, flags))


def missing() -> str:
    """Why there can be no server here, or nothing."""
    for name, found in (
        ("sshd", PROGRAM),
        ("ssh", shutil.which("ssh")),
        ("ssh-keygen", shutil.which("ssh-keygen")),
    ):
        if not found:
            return f"needs OpenSSH's {name}"
    return ""


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """Starts a server that lets one key in, with a HOME and a PATH of its own; ends it."""
    for name in ("identity", "stranger", "host"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    server = Server(folder, free_port())
    server.home.mkdir()
    server.programs.mkdir()
    for directory in ("/usr/bin", "/bin", "/usr/sbin", "/sbin"):
        for program in Path(directory).iterdir():
            with contextlib.suppress(FileExistsError):
                (server.programs / program.name).symlink_to(program)
    # Who logs in gets the test's HOME and PATH: the account's own are none of its business.
    forced = folder / "login"
    environment = f"HOME={server.home} PATH={server.programs}"
    forced.write_text(f'#!/bin/sh\nexport {environment}\ncd\nexec /bin/sh -c "$SSH_ORIGINAL_COMMAND"\n')
    forced.chmod(0o755)
    (folder / "authorized_keys").write_text((folder / "identity.pub").read_text())
    (folder / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1\nPort {server.port}\nHostKey {folder}/host\nPidFile none\nUsePAM no\n"
        f"AuthorizedKeysFile {folder}/authorized_keys\nStrictModes no\nPasswordAuthentication no\n"
        f"KbdInteractiveAuthentication no\nPermitRootLogin yes\nForceCommand {forced}\nMaxStartups 50\n"
    )
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{server.port} {(folder / 'host.pub').read_text()}")
    server.config.write_text(
        f"UserKnownHostsFile {folder}/known_hosts\nGlobalKnownHostsFile /dev/null\nIdentitiesOnly yes\n"
        "StrictHostKeyChecking yes\nBatchMode yes\nIdentityAgent none\n"
    )
    assert PROGRAM
    with contextlib.suppress(OSError):  # of Debian's sshd, where no service made it
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    log = (folder / "log").open("wb")
    process = subprocess.Popen([PROGRAM, "-D", "-e", "-f", folder / "sshd_config"], stdout=log, stderr=log)
    try:
        wait_for(server.port, process, folder / "log")
        yield server
    finally:
        process.terminate()
        process.wait()
        log.close()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_for(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Until the server answers."""
    deadline = time.monotonic() + WAIT_S
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)


def replace_program(server: Server, name: str, script: str | None, link: str = "") -> None:
    """Puts a script, a link or nothing in the place of one of the board's programs."""
    path = server.programs / name
    path.unlink(missing_ok=True)
    if link:
        path.symlink_to(link)
    elif script is not None:
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)


@contextlib.contextmanager
def replaced(server: Server, **programs: str | None) -> Iterator[None]:
    """As `replace_program`, for a while."""
    before = {
        name: os.readlink(server.programs / name) if (server.programs / name).is_symlink() else ""  # noqa: PTH115
        for name in programs
    }
    try:
        for name, script in programs.items():
            replace_program(server, name, script)
        yield
    finally:
        for name, link in before.items():
            replace_program(server, name, None, link=link)
