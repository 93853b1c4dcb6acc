"""What a command says beside its results: on stderr, so that results can be piped."""

import typer


def note(text: str) -> None:
    """One line for a person."""
    typer.echo(text, err=True)
