"""A real SSH server on loopback, as an ordinary process with its own keys and configuration."""

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
# Not the Python of a virtual environment: a board has none.
BASE_PYTHON = str(Path(sys.base_prefix) / "bin" / f"python{sys.version_info[0]}.{sys.version_info[1]}")


@dataclass(frozen=True)
class Server:
    """A running server."""

    folder: Path
    """Folder with its keys, configuration, log and the home of the user."""
    port: int
    """Port on 127.0.0.1."""

    @property
    def destination(self) -> str:
        """user@host for the client."""
        return f"{getpass.getuser()}@127.0.0.1"

    @property
    def home(self) -> Path:
        """HOME of the user who logs in."""
        return self.folder / "home"

    @property
    def startup(self) -> Path:
        """Start-up file of the account: a shell script that runs before each command, if it exists."""
        return self.folder / "startup"

    @property
    def programs(self) -> Path:
        """The only folder in PATH after a login: symbolic links, which a test may remove."""
        return self.folder / "bin"

    @property
    def identity(self) -> Path:
        """Private key that the server accepts."""
        return self.folder / "identity"

    @property
    def config(self) -> Path:
        """Configuration of the client: it knows the server's key and ignores this machine's settings."""
        return self.folder / "ssh_config"

    @property
    def flags(self) -> list[str]:
        """Options of `tinyedge deploy` that select this server."""
        flags = ["--port", self.port, "--identity", self.identity, "--ssh-config", self.config]
        return list(map(str, flags))


def find_missing_program() -> str:
    """Return the reason why no server can run here, or an empty string."""
    for name, found in (
        ("sshd", PROGRAM),
        ("ssh", shutil.which("ssh")),
        ("ssh-keygen", shutil.which("ssh-keygen")),
    ):
        if not found:
            return f"needs OpenSSH's {name}"
    return ""


@contextlib.contextmanager
def run_server(folder: Path) -> Iterator[Server]:
    """Run a server that accepts one key, with its own HOME and PATH."""
    for name in ("identity", "stranger", "host"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    server = Server(folder, find_free_port())
    server.home.mkdir()
    server.programs.mkdir()
    for directory in ("/usr/bin", "/bin", "/usr/sbin", "/sbin"):
        for program in Path(directory).iterdir():
            with contextlib.suppress(FileExistsError):
                (server.programs / program.name).symlink_to(program)
    # After a login, HOME and PATH are the test's, not those of the account.
    forced = folder / "login"
    environment = f"HOME={server.home} PATH={server.programs}"
    forced.write_text(
        f"#!/bin/sh\nexport {environment}\ncd\n[ ! -e {server.startup} ] || . {server.startup}\n"
        'exec /bin/sh -c "$SSH_ORIGINAL_COMMAND"\n'
    )
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
    with contextlib.suppress(OSError):  # Debian's sshd needs it; its service would create it
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    log = (folder / "log").open("wb")
    process = subprocess.Popen([PROGRAM, "-D", "-e", "-f", folder / "sshd_config"], stdout=log, stderr=log)
    try:
        wait_until_ready(server.port, process, folder / "log")
        yield server
    finally:
        process.terminate()
        process.wait()
        log.close()


def find_free_port() -> int:
    """Return a TCP port on loopback that is not in use."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_until_ready(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Wait until the server accepts connections."""
    deadline = time.monotonic() + WAIT_S
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)


def replace_program(server: Server, name: str, script: str | None, link: str = "") -> None:
    """Replace a program of the board by a script or by a link, or remove it."""
    path = server.programs / name
    path.unlink(missing_ok=True)
    if link:
        path.symlink_to(link)
    elif script is not None:
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)


@contextlib.contextmanager
def start_up_file(server: Server, script: str) -> Iterator[None]:
    """Give the account a start-up file inside the `with` block."""
    server.startup.write_text(f"{script}\n")
    try:
        yield
    finally:
        server.startup.unlink()


@contextlib.contextmanager
def temporarily_replace(server: Server, **programs: str | None) -> Iterator[None]:
    """Replace programs by scripts, or remove them (None), inside the `with` block."""
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
