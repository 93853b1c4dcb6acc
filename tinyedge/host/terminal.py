"""The terminal of this process: whether it has one, and whether it has lost it."""

import os
import signal

CONTROLLING_TERMINAL = "/dev/tty"


class TerminalWatch:
    """Tells the two meanings of SIGHUP apart: the terminal was closed, or somebody sent it.

    Create it while the terminal is there.
    """

    def __init__(self) -> None:
        # nohup ignores the signal: the process is to continue without its terminal.
        self._may_lose_it = signal.getsignal(signal.SIGHUP) != signal.SIG_IGN and _has_terminal()

    def has_lost_it(self) -> bool:
        """Return whether the process had a terminal that is closed now."""
        return self._may_lose_it and not _has_terminal()


def _has_terminal() -> bool:
    try:
        os.close(os.open(CONTROLLING_TERMINAL, os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True
