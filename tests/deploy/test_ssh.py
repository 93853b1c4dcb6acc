"""Remote, with a real SSH server on loopback: quoting of arguments, copies of folders, errors."""

from pathlib import Path

import pytest

from tests.support.sshd import Server, find_free_port, temporarily_replace
from tinyedge.core.errors import DeployError, UsageError
from tinyedge.deploy.ssh import Remote

NASTY = [
    "a b", "$(touch pwned)", "`touch pwned`", "'; touch pwned; '", '"; touch pwned; "', "-n", "*", "~", "\\",
    "", "a\nb", "é", "$HOME", "!!", "%d",
]  # fmt: skip


def connect(server: Server) -> Remote:
    return Remote(server.destination, server.port, server.identity, server.config)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder to copy."""
    source = tmp_path / "source"
    (source / "inside" / "empty").mkdir(parents=True)
    (source / "one").write_bytes(b"1" * 100_000)
    (source / "inside" / "two $(touch pwned)").write_text("2")
    (source / "inside" / "left.whl").write_text("3")
    (source / "install.sh").write_text("#!/bin/sh\n")
    (source / "install.sh").chmod(0o755)
    return source


def test_arguments_are_not_interpreted_by_a_shell(server: Server) -> None:
    with connect(server) as board:
        result = board.run('for word do printf "%s|" "$word"; done', *NASTY)
    assert result.output == "|".join(NASTY) + "|"
    assert not list(server.home.rglob("pwned"))


def test_output_and_exit_code_of_a_script(server: Server, capfd: pytest.CaptureFixture[str]) -> None:
    with connect(server) as board:
        result = board.run("echo out; echo err >&2; exit 3")
        assert (result.code, result.output, result.errors) == (3, "out\n", "err\n")
        assert board.run_visibly("echo $1; exit 4", "seen") == 4
    assert capfd.readouterr().out == "seen\n"


@pytest.mark.parametrize("program", ["rsync", "tar"])
def test_a_copied_folder_equals_its_source(server: Server, folder: Path, program: str) -> None:
    target = server.home / f"to {program}; touch pwned"
    reported: list[int] = []
    with (
        connect(server) as board,
        temporarily_replace(server, **({} if program == "rsync" else {"rsync": None})),
    ):
        (target / "old").mkdir(parents=True)
        for _ in range(2):
            board.copy(folder, str(target), ["inside/left.whl"], reported.append)
    found = {str(path.relative_to(target)): path for path in target.rglob("*")}
    assert set(found) == {"inside", "inside/empty", "inside/two $(touch pwned)", "one", "install.sh"}
    assert found["one"].read_bytes() == b"1" * 100_000
    assert found["install.sh"].stat().st_mode & 0o777 == 0o755
    assert not list(server.home.rglob("pwned"))
    assert bool(reported) == (program == "tar")
    assert not reported or reported[-1] == 100_000 + 1 + 10


@pytest.mark.parametrize("program", ["rsync", "tar"])
def test_a_full_disk_is_reported(server: Server, folder: Path, program: str) -> None:
    full = {"rsync": None, program: 'echo "write failed: No space left on device (28)" >&2; exit 11'}
    with (
        connect(server) as board,
        temporarily_replace(server, **full),
        pytest.raises(DeployError, match="no space left"),
    ):
        board.copy(folder, str(server.home / "full"), [], lambda sent: None)


@pytest.mark.parametrize("program", ["rsync", "tar"])
def test_a_failed_copy_is_a_printable_error(server: Server, folder: Path, program: str) -> None:
    broken = {"rsync": None, program: "echo 'it is\033[31m broken' >&2; exit 1"}
    with (
        connect(server) as board,
        temporarily_replace(server, **broken),
        pytest.raises(DeployError) as caught,
    ):
        board.copy(folder, str(server.home / "broken"), [], lambda sent: None)
    assert "cannot be copied" in caught.value.message
    assert caught.value.message.isprintable()


@pytest.mark.parametrize(
    "destination",
    ["-oProxyCommand=touch pwned", "", "a b", "a@b@c", "user@-host", "-u@host", "host;id", "$(id)", "ü@host",
     "host\n", "`id`@host", "ssh://host", "user@host/path", "|id", "../x"],
)  # fmt: skip
def test_an_invalid_destination_is_refused(destination: str) -> None:
    with pytest.raises(UsageError, match="is not user@host"):
        Remote(destination)


@pytest.mark.parametrize(
    "destination", ["pi@raspberrypi.local", "zero", "pi@10.0.0.7", "a.b@fe80::1%eth0", "_x@h_1"]
)
def test_a_valid_destination_is_accepted(destination: str) -> None:
    with Remote(destination) as board:
        assert board.destination == destination


def test_an_unknown_host_is_an_error(server: Server) -> None:
    with Remote("pi@no-such-board.invalid", config=server.config) as board:
        with pytest.raises(DeployError, match=r"no-such-board\.invalid cannot be reached") as caught:
            board.run("true")
        assert caught.value.hint


def test_a_closed_port_is_an_error(server: Server) -> None:
    with (
        Remote(server.destination, find_free_port(), server.identity, server.config) as board,
        pytest.raises(DeployError, match="no SSH server listens on this port"),
    ):
        board.run("true")


def test_a_key_that_the_server_does_not_accept(server: Server) -> None:
    stranger = server.identity.with_name("stranger")
    with (
        Remote(server.destination, server.port, stranger, server.config) as board,
        pytest.raises(DeployError, match="it refuses this user and key"),
    ):
        board.run("true")


def test_a_changed_host_key_is_an_error(server: Server, tmp_path: Path) -> None:
    """known_hosts has another key for this host."""
    other = server.identity.with_name("stranger.pub").read_text()
    (tmp_path / "known").write_text(f"[127.0.0.1]:{server.port} {other}")
    config = tmp_path / "config"
    config.write_text(f"UserKnownHostsFile {tmp_path}/known\n{server.config.read_text()}")
    with (
        Remote(server.destination, server.port, server.identity, config) as board,
        pytest.raises(DeployError, match="its host key has changed"),
    ):
        board.run("true")


def test_without_an_ssh_client(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DeployError, match="ssh is not installed"):
        Remote("pi@board")
