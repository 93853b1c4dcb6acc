"""Ctrl-C at any time: exit code 130 and one error line."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from tinyedge.cli import main as program
from tinyedge.host import interrupt

MICRO_BUNDLE = Path(__file__).parents[1] / "data" / "micro_bundle_int8"
COMMAND = ["tinyedge", "generate", str(MICRO_BUNDLE), "--prompt", "The house", "--max-tokens", "4"]

# Interrupts itself in the import of a module, where a library replaces KeyboardInterrupt as C code may do.
IN_AN_IMPORT = """
import runpy, signal, sys
class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == {name!r}:
            try:
                signal.raise_signal(signal.SIGINT)
            except BaseException:
                raise ImportError("replaced") from None
sys.meta_path.insert(0, Finder)
sys.argv = {command!r}
runpy.run_module("tinyedge", run_name="__main__", alter_sys=True)
"""

AT_EXIT = """
import atexit, runpy, signal, sys
atexit.register(signal.raise_signal, signal.SIGINT)
sys.argv = ["tinyedge", "--version"]
runpy.run_module("tinyedge", run_name="__main__", alter_sys=True)
"""


def run_python(code: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    "name",
    [
        *("typing", "typer", "tinyedge.cli.generate"),  # before the program handles errors
        *("sentencepiece", "numpy", "numpy.linalg", "onnxruntime", "tinyedge.runtime.session"),
    ],
)
def test_an_interrupted_import_is_one_error_line(name: str) -> None:
    code = IN_AN_IMPORT.format(name=name, command=COMMAND)
    assert run_python(code) == (130, "error: interrupted\n")


def test_an_interrupt_with_a_closed_standard_error_has_its_exit_code() -> None:
    code = "import os; os.close(2); from tinyedge.host.interrupt import exit_at_once; exit_at_once(2, None)"
    assert run_python(code) == (130, "")


def test_an_interrupted_exit_is_one_error_line() -> None:
    assert run_python(AT_EXIT) == (130, "error: interrupted\n")


def test_an_exception_that_replaces_the_interrupt_is_an_interrupt(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        with pytest.raises(KeyboardInterrupt):
            interrupt.raise_outside_imports(signal.SIGINT, None)
        raise ImportError("numpy.core.multiarray failed to import")

    monkeypatch.setattr(interrupt, "_was_raised", False)
    monkeypatch.setattr(program, "_require_current_folder", fail)
    monkeypatch.setattr(sys, "argv", ["tinyedge", "--version"])
    with pytest.raises(SystemExit) as end:
        program.main()
    assert end.value.code == 130
    assert capfd.readouterr().err == "error: interrupted\n"


def test_a_truncated_file_is_no_interrupt(capsys: pytest.CaptureFixture[str]) -> None:
    """Typer converts EOFError and KeyboardInterrupt to the same exception."""
    aborted = typer.Abort()
    aborted.__cause__ = EOFError("compressed file ended before the end-of-stream marker was reached")
    assert program.explain(aborted) == 1
    assert "unexpected EOFError: compressed file ended" in capsys.readouterr().err
