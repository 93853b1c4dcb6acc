"""Command lines to propose: this program as the user calls it, ready for a shell."""

import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path


def line(words: Sequence[object]) -> str:
    """The program with these arguments."""
    return shlex.join([*_program(), *map(str, words)])


def resuming() -> str:
    """What goes on with this very run: its own arguments, and --resume."""
    words = [word for word in sys.argv[1:] if word not in ("--restart", "--resume")]
    return line([*words, "--resume"])


def _program() -> list[str]:
    path = sys.argv[0]
    if Path(path).name == "__main__.py":  # python -m tinyedge, under torchrun too
        return [sys.executable, "-m", "tinyedge"]
    return [Path(path).name] if shutil.which(Path(path).name) == path else [path]
