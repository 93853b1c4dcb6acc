"""Files that a command is asked to write: they replace no input and no other file's content."""

import json
from pathlib import Path

import pytest

from tinyedge.core.errors import UsageError
from tinyedge.core.output_files import require_replaceable_json, require_writable


def test_a_file_in_a_writable_folder_may_be_written_and_stays_as_it_is(tmp_path: Path) -> None:
    require_writable({"--json": tmp_path / "new.json"})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [".", "none/a.json", "x" * 300])
def test_a_path_that_cannot_be_written_is_named_with_its_flag(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--json"):
        require_writable({"--json": tmp_path / name})


def test_an_input_and_a_folder_that_is_an_input_are_not_changed(tmp_path: Path) -> None:
    for path in (tmp_path / "a.txt", tmp_path / "x" / ".." / "a.txt"):
        with pytest.raises(UsageError, match="is an input"):
            require_writable({"--json": path}, iter([tmp_path / "b.txt", tmp_path / "a.txt"]))
    with pytest.raises(UsageError, match="is an input"):
        require_writable({"--json": tmp_path / "a.json"}, [tmp_path])


def test_two_flags_do_not_name_one_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--csv .* is the same file as"):
        require_writable({"--json": tmp_path / "a", "--csv": tmp_path / "." / "a"})


@pytest.mark.parametrize("content", ["", json.dumps({"schema": "tinyedge.bench/1"})])
def test_an_empty_file_and_an_earlier_result_are_replaced(content: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(content)
    require_replaceable_json("--json", path, ["tinyedge.bench"])
    path.write_text(content.replace("/1", "/9"))  # of another version
    require_replaceable_json("--json", path, ["tinyedge.bench"])


@pytest.mark.parametrize(
    "content",
    [
        b"PK\x03\x04 weights",
        b"\xff",
        b"text",
        b"[1]",
        b"{}",
        b"[" * 100_000,
        b'{"schema": 1}',
        b'{"schema": "tinyedge.training/1"}',
        b'{"schema": "tinyedge.benches/1"}',
    ],
)
def test_any_other_file_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"--json .* exists, and is not a result"):
        require_replaceable_json("--json", path, ["tinyedge.bench"])
    assert path.read_bytes() == content
