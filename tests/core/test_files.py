"""Files that are written completely or not at all, and errors that name them."""

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tinyedge.core import files
from tinyedge.core.errors import BundleError, TinyEdgeError


def test_a_file_is_replaced_completely_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    files.write_json(path, {"old": 1})
    with pytest.raises(TypeError), files.atomic_writer(path) as file:
        file.writelines([b"half of the ne", "w"])  # type: ignore[list-item]
    assert json.loads(path.read_text()) == {"old": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    path = tmp_path / "a.txt"
    files.write_text(path, "old")

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(os if call == "fsync" else Path, call, fail)
    with pytest.raises(OSError, match="No space left"):
        files.write_text(path, "new")
    monkeypatch.undo()
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_syncs_file_then_renames_then_syncs_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    real_fsync, real_replace = os.fsync, Path.replace

    def fsync(descriptor: int) -> None:
        calls.append("folder" if Path(f"/proc/self/fd/{descriptor}").is_dir() else "file")
        real_fsync(descriptor)

    def replace(self: Path, target: Path) -> Path:
        calls.append("rename")
        return real_replace(self, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replace)
    files.write_bytes(tmp_path / "x", b"1")
    assert calls == ["file", "rename", "folder"]


def test_json_refuses_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        files.write_json(tmp_path / "x.json", {"loss": float("nan")})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda p: None, "does not exist"),
        (lambda p: p.mkdir(), "is a folder"),
        (lambda p: p.write_bytes(b""), "is empty"),
        (lambda p: os.mkfifo(p), "is not a regular file"),
        (lambda p: p.write_text("{"), "is not valid JSON"),
        (
            lambda p: p.write_text('{"schema": "tinyedge.x/2"}'),
            "'tinyedge.x/2', this version reads 'tinyedge.x/1'",
        ),
        (lambda p: p.write_text("[]"), "is not a JSON object"),
    ],
)
def test_read_json_reports_what_is_invalid(tmp_path: Path, make: object, words: str) -> None:
    path = tmp_path / "x.json"
    make(path)  # type: ignore[operator]
    with pytest.raises(BundleError, match=words) as caught:
        files.read_json(path, "tinyedge.x/1", BundleError)
    assert str(path) in caught.value.message


def test_devices_and_pipes_are_neither_replaced_nor_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, Path("/dev/null"), tmp_path):
        with pytest.raises(OSError, match="not a regular file"):
            files.write_text(path, "x")
        with pytest.raises(OSError, match="not a regular file"):
            files.sha256_file(path)
    assert Path("/dev/null").is_char_device()
    assert [p.name for p in tmp_path.iterdir()] == ["pipe"]


def test_the_next_writer_removes_the_file_of_a_killed_one(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with pytest.raises(TypeError), files.atomic_writer(path) as file:
        file.writelines([(left := next(tmp_path.iterdir())) and "not bytes"])  # type: ignore[list-item]
    left.write_text("half")
    files.write_text(path, "whole")
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_writers_of_one_file_do_not_share_a_temporary_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with files.atomic_writer(path) as first:
        first.write(b"first")
        with files.atomic_writer(path) as second:
            second.write(b"second")
        assert path.read_text() == "second"
        first.write(b" writer")
    assert path.read_text() == "first writer"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_writer_that_fails_does_not_remove_the_file_of_another(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with files.atomic_writer(path) as first:
        first.write(b"first")
        with pytest.raises(ZeroDivisionError), files.atomic_writer(path):
            raise ZeroDivisionError
    assert path.read_text() == "first"


WRITER = """
import os, signal, sys
from pathlib import Path
from tinyedge.core import files
path = Path(sys.argv[1])
if sys.argv[2] == "kill":
    with files.atomic_writer(path) as file, files.atomic_writer(path) as other:
        file.write(b"half"), other.write(b"half")
        os.kill(os.getpid(), signal.SIGKILL)
for number in range(50):
    files.write_text(path, sys.argv[2] * 5000)
"""


def test_what_a_killed_writer_left_is_removed_by_the_next(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", WRITER, path, "kill"], check=False)
        assert done.returncode == -signal.SIGKILL
    assert sorted(p.name for p in tmp_path.iterdir()) == [".a.txt.1.tmp", ".a.txt.tmp"]
    files.write_text(path, "new")
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_processes_that_write_one_file_leave_a_complete_one(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, path, text]) for text in "abc"]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    assert path.read_text() in {text * 5000 for text in "abc"}
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("kind", ["link", "fifo", "file"])
def test_a_link_with_the_temporary_name_is_not_followed(tmp_path: Path, kind: str) -> None:
    victim, trap = tmp_path / "victim", tmp_path / ".report.json.tmp"
    victim.write_text("mine")
    if kind == "link":
        trap.symlink_to(victim)
    elif kind == "fifo":
        os.mkfifo(trap)
    else:
        trap.write_text("left by a killed process")
    files.write_text(tmp_path / "report.json", "new")
    assert victim.read_text() == "mine"
    assert (tmp_path / "report.json").read_text() == "new"
    assert not (tmp_path / "report.json").is_symlink()


def test_json_has_no_nan(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"schema": "x", "a": NaN}')
    with pytest.raises(TinyEdgeError, match="not valid JSON"):
        files.read_json(tmp_path / "a.json", "x", TinyEdgeError)
