"""`tinyedge` and `python -m tinyedge`: the same program."""

from typing import NoReturn

from tinyedge import collector


def main() -> NoReturn:
    """Starts `tinyedge.cli.main`; see there."""
    with collector.paused():  # Typer is a fifth of all that a start imports
        from tinyedge import cli
    cli.main()


if __name__ == "__main__":
    main()
