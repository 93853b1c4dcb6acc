"""Ctrl-C: exit code 130 and one error line, also during imports.

In: SIGINT. Out: KeyboardInterrupt outside imports, or the end of the process. Does not know any command, and
imports only what Python has already loaded: `signal` imports `enum`, and each import can be interrupted.
"""

import _signal  # type: ignore[import-not-found]  # typeshed describes only signal
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import NoReturn

EXIT_CODE = 130
RETRY_S = 0.01  # pause between two attempts to deliver a signal that arrived during an import
IMPORT_SYSTEM = "<frozen importlib._bootstrap"  # file name of its frames

_was_raised = False


def exit_at_once(number: int, frame: "FrameType | None") -> "NoReturn":
    """Report the interrupt and end the process. For the times at which there is nothing to clean up."""
    try:
        os.write(2, b"error: interrupted\n")
    finally:  # standard error may be closed
        os._exit(EXIT_CODE)


def exit_silently(number: int, frame: "FrameType | None") -> "NoReturn":
    """End a process that has already reported the interrupt."""
    os._exit(EXIT_CODE)


def raise_outside_imports(number: int, frame: "FrameType | None") -> None:
    """Raise KeyboardInterrupt, after the current import if there is one.

    In an import, a module written in C or C++ may replace the exception by another one or end the process,
    and the import system's callbacks print it and continue.
    """
    global _was_raised
    if _is_importing(frame):
        _signal.signal(_signal.SIGALRM, lambda number, frame: _signal.raise_signal(_signal.SIGINT))
        _signal.setitimer(_signal.ITIMER_REAL, RETRY_S)
        return
    _was_raised = True
    raise KeyboardInterrupt


def was_raised() -> bool:
    """Whether Ctrl-C has raised KeyboardInterrupt, even if a library replaced it by another exception."""
    return _was_raised


def forget() -> None:
    """Forget a KeyboardInterrupt that a command handled: it goes on, and does not end as interrupted."""
    global _was_raised
    _was_raised = False


def handle_start() -> None:
    """Exit at once on Ctrl-C while the program is imported. An ignored signal stays ignored."""
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        _signal.signal(_signal.SIGINT, exit_at_once)


def handle_run() -> None:
    """Raise KeyboardInterrupt on Ctrl-C from now on."""
    if _signal.getsignal(_signal.SIGINT) is exit_at_once:
        _signal.signal(_signal.SIGINT, raise_outside_imports)


def handle_exit(code: object) -> None:
    """Exit at once on Ctrl-C while the interpreter shuts down, which prints exceptions.

    Args:
        code: Exit code of the program.
    """
    if _signal.getsignal(_signal.SIGINT) is raise_outside_imports:
        _signal.signal(_signal.SIGINT, exit_silently if code == EXIT_CODE else exit_at_once)
    if _signal.setitimer(_signal.ITIMER_REAL, 0)[0]:  # a signal is still waiting for the end of an import
        _signal.raise_signal(_signal.SIGINT)


def _is_importing(frame: "FrameType | None") -> bool:
    while frame:
        if frame.f_code.co_filename.startswith(IMPORT_SYSTEM):
            return True
        frame = frame.f_back
    return False
