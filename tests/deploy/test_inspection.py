"""Facts of a board: what is ignored in an answer, and which boards are refused before anything is copied."""

import dataclasses
from typing import Any

import pytest

from tests.deploy.test_ssh import connect
from tests.support.sshd import Server, start_up_file, temporarily_replace
from tinyedge.core.errors import DeployError
from tinyedge.deploy.inspection import (
    MB,
    BoardState,
    FileSystem,
    describe_clock_error,
    inspect_board,
    parse_facts,
    require_room_for_pip,
    require_service,
    require_space,
    require_suitable,
)

ROOMY = FileSystem(free=2000 * MB, free_inodes=100_000, is_noexec=False, is_read_only=False)
BOARD = BoardState(
    directory="/home/pi/tinyedge",
    existing="/home/pi",
    machine="aarch64",
    writable=True,
    free_mb=2000,
    python="3.13",
    program="python3",
    bits=64,
    venv=True,
    libc="glibc 2.41",
    disk=ROOMY,
    temporary="/tmp",
    temporary_disk=ROOMY,
    free_memory_mb=300,
    has_systemd=True,
    has_sudo=True,
)


def change(file_system: FileSystem = ROOMY, **fields: Any) -> FileSystem:
    return dataclasses.replace(file_system, **fields)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"disk": change(is_noexec=True)}, "mounted with noexec"),
        ({"disk": change(is_read_only=True), "writable": False}, "read-only file system"),
        ({"writable": False}, "/home/pi/tinyedge on pi@zero is not writable"),
        ({"kit": "link"}, "/home/pi/tinyedge/kit on pi@zero is a symbolic link"),
        ({"kit": "foreign"}, "not made by tinyedge"),
        ({"directory": "/home/o'neil/tinyedge"}, "has quotes"),
        ({"free_mb": 229}, "229 MB free; about 230 MB"),
        ({"free_memory_mb": 99}, "99 MB of memory free"),
        ({"temporary": None, "temporary_disk": None}, "no folder for temporary files"),
        ({"temporary_disk": change(free=1 * MB)}, "1 MB free in /tmp; pip needs 4 MB"),
        ({"temporary_disk": change(free_inodes=3)}, "no inodes free in /tmp"),
        ({"libc": "musl 1.2"}, "no glibc"),
        ({"bits": 32}, "32-bit system on a 64-bit kernel"),
    ],
)
def test_an_unsuitable_board_is_refused_with_a_remedy(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(DeployError) as caught:
        require_suitable("pi@zero", dataclasses.replace(BOARD, **fields))
    assert reason in caught.value.message
    assert caught.value.hint


def test_an_installed_environment_needs_no_room_for_pip() -> None:
    small = dataclasses.replace(BOARD, free_mb=60, free_memory_mb=40, envs=("0123456789ab-py3.13",))
    require_suitable("pi@zero", small)
    with pytest.raises(DeployError, match="of memory free"):  # for another environment
        require_room_for_pip("pi@zero", small)


@pytest.mark.parametrize("fields", [{}, {"disk": None, "temporary": None, "free_memory_mb": None}])
def test_a_suitable_board_is_accepted_also_if_facts_are_unknown(fields: dict[str, Any]) -> None:
    require_suitable("pi@zero", dataclasses.replace(BOARD, **fields))


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"is_root": True}, "pi@zero is root"),
        ({"has_systemd": False}, "needs systemd"),
        ({"has_sudo": False}, "asks for a password or is not allowed"),
        ({"directory": "/home/pi/my board"}, "a systemd unit cannot contain"),
    ],
)
def test_a_service_that_cannot_be_installed_is_refused(fields: dict[str, Any], reason: str) -> None:
    require_service("pi@zero", BOARD)
    with pytest.raises(DeployError) as caught:
        require_service("pi@zero", dataclasses.replace(BOARD, **fields))
    assert reason in caught.value.message
    assert caught.value.hint


def test_space_and_inodes_are_compared_with_what_is_added() -> None:
    require_space("pi@zero", BOARD, 2000 * MB, 100_000)
    with pytest.raises(DeployError, match=r"has 2,000 MB free in /home/pi; 2,001 MB are required"):
        require_space("pi@zero", BOARD, 2000 * MB + 1, 10)
    with pytest.raises(DeployError, match=r"has 100,000 inodes free in /home/pi; 100,001 are required"):
        require_space("pi@zero", BOARD, 1, 100_001)
    braces = dataclasses.replace(BOARD, existing="/home/pi/{a}")
    with pytest.raises(DeployError, match=r"free in /home/pi/\{a\}; 2,001 MB"):
        require_space("pi@zero", braces, 2000 * MB + 1, 10)
    unlimited = FileSystem.parse("1000 0 0 0")  # btrfs has no limit, and reports 0 of 0
    require_space("pi@zero", dataclasses.replace(BOARD, disk=unlimited), 1, 100_001)


@pytest.mark.parametrize(
    ("error_s", "note"),
    [(0, ""), (3600, ""), (-90_000.0, "1 day behind"), (-20_000 * 86_400.0, "20,000 days behind"),
     (2 * 86_400.0, "2 days ahead of")],
)  # fmt: skip
def test_a_clock_that_is_far_off_is_noted(error_s: float, note: str) -> None:
    found = describe_clock_error(dataclasses.replace(BOARD, clock_error_s=error_s))
    assert note in found
    assert bool(found) is bool(note)


def test_lines_that_are_no_facts_are_ignored_and_the_first_value_counts() -> None:
    facts, envs = parse_facts(
        ["dir=/home/pi/a=b", "dir=/etc", "machine=aar ch", "machine=aarch64\r", "evil=1", "=", "",
         "bits=sixty", "bits=64", "free=\x1b[2J", "env=one", "env=../two", "env=three", "python=3.11 x",
         "disk=1 2 3", "at=x"]
    )  # fmt: skip
    assert facts == {"dir": "/home/pi/a=b", "machine": "aarch64", "bits": "64", "env": "one"}
    assert envs == ("one", "three")


def test_the_facts_of_a_real_system(server: Server) -> None:
    with connect(server) as remote:
        board = inspect_board(remote, "new/folder")
    assert board.directory == f"{server.home}/new/folder"
    assert board.existing == str(server.home)
    assert board.disk is not None
    assert not board.disk.is_noexec
    assert not board.disk.is_read_only
    assert board.disk.free >> 20 == pytest.approx(board.free_mb, rel=0.1)
    assert board.temporary is not None
    assert board.temporary_disk is not None
    assert board.free_memory_mb is not None
    assert board.free_memory_mb > 100
    assert abs(board.clock_error_s) < 3600
    assert not (server.home / "new").exists()


def test_noise_is_no_fact(server: Server) -> None:
    """Of start-up files, and of a Python whose sitecustomize prints."""
    noise = "echo dir=/etc; echo machine=m68k; echo python=2.7; echo just a line"
    python = (
        "echo hello; printf 'python=3.11\\nbits=64\\nvenv=yes\\nlibc=glibc 2.36\\ndir=/etc\\n'; echo bye=1"
    )
    with (
        start_up_file(server, noise),
        temporarily_replace(server, python3=python),
        connect(server) as remote,
    ):
        board = inspect_board(remote, "quiet")
    assert board.directory == f"{server.home}/quiet"
    assert (board.python, board.machine != "m68k") == ("3.11", True)


@pytest.mark.parametrize("made", ["folder", "link", "file", "marked", "described", "in a folder of a kit"])
def test_a_kit_folder_of_the_user_is_not_replaced(server: Server, made: str) -> None:
    home = server.home / made
    home.mkdir()
    if made == "folder":
        (home / "kit").mkdir()
        (home / "kit" / "thesis.txt").write_text("mine")
    elif made == "link":
        (home / "kit").symlink_to(server.home)
    elif made == "file":
        (home / "kit").write_text("mine")
    else:
        (home / "kit" / "wheelhouse").mkdir(parents=True)
        (home / ".tinyedge-kit").write_text("")
        (home / "kit" / "kit.json").write_text('{\n  "schema": "tinyedge.kit/1"\n}')
        name = "wheelhouse/thesis.txt" if made == "in a folder of a kit" else "thesis.txt"
        (home / "kit" / name).write_text("mine")
        if made == "described":
            (home / ".tinyedge-kit").unlink()
    with connect(server) as remote, pytest.raises(DeployError, match=f"{made}/kit on "):
        inspect_board(remote, made)


@pytest.mark.parametrize("sign", ["mark", "description", "empty"])
def test_a_kit_folder_of_an_earlier_deployment_is_replaced(server: Server, sign: str) -> None:
    """Also if that deployment was interrupted before it had copied kit.json."""
    home = server.home / sign
    (home / "kit").mkdir(parents=True)
    if sign == "mark":
        (home / "kit" / "alerts.yml").write_text("")
        (home / ".tinyedge-kit").write_text("")
    elif sign == "description":
        (home / "kit" / "kit.json").write_text('{\n  "schema": "tinyedge.kit/1"\n}')
    with connect(server) as remote:
        assert inspect_board(remote, sign).kit == "own"


@pytest.mark.parametrize("answer", ["exit 0", "echo it is a printer", "dir() { :; }; exit 3"])
def test_an_answer_without_facts_is_quoted(server: Server, answer: str) -> None:
    with (
        temporarily_replace(server, uname=answer, id=answer, date=answer),
        connect(server) as remote,
        pytest.raises(DeployError) as caught,
    ):
        inspect_board(remote, "x")
    assert "gave an unexpected answer" in caught.value.message
    assert caught.value.message.isprintable()
