"""`tinyedge` and `python -m tinyedge`: the same program."""

import signal
from typing import NoReturn

from tinyedge.host import gc_pause


def main() -> NoReturn:
    """Start `tinyedge.cli.main.main`; see there."""
    # A parent that ignores SIGCHLD passes that on. The kernel then discards the exit status of every child,
    # and `subprocess` reports 0 for a child that failed.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    with gc_pause.pause_gc():  # Typer is a fifth of all imports at startup
        from tinyedge.cli.main import main as run_program
    run_program()


if __name__ == "__main__":
    main()
