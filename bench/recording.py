"""Record a command in a terminal of a given width, for the documentation, and find lines that do not fit.

In: a command. Out: everything that its terminal showed, as an SVG picture. Usage:

    python -m bench.recording docs/pictures/train-60.svg --columns 60 -- tinyedge train --input novel.txt

The command runs in a pseudo-terminal, whose output goes to pyte's terminal emulator. Exits with the command's
code, or with 1 if the terminal had to break a line.
"""

import argparse
import contextlib
import fcntl
import io
import itertools
import os
import pty
import re
import shlex
import struct
import sys
import termios
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyte
from rich.console import Console
from rich.text import Text

from tinyedge.core.columns import cut_words

ROWS = 24
MAX_LINES = 10_000
TITLE_MARGIN = 30  # columns
COLOURS = {"brown": "yellow"}  # pyte's name for what others call yellow


@dataclass
class Recording:
    """What a terminal showed."""

    columns: int
    """Width of the terminal."""

    code: int = 0
    """Exit code of the command."""

    output: bytes = b""
    """Everything that the command wrote."""

    lines: list[Text] = field(default_factory=list)
    """Lines from the first to the last, with colours: those that scrolled away, then the screen."""

    broken_lines: int = 0
    """How often the terminal continued a text on the next line, because it was too long."""

    @property
    def text(self) -> str:
        """The lines without colours."""
        return "\n".join(line.plain.rstrip() for line in self.lines)

    def to_svg(self, title: str) -> str:
        """Return a picture of the lines."""
        console = Console(
            record=True, file=io.StringIO(), width=self.columns, force_terminal=True, color_system="truecolor"
        )
        for line in self.lines:
            console.print(line, soft_wrap=True)
        fitting = cut_words(
            title, self.columns - TITLE_MARGIN
        )  # beside the window's buttons, in a wider font
        svg = console.export_svg(title=fitting, unique_id="recording")
        # Fonts of another site: a picture in a repository loads nothing, and falls back to monospace.
        return re.sub(r"\s*@font-face \{.*?\}", "", svg, flags=re.DOTALL)


class _Screen(pyte.HistoryScreen):
    """A screen that counts the lines that it breaks itself."""

    def __init__(self, columns: int, lines: int) -> None:
        self.broken_lines = 0
        self._is_drawing = False
        super().__init__(columns, lines, history=MAX_LINES, ratio=1.0)

    def draw(self, data: str) -> None:
        self._is_drawing = True
        super().draw(data)
        self._is_drawing = False

    def linefeed(self) -> None:
        self.broken_lines += self._is_drawing
        super().linefeed()


def record(
    command: Sequence[str],
    columns: int,
    *,
    environment: Mapping[str, str] | None = None,
    until: str = "",
    on_output: Callable[[bytes, int], None] = lambda output, terminal: None,
) -> Recording:
    """Run a command in a terminal.

    Args:
        command: The command; its first word is a program on the PATH.
        columns: Width of the terminal.
        environment: Variables to set in addition.
        until: Text that ends the recording as soon as it is on the screen; the command runs on.
        on_output: Called with each part of the output and the descriptor of the terminal.

    Returns:
        What the terminal showed when the command had ended.
    """
    size = struct.pack("HHHH", ROWS, columns, 0, 0)
    process, terminal = pty.fork()
    if process == 0:
        with contextlib.suppress(OSError):
            fcntl.ioctl(0, termios.TIOCSWINSZ, size)
            # A copy, because a loaded readline puts COLUMNS into the environment behind Python's back.
            inherited = {
                name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")
            }
            os.execvpe(
                command[0], list(command), {**inherited, "TERM": "xterm-256color", **(environment or {})}
            )
        os._exit(127)
    recording = Recording(columns)
    screen = _Screen(columns, ROWS)
    stream = pyte.ByteStream(screen)
    with contextlib.suppress(OSError):  # Linux reports the end of a terminal as an error
        while part := os.read(terminal, 1 << 16):
            recording.output += part
            stream.feed(part)
            on_output(part, terminal)
            if until and not recording.lines and any(until in line for line in screen.display):
                recording.lines = _read_lines(screen)
    _, status = os.waitpid(process, 0)
    os.close(terminal)
    recording.code = os.waitstatus_to_exitcode(status)
    recording.lines = recording.lines or _read_lines(screen)
    recording.broken_lines = screen.broken_lines
    return recording


def resize(terminal: int, columns: int) -> None:
    """Change the width of a terminal while a command runs in it."""
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, columns, 0, 0))


def _read_lines(screen: _Screen) -> list[Text]:
    """Return all lines so far, without empty ones at the end."""
    rows = [*screen.history.top, *(screen.buffer[row] for row in range(screen.cursor.y + 1))]
    lines = [_convert(row, screen.columns) for row in rows]
    while lines and not lines[-1].plain.strip():
        lines.pop()
    return lines


def _convert(row: Mapping[int, Any], columns: int) -> Text:
    """Return a row of the screen as rich's text."""
    line = Text()
    cells = [row[column] for column in range(columns)]
    for style, run in itertools.groupby(cells, _style):
        line.append("".join(cell.data for cell in run), style)
    line.rstrip()
    return line


def _style(cell: Any) -> str:
    words = ["bold"] if cell.bold else []
    if cell.fg != "default":
        name = COLOURS.get(cell.fg, cell.fg)
        name = name.replace("bright", "bright_") if name.startswith("bright") else name
        words.append(f"#{name}" if re.fullmatch("[0-9a-f]{6}", name) else name)
    return " ".join(words)


def main() -> int:
    """Record the command of the command line."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("picture", type=Path, help="SVG file to write")
    arguments.add_argument("--columns", type=int, default=80)
    arguments.add_argument("--title", default="")
    arguments.add_argument("--until", default="", help="record until this text is on the screen")
    arguments.add_argument("command", nargs="+")
    options = arguments.parse_args()
    recording = record(options.command, options.columns, until=options.until)
    options.picture.parent.mkdir(parents=True, exist_ok=True)
    options.picture.write_text(recording.to_svg(options.title or shlex.join(options.command)))
    print(recording.text)
    print(
        f"{len(recording.lines)} lines, {recording.broken_lines} of them broken by the terminal",
        file=sys.stderr,
    )
    return recording.code or int(recording.broken_lines > 0)


if __name__ == "__main__":
    sys.exit(main())
