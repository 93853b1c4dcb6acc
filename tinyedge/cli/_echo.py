"""Messages of a command on stderr, so that its results on stdout can be piped."""

import sys

import typer

from tinyedge.core.printable import write_control


def print_note(text: str) -> None:
    """Print one line for the user."""
    typer.echo(text, err=True)


def redraw_line(text: str) -> None:
    """Write over the current line of the terminal at stderr."""
    write_control(sys.stderr, f"\r{text}")
    sys.stderr.flush()
