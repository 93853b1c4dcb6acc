"""Messages of a command on stderr, so that its results on stdout can be piped."""

import typer


def print_note(text: str) -> None:
    """Print one line for the user."""
    typer.echo(text, err=True)
