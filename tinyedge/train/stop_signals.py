"""Signals that stop a run: noticed between two steps, so that the run is saved before it ends.

In: SIGINT, SIGTERM, SIGHUP. Out: the number of the last one. Does not know the training loop.
"""

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # SIGHUP: the terminal was closed


class StopSignals:
    """Records the signals that this process receives."""

    def __init__(self) -> None:
        self.last = 0
        """Number of the last signal; 0 if there was none."""

    @contextlib.contextmanager
    def recorded(self) -> Iterator[None]:
        """Record signals, instead of what they do, for the time of a `with`.

        After a signal, further ones stay ignored: the process is expected to end, and another signal would
        interrupt what the caller still has to write.
        """
        ignored = {signal.SIGHUP} if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN else set()  # by nohup
        handled = [number for number in SIGNALS if number not in ignored]
        previous = {number: signal.signal(number, self._record) for number in handled}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, signal.SIG_IGN if self.last else handler)

    def _record(self, number: int, frame: FrameType | None) -> None:
        self.last = number
