"""`tinyedge` and `python -m tinyedge`: the same program."""

import os
import signal

INTERRUPTED = 130  # exit code after Ctrl-C


def exit_at_once(number: int, frame: object) -> "NoReturn":
    """Exit on Ctrl-C during the first imports, when there is nothing to clean up yet."""
    os.write(2, b"error: interrupted\n")
    os._exit(INTERRUPTED)


if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not in the background of a script
    signal.signal(signal.SIGINT, exit_at_once)

from typing import NoReturn  # noqa: E402  # the imports come after it: each of them can be interrupted

from tinyedge.host import gc_pause  # noqa: E402


def main() -> NoReturn:
    """Start `tinyedge.cli.main.main`; see there."""
    # A parent that ignores SIGCHLD passes that on. The kernel then discards the exit status of every child,
    # and `subprocess` reports 0 for a child that failed.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    with gc_pause.pause_gc():  # Typer is a fifth of all imports at startup
        from tinyedge.cli.main import main as run_program
    try:
        if signal.getsignal(signal.SIGINT) is exit_at_once:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        run_program()
    except KeyboardInterrupt:  # before or after the program's own handling of errors
        exit_at_once(signal.SIGINT, None)


if __name__ == "__main__":
    main()
