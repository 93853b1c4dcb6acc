"""How many items of a long command are done: a line on stderr.

In: the items, as the command takes them. Out: on a terminal, a line that is redrawn; elsewhere a line every
30 seconds. Does not know what the items are.
"""

import sys
import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Self, TypeVar

import typer

from tinyedge.cli._echo import print_note, redraw_line

REDRAW_PERIOD_S, LOG_PERIOD_S = 0.25, 30.0  # those of a training run

T = TypeVar("T")


class CountLine:
    """The line of one block: `with CountLine("judged {} of 500 pairs", 500) as line:`."""

    def __init__(self, text: str, total: int) -> None:
        """Set the text, in which `{}` is the number of items that are done, and the number of all items."""
        self._text, self._total = text, total
        self._is_redrawn = sys.stderr.isatty()
        self._period = REDRAW_PERIOD_S if self._is_redrawn else LOG_PERIOD_S
        self._has_line = False

    def __enter__(self) -> Self:
        self._next_at = time.monotonic() + self._period
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, where: TracebackType | None
    ) -> None:
        if self._has_line:  # an error must not be appended to it
            typer.echo(err=True)

    def count(self, items: Iterable[T]) -> Iterator[T]:
        """Yield the items, and show the count when the next one is taken."""
        for done, item in enumerate(items):
            self._show(done)
            yield item
        if self._has_line:
            self._draw(self._total)

    def _show(self, done: int) -> None:
        if (now := time.monotonic()) >= self._next_at:
            self._next_at = now + self._period
            self._draw(done)

    def _draw(self, done: int) -> None:
        text = self._text.format(f"{done:,}")
        if self._is_redrawn:
            self._has_line = True
            redraw_line(text)
        else:
            print_note(text)
