"""No command's own output has a word that a terminal of 60 columns must cut in the middle."""

import sys
from pathlib import Path

import pytest

pytest.importorskip("pyte", reason="the terminal is emulated by pyte, of the extra `dev`")

from bench.recording import record

ROOT = Path(__file__).parents[2]
BUNDLE = "tests/data/micro_bundle_int8"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("fit --max-p95-ms 100", 0),
        ("doctor", None),
        (f"verify {BUNDLE}", 0),
        (f"eval {BUNDLE} --text english=README.md", 0),
        ("corpus --input README.md --output-dir {folder}", 0),
        ("activate --store {folder}", 2),
        ("train --d-model 7 --output-dir {folder}", 2),
    ],
)
def test_lines_are_broken_between_words(words: str, code: int | None, tmp_path: Path) -> None:
    # A relative path, because a long one cannot be broken between words.
    command = [sys.executable, "-m", "tinyedge", *words.format(folder="d").split()]
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    (tmp_path / "README.md").symlink_to(ROOT / "README.md")
    recording = record(["env", "-C", str(tmp_path), *command], 60, environment={"PYTHONPATH": str(ROOT)})
    assert code is None or recording.code == code, recording.text
    commands = [line for line in recording.text.splitlines() if sys.executable in line]
    assert recording.broken_lines <= len(commands) * (len(sys.executable) > 45), recording.text
