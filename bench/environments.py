"""Environments for programs whose pinned packages exclude each other, or those of tinyedge.

In: a folder and what pip installs. Out: the environment's Python, or why there is none. An environment is
made again when what it was made from changes.
"""

import shutil
import subprocess
import sys
from pathlib import Path


class NotInstalledError(Exception):
    """A program cannot be installed here; the message has the reason."""


def prepare_python(folder: Path, wanted: str, *requirements: str) -> Path:
    """Return the Python of an environment; make it if it does not exist or was made from something else.

    Args:
        folder: The environment.
        wanted: What it is made from, as a text to compare.
        requirements: Arguments of `pip install`.

    Raises:
        NotInstalledError: The packages cannot be installed.
    """
    python, ready = folder / "bin" / "python", folder / "ready"
    if not ready.exists() or ready.read_text() != wanted:
        print(f"installing {wanted.strip()}")
        shutil.rmtree(folder, ignore_errors=True)
        run_installer(sys.executable, "-m", "venv", str(folder))
        pip = (str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        run_installer(*pip, *requirements)
        ready.write_text(wanted)
    return python


def run_installer(*command: str) -> None:
    """Run a command. Raise NotInstalledError with its last line if it fails."""
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or [f"exit {done.returncode}"]
        raise NotInstalledError(f"{command[0]}: {lines[-1]}")
