"""`tinyedge` and `python -m tinyedge`: the same program."""

from tinyedge.host import interrupt

interrupt.handle_start()  # before the other imports: each of them can be interrupted

from tinyedge.host import gc_pause  # noqa: E402

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


def main() -> "NoReturn":
    """Start `tinyedge.cli.main.main`; see there."""
    with gc_pause.pause_gc():  # Typer and what it imports are most of the imports at startup
        import signal

        # A parent that ignores SIGCHLD passes that on. The kernel then discards the exit status of every
        # child, and `subprocess` reports 0 for a child that failed.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        from tinyedge.cli.main import main as run_program
    try:
        interrupt.handle_run()
        run_program()
    except KeyboardInterrupt:  # before or after the program's own handling of errors
        interrupt.exit_at_once(signal.SIGINT, None)
    except SystemExit as end:
        interrupt.handle_exit(end.code)
        raise


if __name__ == "__main__":
    main()
