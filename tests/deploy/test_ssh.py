"""Remote, with a real SSH server on loopback: quoting of arguments, copies of folders, errors."""

import os
import shutil
import signal
import threading
import time
from pathlib import Path

import pytest

from tests.support.sshd import Server, find_free_port, start_up_file, temporarily_replace
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


def test_a_changed_host_key_is_an_error_with_the_command_that_removes_the_old_one(
    server: Server, tmp_path: Path
) -> None:
    """known_hosts has another key for this host."""
    other = server.identity.with_name("stranger.pub").read_text()
    (tmp_path / "known").write_text(f"[127.0.0.1]:{server.port} {other}")
    config = tmp_path / "config"
    config.write_text(f"UserKnownHostsFile {tmp_path}/known\n{server.config.read_text()}")
    with (
        Remote(server.destination, server.port, server.identity, config) as board,
        pytest.raises(DeployError, match="its host key has changed") as caught,
    ):
        board.run("true")
    assert f"ssh-keygen -f '{tmp_path}/known' -R '[127.0.0.1]:{server.port}'" in caught.value.hint.replace(
        '"', "'"
    )


def test_without_an_ssh_client(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DeployError, match="ssh is not installed"):
        Remote("pi@board")


# --- accounts whose start-up files print, and other people's configurations ---


@pytest.mark.parametrize(
    "startup",
    [
        "echo Welcome",
        "printf 'no line break'",
        "echo dir=/etc; echo machine=m68k; echo >&2 also here",
        "printf '\\033[31mred\\033[0m\\r\\n\\000\\377'",
        "seq 2000",
        "trap 'echo bye; echo bye >&2' EXIT; sh -c \"$SSH_ORIGINAL_COMMAND\"; exit 7",
        "(sleep 20; echo late) &",
        "stty erase x; tput clear; false",
        "export LC_ALL=xx_XX",
    ],
)
def test_what_a_start_up_file_prints_is_no_output(
    server: Server, startup: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with start_up_file(server, startup), connect(server) as board:
        result = board.run("echo out; echo err >&2; printf partial; exit 3")
        assert (result.code, result.output, result.errors) == (3, "out\npartial", "err\n")
        assert board.run_visibly("echo one; echo; printf three; echo err >&2; exit 4") == 4
    assert capfd.readouterr() == ("one\n\nthree\n", "err\n")


def test_a_start_up_file_that_echoes_its_input_cannot_fake_an_answer(server: Server) -> None:
    with start_up_file(server, "cat"), connect(server) as board, pytest.raises(DeployError) as caught:
        board.run("echo answer")
    assert "did not run a command" in caught.value.message


def test_a_start_up_file_that_reads_input_leaves_no_part_of_a_script(server: Server) -> None:
    with (
        start_up_file(server, "read -r line"),
        connect(server) as board,
        pytest.raises(DeployError) as caught,
    ):
        board.run("touch part1\ntouch part2\ntouch part3")
    assert "it said nothing" in caught.value.message
    assert "start-up files" in caught.value.hint
    assert list(server.home.glob("part*")) == []


@pytest.mark.parametrize("startup", ["echo Welcome", "printf x", "echo Welcome >&2"])
def test_a_folder_is_copied_although_a_start_up_file_prints(
    server: Server, folder: Path, startup: str, tmp_path: Path
) -> None:
    target = server.home / f"noisy {len(startup)}"
    with start_up_file(server, startup), connect(server) as board:
        board.copy(folder, str(target), [], lambda sent: None)
    assert (target / "one").read_bytes() == b"1" * 100_000


@pytest.mark.parametrize("text", ["protocol version mismatch -- is your shell clean?", "unexpected tag 90"])
def test_tar_is_used_if_rsync_reads_what_is_not_its_protocol(
    server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str
) -> None:
    """The account prints only for rsync, so no command before it notices."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "rsync").write_text(f"#!/bin/sh\ncase $* in *--rsh*) echo '{text}' >&2; exit 2;; esac\n")
    (programs / "rsync").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    target = server.home / f"fallback {len(text)}"
    with connect(server) as board:
        board.copy(folder, str(target), [], lambda sent: None)
    assert (target / "one").read_bytes() == b"1" * 100_000


@pytest.mark.parametrize(
    "setting",
    [
        "RemoteCommand echo hello",
        "RemoteCommand tmux new -A -s main\n  RequestTTY yes",
        "RequestTTY force",
        "StdinNull yes",
        "ForkAfterAuthentication yes",
        "SessionType none",
        "SessionType subsystem",
        "LogLevel QUIET",
        "LogLevel DEBUG3",
        "ControlMaster no\n  ControlPath none",
        "ControlPath /nowhere/%C\n  ControlPersist yes",
        "PermitLocalCommand yes\n  LocalCommand echo local",
        "LocalForward 22 localhost:22\n  ExitOnForwardFailure yes",
        "VisualHostKey yes",
        "ForwardX11 yes\n  ForwardX11Trusted yes",
        "SendEnv *\n  SetEnv LC_ALL=xx_XX",
        "ConnectTimeout 1\n  ServerAliveCountMax 0",
    ],
)
def test_a_setting_for_interactive_logins_does_no_harm(
    server: Server, folder: Path, tmp_path: Path, setting: str
) -> None:
    config = tmp_path / "config"
    config.write_text(f"{server.config.read_text()}Host 127.0.0.1\n  {setting}\n")
    target = server.home / tmp_path.name
    with Remote(server.destination, server.port, server.identity, config) as board:
        result = board.run("cat; echo out; echo err >&2; exit 3")
        assert (result.code, result.output) == (3, "out\n")
        assert "err\n" in result.errors
        board.copy(folder, str(target), [], lambda sent: None)
    assert (target / "one").read_bytes() == b"1" * 100_000


@pytest.mark.parametrize(
    ("startup", "said"),
    [
        ("echo 'This service allows sftp connections only.'; exit 1", "allows sftp connections only."),
        ("echo 'This account is currently not available.'; exit 1", "is currently not available."),
        ("echo 'Password change required but no TTY available.' >&2; exit 1", "Password change required"),
        ("echo 'exec: restricted' >&2; exit 126", "exec: restricted"),
        ("printf '\\033]0;title\\007evil\\033[2J\\n'; exit 0", r"\u001b]0;title\u0007evil\u001b[2J"),
        ("echo 'it uses 255'; exit 255", "it uses 255"),
        ("exit 0", "it said nothing"),
    ],
)
def test_an_account_without_a_shell_is_quoted(server: Server, startup: str, said: str) -> None:
    with start_up_file(server, startup), connect(server) as board, pytest.raises(DeployError) as caught:
        board.run("true")
    assert "did not run a command" in caught.value.message
    assert said in caught.value.message
    assert caught.value.message.isprintable()
    assert "ssh " in caught.value.hint


@pytest.mark.parametrize("startup", ["yes", "yes >&2", "tr '\\0' x </dev/zero"])
def test_endless_output_is_cut_off(server: Server, startup: str) -> None:
    with start_up_file(server, startup), connect(server) as board, pytest.raises(DeployError) as caught:
        board.run("true")
    assert "printed too much" in caught.value.message
    assert len(caught.value.message) < 400


def test_an_endless_command_is_cut_off(server: Server) -> None:
    with connect(server) as board:
        with pytest.raises(DeployError, match="printed too much"):
            board.run("yes")
        with pytest.raises(DeployError, match="did not finish within 4 s; it said: begun"):
            board.run("echo begun; sleep 60", seconds=4)
        assert board.run("echo still there").output == "still there\n"


def test_a_login_that_never_ends_is_cut_off(server: Server) -> None:
    with (
        start_up_file(server, "echo waiting; sleep 60"),
        connect(server) as board,
        pytest.raises(DeployError, match="did not finish within 6 s; it said: waiting"),
    ):
        board.run("true", seconds=6)


def test_shown_output_has_no_control_characters(server: Server, capfd: pytest.CaptureFixture[str]) -> None:
    with connect(server) as board:
        board.run_visibly("printf '\\033[2Jred\\r\\nmore\\n'; printf 'x\\202y\\n' >&2; printf '%3000d' 1")
    out, err = capfd.readouterr()
    assert out.splitlines()[:2] == [r"\u001b[2Jred", "more"]
    assert len(out.splitlines()[2]) <= 2000
    assert err == "x�y\n"


def test_a_command_that_is_killed_is_an_error(server: Server) -> None:
    with connect(server) as board, pytest.raises(DeployError, match=r"was ended|was lost"):
        board.run("echo begun; kill -9 $$")


def test_tar_sends_no_file_that_the_board_has(server: Server, folder: Path) -> None:
    target = server.home / "incremental"
    with connect(server) as board, temporarily_replace(server, rsync=None):
        board.copy(folder, str(target), [], lambda sent: None)
        before = (target / "one").stat()
        assert board.find_present(folder, str(target)) == {"one"}
        board.copy(folder, str(target), [], lambda sent: None)
        assert (target / "one").stat().st_ino == before.st_ino
        (target / "one").write_bytes(b"2" * 100_000)  # a damaged file
        assert board.find_present(folder, str(target)) == set()
        board.copy(folder, str(target), [], lambda sent: None)
    assert (target / "one").read_bytes() == b"1" * 100_000
    assert not list(server.home.glob(".incremental*"))


@pytest.mark.parametrize("program", ["rsync", "tar"])
def test_an_excluded_file_that_is_there_stays(server: Server, folder: Path, program: str) -> None:
    target = server.home / f"kept {program}"
    (folder / "inside" / "left.whl").write_bytes(b"3" * 100_000)
    with connect(server) as board:
        board.copy(folder, str(target), [], lambda sent: None)
        with temporarily_replace(server, **({} if program == "rsync" else {"rsync": None})):
            board.copy(folder, str(target), ["inside/left.whl"], lambda sent: None)
    assert (target / "inside" / "left.whl").stat().st_size == 100_000


def test_rsync_repairs_a_file_that_the_card_has_damaged(server: Server, folder: Path) -> None:
    """Its size and its time are right."""
    target = server.home / "damaged"
    with connect(server) as board:
        board.copy(folder, str(target), [], lambda sent: None)
        times = (target / "one").stat()
        (target / "one").write_bytes(b"2" * 100_000)
        os.utime(target / "one", ns=(times.st_atime_ns, times.st_mtime_ns))
        board.copy(folder, str(target), [], lambda sent: None)
    assert (target / "one").read_bytes() == b"1" * 100_000


def test_an_older_ssh_gets_no_newer_options(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, server: Server
) -> None:
    """OpenSSH before 8.7 ends with "Bad configuration option: sessiontype"."""
    program = tmp_path / "ssh"
    refused = "*SessionType*|*StdinNull*|*ForkAfterAuthentication*) exit 255"
    program.write_text(f'#!/bin/sh\ncase $* in {refused};; esac\nexec {shutil.which("ssh")} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with connect(server) as board:
        assert board.run("echo ok").output == "ok\n"


def test_an_invalid_configuration_is_named(server: Server, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text("Hots board\n")
    with (
        Remote(server.destination, server.port, server.identity, config) as board,
        pytest.raises(DeployError, match="does not accept its configuration") as caught,
    ):
        board.run("true")
    assert "line 1" in caught.value.hint


def test_a_copy_to_a_stalled_board_can_be_interrupted(server: Server, folder: Path) -> None:
    """The board's tar reads nothing, so writing to it blocks."""
    (folder / "large").write_bytes(bytes(8 << 20))
    stalled = "echo $$ >stalled; exec sleep 60"

    def interrupt() -> None:
        while not (server.home / "stalled").exists():
            time.sleep(0.05)
        time.sleep(0.5)  # until the pipe is full
        os.kill(os.getpid(), signal.SIGINT)

    with temporarily_replace(server, rsync=None, tar=stalled), connect(server) as board:
        threading.Thread(target=interrupt, daemon=True).start()
        with pytest.raises(KeyboardInterrupt):
            board.copy(folder, str(server.home / "stall"), [], lambda sent: None)
        assert board.run("echo ok").output == "ok\n"
