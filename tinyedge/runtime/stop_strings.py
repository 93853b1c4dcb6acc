"""Stop strings: text that ends before the first of them.

In: stop strings, and text in pieces. Out: the part of the text that may be shown. Does not know the model.
"""

from collections.abc import Sequence

from tinyedge.core.errors import UsageError


class StopStringMatcher:
    """Passes text through up to the first stop string, and holds back what may be the beginning of one.

    The first stop string is the one that is complete first. The result does not depend on how the text is
    split into pieces.
    """

    stopped: bool
    """Whether a stop string was found; no more text is passed through then."""

    def __init__(self, stop: Sequence[str]) -> None:
        self._stop_strings = (stop,) if isinstance(stop, str) else tuple(stop)
        if not all(isinstance(text, str) for text in self._stop_strings):
            raise UsageError("stop is not text", parameters=("stop",))
        if not all(self._stop_strings):
            raise UsageError("stop is empty", "omit it, or pass the text that ends the answer", ("stop",))
        self._pending = ""
        self.stopped = False

    def push(self, text: str) -> str:
        """Read the next piece of text and return what may be shown now."""
        if not self._stop_strings:
            return text
        if self.stopped:
            return ""
        text = self._pending + text
        found = [(at + len(stop), at) for stop in self._stop_strings if (at := text.find(stop)) >= 0]
        if found:
            self.stopped = True
            shown = min(found)[1]
        else:
            shown = len(text) - max((_find_overlap(text, stop) for stop in self._stop_strings), default=0)
        self._pending = "" if self.stopped else text[shown:]
        return text[:shown]

    def flush(self) -> str:
        """Return the text held back, at the end of the text."""
        pending, self._pending = self._pending, ""
        return pending


def _find_overlap(text: str, stop: str) -> int:
    """Return the length of the longest end of `text` that is an incomplete beginning of `stop`."""
    return next((n for n in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:n])), 0)
