"""Messages of a command on stderr, so that its results on stdout can be piped.

On a terminal, lines are broken between words; elsewhere a line stays a line.
"""

import shutil
import sys
from typing import TextIO

import typer

from tinyedge.core.printable import write_control

PAGE_WIDTH = 100  # columns of a text that is not a table, where the terminal is wider or there is none


def print_note(text: str) -> None:
    """Print a message for the user on stderr."""
    typer.echo(fit_lines(text, sys.stderr), err=True)


def print_result(text: str) -> None:
    """Print a sentence of the result on stdout. A JSON text is printed as it is."""
    typer.echo(fit_lines(text, sys.stdout))


def print_next(command: str) -> None:
    """Print the command that usually follows, so that it can be copied, on stdout."""
    from tinyedge.cli._argv import break_command

    typer.echo(f"next: {break_command(command, terminal_width(sys.stdout), 'next: ')}")


def terminal_width(stream: TextIO) -> int | None:
    """Return the columns of the terminal behind a stream; None if it is no terminal."""
    return shutil.get_terminal_size().columns if stream.isatty() else None


def page_width() -> int:
    """Return the columns for a text on stdout: those of the terminal, at most PAGE_WIDTH."""
    return min(terminal_width(sys.stdout) or PAGE_WIDTH, PAGE_WIDTH)


def fit_lines(text: str, stream: TextIO) -> str:
    """Return a text with lines that the terminal behind a stream does not break inside a word."""
    width = terminal_width(stream)
    if width is None:
        return text
    from tinyedge.core.columns import wrap_words

    return "\n".join(part for line in text.split("\n") for part in wrap_words(line, width))


def redraw_line(text: str) -> None:
    """Write over the current line of the terminal at stderr."""
    write_control(sys.stderr, f"\r{text}")
    sys.stderr.flush()
