"""A terminal that a screen is drawn on again and again, and that is left as it was found."""

import contextlib
import os
import select
import shutil
import sys
import termios
import time
import tty
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self

OTHER_SCREEN, OWN_SCREEN = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"  # and the cursor away, and back
HOME, END_OF_LINE, BELOW = "\x1b[H", "\x1b[K", "\x1b[J"
QUIT = b"qQ\x03\x04"


class LiveTerminal:
    """Standard output; where that is a terminal, an own screen of it. q, or Ctrl-C, asks to leave."""

    def __init__(self) -> None:
        self._moves = sys.stdout.isatty()
        self._keys = sys.stdin.fileno() if self._moves and sys.stdin.isatty() else None
        self._before: list[Any] | None = None

    def __enter__(self) -> Self:
        if self._keys is not None:
            self._before = termios.tcgetattr(self._keys)
            tty.setcbreak(self._keys)  # keys come at once and are not echoed; Ctrl-C still interrupts
        if self._moves:
            self._write(OTHER_SCREEN)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, where: TracebackType | None
    ) -> None:
        if self._moves:
            with contextlib.suppress(OSError):  # a terminal that was closed
                self._write(OWN_SCREEN)
        if self._before is not None and self._keys is not None:
            with contextlib.suppress(termios.error):
                termios.tcsetattr(self._keys, termios.TCSADRAIN, self._before)

    def draw(self, lines: Iterable[str]) -> None:
        """Shows lines instead of those before; one block after the other where it is no terminal."""
        if not self._moves:
            self._write("\n".join(lines) + "\n\n")
            return
        width, height = shutil.get_terminal_size()
        shown = [line[:width] for line in lines][: height - 1]
        self._write(HOME + "".join(f"{line}{END_OF_LINE}\r\n" for line in shown) + BELOW)

    def wait(self, seconds: float) -> bool:
        """Waits; whether to leave."""
        if self._keys is None:
            time.sleep(seconds)
            return False
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if select.select([self._keys], [], [], left)[0]:
                pressed = os.read(self._keys, 64)
                if not pressed or any(key in QUIT for key in pressed):
                    return True
        return False

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()
