"""The program in a process of its own, as a shell runs it."""

import os
import subprocess
import sys


def tinyedge(*words: object, env: dict[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
    """Run `tinyedge` with these arguments; `env` is added to the environment."""
    command = [sys.executable, "-m", "tinyedge", *map(str, words)]
    environment = {**os.environ, "COLUMNS": "100", **(env or {})}
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment)


def assert_refused(done: "subprocess.CompletedProcess[str]", code: int) -> str:
    """Return the error line; fail unless it is the only one, without traceback and output."""
    lines = done.stderr.splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    assert done.returncode == code, done.stderr
    assert len(errors) == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    return errors[0]
