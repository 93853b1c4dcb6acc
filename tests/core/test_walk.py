"""Folders are searched at any depth."""

import os
from pathlib import Path

import pytest

from tinyedge.core.runs import find_runs
from tinyedge.core.walk import walk_files

DEPTH = 1200  # Python's recursion limit is 1000


def refuse(failure: OSError) -> None:
    pytest.fail(f"{failure} was not expected")


def test_files_come_in_order_without_entered_links(tmp_path: Path) -> None:
    for name in ("b/2", "b/1", "a", "c/deep/3", ".hidden/4"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text("x")
    (tmp_path / "loop").symlink_to(tmp_path)
    found = walk_files(tmp_path, refuse, lambda name: not name.startswith("."))
    names = [str(path.relative_to(tmp_path)) for path in found]
    assert names == ["a", "loop", "b/1", "b/2", "c/deep/3"]


def test_a_folder_may_be_very_deep(tmp_path: Path) -> None:
    path = tmp_path
    for _ in range(DEPTH):
        path /= "d"
        path.mkdir()
    (path / "training_metrics.json").write_text("{}")
    assert find_runs(tmp_path, previous=False) == [path]
    (path / "training_metrics.json").unlink()
    while path != tmp_path:  # shutil.rmtree, which pytest uses, cannot remove such a folder
        path.rmdir()
        path = path.parent


def test_a_folder_that_cannot_be_read_is_reported(tmp_path: Path) -> None:
    """A path longer than the system's limit cannot be read even by root."""
    (tmp_path / "training_metrics.json").write_text("{}")
    start = os.open(tmp_path, os.O_RDONLY)
    try:
        for _ in range(30):
            os.mkdir("d" * 200, dir_fd=start)
            inner = os.open("d" * 200, os.O_RDONLY, dir_fd=start)
            os.close(start)
            start = inner
    finally:
        os.close(start)
    lines: list[str] = []
    assert find_runs(tmp_path, previous=False, report=lines.append) == [tmp_path]
    assert len(lines) == 1
    assert "File name too long" in lines[0]
