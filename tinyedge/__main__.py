"""`tinyedge` and `python -m tinyedge`: the same program."""

from typing import NoReturn

from tinyedge.host import gc_pause


def main() -> NoReturn:
    """Starts `tinyedge.cli.main.main`; see there."""
    with gc_pause.pause_gc():  # Typer is a fifth of all imports at startup
        from tinyedge.cli.main import main as run_program
    run_program()


if __name__ == "__main__":
    main()
