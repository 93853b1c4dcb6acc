"""A real ssh server on loopback: words stay words, folders arrive equal, and what fails is one line."""

from pathlib import Path

import pytest

from tests.support.sshd import Server, free_port, replaced
from tinyedge.core.errors import DeployError, UsageError
from tinyedge.deploy.ssh import Remote

NASTY = [
    "a b", "$(touch pwned)", "`touch pwned`", "'; touch pwned; '", '"; touch pwned; "', "-n", "*", "~", "\\",
    "", "a\nb", "é", "$HOME", "!!", "%d",
]  # fmt: skip


def remote(server: Server) -> Remote:
    return Remote(server.destination, server.port, server.identity, server.config)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Something to copy."""
    source = tmp_path / "source"
    (source / "inside" / "empty").mkdir(parents=True)
    (source / "one").write_bytes(b"1" * 100_000)
    (source / "inside" / "two $(touch pwned)").write_text("2")
    (source / "inside" / "left.whl").write_text("3")
    (source / "install.sh").write_text("#!/bin/sh\n")
    (source / "install.sh").chmod(0o755)
    return source


def test_words_stay_words(server: Server) -> None:
    with remote(server) as board:
        done = board.run('for word do printf "%s|" "$word"; done', *NASTY)
    assert done.output == "|".join(NASTY) + "|"
    assert not list(server.home.rglob("pwned"))


def test_how_a_script_ends(server: Server, capfd: pytest.CaptureFixture[str]) -> None:
    with remote(server) as board:
        done = board.run("echo out; echo err >&2; exit 3")
        assert (done.code, done.output, done.errors) == (3, "out\n", "err\n")
        assert board.show("echo $1; exit 4", "seen") == 4
    assert capfd.readouterr().out == "seen\n"


@pytest.mark.parametrize("program", ["rsync", "tar"])
def test_a_folder_arrives_equal(server: Server, folder: Path, program: str) -> None:
    target = server.home / f"to {program}; touch pwned"
    told: list[int] = []
    with remote(server) as board, replaced(server, **({} if program == "rsync" else {"rsync": None})):
        (target / "old").mkdir(parents=True)
        for _ in range(2):
            board.copy(folder, str(target), ["inside/left.whl"], told.append)
    found = {str(path.relative_to(target)): path for path in target.rglob("*")}
    assert set(found) == {"inside", "inside/empty", "inside/two $(touch pwned)", "one", "install.sh"}
    assert found["one"].read_bytes() == b"1" * 100_000
    assert found["install.sh"].stat().st_mode & 0o777 == 0o755
    assert not list(server.home.rglob("pwned"))
    assert bool(told) == (program == "tar")
    assert not told or told[-1] == 100_000 + 1 + 10


@pytest.mark.parametrize("program", ["rsync", "tar"])
def test_a_full_disk_is_said(server: Server, folder: Path, program: str) -> None:
    full = {"rsync": None, program: 'echo "write failed: No space left on device (28)" >&2; exit 11'}
    with remote(server) as board, replaced(server, **full), pytest.raises(DeployError, match="no space left"):
        board.copy(folder, str(server.home / "full"), [], lambda sent: None)


@pytest.mark.parametrize("program", ["rsync", "tar"])
def test_another_failure_of_a_copy(server: Server, folder: Path, program: str) -> None:
    broken = {"rsync": None, program: "echo 'it is\033[31m broken' >&2; exit 1"}
    with remote(server) as board, replaced(server, **broken), pytest.raises(DeployError) as caught:
        board.copy(folder, str(server.home / "broken"), [], lambda sent: None)
    assert "cannot be copied" in caught.value.message
    assert caught.value.message.isprintable()


@pytest.mark.parametrize(
    "destination",
    ["-oProxyCommand=touch pwned", "", "a b", "a@b@c", "user@-host", "-u@host", "host;id", "$(id)", "ü@host",
     "host\n", "`id`@host", "ssh://host", "user@host/path", "|id", "../x"],
)  # fmt: skip
def test_no_destination(destination: str) -> None:
    with pytest.raises(UsageError, match="is not user@host"):
        Remote(destination)


@pytest.mark.parametrize(
    "destination", ["pi@raspberrypi.local", "zero", "pi@10.0.0.7", "a.b@fe80::1%eth0", "_x@h_1"]
)
def test_a_destination(destination: str) -> None:
    with Remote(destination) as board:
        assert board.destination == destination


def test_a_host_that_is_not_there(server: Server) -> None:
    with Remote("pi@no-such-board.invalid", config=server.config) as board:
        with pytest.raises(DeployError, match=r"no-such-board\.invalid cannot be reached") as caught:
            board.run("true")
        assert caught.value.hint


def test_a_port_where_nothing_is(server: Server) -> None:
    with (
        Remote(server.destination, free_port(), server.identity, server.config) as board,
        pytest.raises(DeployError, match="no ssh server answers there"),
    ):
        board.run("true")


def test_a_stranger(server: Server) -> None:
    stranger = server.identity.with_name("stranger")
    with (
        Remote(server.destination, server.port, stranger, server.config) as board,
        pytest.raises(DeployError, match="it refuses this user and key"),
    ):
        board.run("true")


def test_another_machine_in_its_place(server: Server, tmp_path: Path) -> None:
    """Its name is known with another key."""
    other = server.identity.with_name("stranger.pub").read_text()
    (tmp_path / "known").write_text(f"[127.0.0.1]:{server.port} {other}")
    config = tmp_path / "config"
    config.write_text(f"UserKnownHostsFile {tmp_path}/known\n{server.config.read_text()}")
    with (
        Remote(server.destination, server.port, server.identity, config) as board,
        pytest.raises(DeployError, match="its host key is not the one that was seen before"),
    ):
        board.run("true")


def test_without_ssh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DeployError, match="ssh is not installed"):
        Remote("pi@board")
