"""Suggested command lines call the program as the user did, and are quoted for a shell."""

import sys
from pathlib import Path

import pytest

from tinyedge.cli import _argv


@pytest.fixture
def script(tmp_path: Path) -> str:
    """Path of a program that is installed in a folder."""
    path = tmp_path / "tinyedge"
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return str(path)


def test_a_command_uses_the_module_the_path_or_the_name(monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    monkeypatch.setattr(sys, "argv", ["/lib/tinyedge/__main__.py"])
    assert _argv.format_command(["runs"]).endswith(" -m tinyedge runs")
    monkeypatch.setattr(sys, "argv", [script])
    monkeypatch.setenv("PATH", "/bin")
    assert _argv.format_command(["runs", Path("a run")]) == f"{script} runs 'a run'"
    monkeypatch.setenv("PATH", f"/bin:{Path(script).parent}")
    assert _argv.format_command(["runs"]) == "tinyedge runs"


@pytest.mark.parametrize(
    ("words", "suggested"),
    [
        ("train", "train --resume"),
        ("train --resume --epochs 2", "train --epochs 2 --resume"),
        ("train --restart --input a b", "train --input a b --resume"),
    ],
)
def test_the_command_that_continues_a_run(
    monkeypatch: pytest.MonkeyPatch, words: str, suggested: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["bin/tinyedge", *words.split()])
    assert _argv.format_resume_command() == f"bin/tinyedge {suggested}"
