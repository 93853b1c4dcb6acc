"""The line that shows how many items are done."""

import itertools
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tinyedge.cli._count_line import CountLine

SCRIPT = """
from tinyedge.cli import _count_line
_count_line.REDRAW_PERIOD_S = 0
with _count_line.CountLine("done {} of 3", 3) as line:
    for item in line.count("abc"):
        if item == STOP:
            raise SystemExit("error: stopped")
"""


def run_on_terminal(script: str) -> str:
    """Run a script with a terminal as its stderr; return what the terminal got."""
    leader, follower = pty.openpty()
    subprocess.run([sys.executable, "-c", script], stderr=follower, check=False, timeout=60)
    os.close(follower)
    try:
        return os.read(leader, 1 << 16).decode().replace("\r\n", "\n")
    finally:
        os.close(leader)


def test_a_terminal_shows_one_line_that_is_redrawn() -> None:
    shown = run_on_terminal(SCRIPT.replace("STOP", "None"))
    assert shown == "\rdone 0 of 3\rdone 1 of 3\rdone 2 of 3\rdone 3 of 3\n"


def test_an_error_has_a_line_of_its_own() -> None:
    assert run_on_terminal(SCRIPT.replace("STOP", "'b'")).endswith("\rdone 1 of 3\nerror: stopped\n")


def test_a_log_has_a_line_every_30_seconds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = itertools.count(0, 10)  # seconds: an item takes ten of them
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    with CountLine("done {} of 2,000", 2000) as line:
        assert sum(line.count([1] * 2000)) == 2000
    lines = capsys.readouterr().err.splitlines()
    assert lines[:2] == ["done 2 of 2,000", "done 5 of 2,000"]
    assert len(lines) == 2000 // 3


def test_a_quick_command_shows_nothing_in_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    with CountLine("done {} of 3", 3) as line:
        assert list(line.count("abc")) == ["a", "b", "c"]
    assert capsys.readouterr().err == ""


def test_eval_shows_how_many_conversations_are_judged(micro_bundle: Path, tmp_path: Path) -> None:
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text('{"prompt": "the dog", "completion": "a man"}\n' * 3)
    script = "from tinyedge.cli import _count_line, main; _count_line.LOG_PERIOD_S = 0; main.main()"
    words = [sys.executable, "-c", script, "eval", str(micro_bundle), "--pairs", str(pairs)]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr.splitlines()[1:] == [f"judged {count} of 3 conversations" for count in range(3)]
