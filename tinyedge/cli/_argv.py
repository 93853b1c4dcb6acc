"""Command lines to suggest to the user: this program as it was called, quoted for a shell."""

import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path


def format_command(words: Sequence[object]) -> str:
    """Return the program with these arguments."""
    return shlex.join([*_get_program(), *map(str, words)])


def break_command(command: str, width: int | None, start: str = "") -> str:
    r"""Return a command that a shell reads as before, in lines of at most `width` columns.

    Args:
        command: What `format_command` returned.
        width: Columns; None for one line.
        start: What precedes the command on its first line. The other lines are indented by as much.
    """
    if width is None or len(start) + len(command) <= width:
        return command
    from tinyedge.core.columns import fill_lines

    words = [shlex.quote(word) for word in shlex.split(command)]
    lines = fill_lines(words, width - 2, start, " " * len(start))
    return " \\\n".join(lines)[len(start) :]


def format_resume_command() -> str:
    """Return the command that continues this run: its own arguments and --resume."""
    words = [word for word in sys.argv[1:] if word not in ("--restart", "--resume")]
    return format_command([*words, "--resume"])


def _get_program() -> list[str]:
    path = sys.argv[0]
    if Path(path).name == "__main__.py":  # python -m tinyedge, under torchrun too
        return [sys.executable, "-m", "tinyedge"]
    return [Path(path).name] if shutil.which(Path(path).name) == path else [path]
