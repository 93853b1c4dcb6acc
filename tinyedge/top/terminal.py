"""Terminal on which a screen is drawn repeatedly, and which is restored afterwards."""

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

from tinyedge.core.printable import write_control

ENTER_SCREEN, LEAVE_SCREEN = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"  # also hide and show the cursor
HOME, ERASE_TO_LINE_END, ERASE_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"
QUIT_KEYS = b"qQ\x03\x04"


class LiveTerminal:
    """Standard output; if that is a terminal, its alternate screen. The user quits with q or Ctrl-C."""

    def __init__(self) -> None:
        self._is_terminal = sys.stdout.isatty()
        self._keyboard = sys.stdin.fileno() if self._is_terminal and sys.stdin.isatty() else None
        self._saved_settings: list[Any] | None = None

    def __enter__(self) -> Self:
        if self._keyboard is not None:
            self._saved_settings = termios.tcgetattr(self._keyboard)
            tty.setcbreak(self._keyboard)  # keys arrive at once, without echo; Ctrl-C still interrupts
        if self._is_terminal:
            self._write(ENTER_SCREEN)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, where: TracebackType | None
    ) -> None:
        if self._is_terminal:
            with contextlib.suppress(OSError):  # the terminal was closed
                self._write(LEAVE_SCREEN)
        if self._saved_settings is not None and self._keyboard is not None:
            with contextlib.suppress(termios.error):
                termios.tcsetattr(self._keyboard, termios.TCSADRAIN, self._saved_settings)

    def draw(self, lines: Iterable[str]) -> None:
        """Replace the lines on the terminal; if it is not one, print the lines as a further block."""
        if not self._is_terminal:
            self._write("\n".join(lines) + "\n\n")
            return
        width, height = shutil.get_terminal_size()
        shown = [line[:width] for line in lines][: height - 1]
        self._write(HOME + "".join(f"{line}{ERASE_TO_LINE_END}\r\n" for line in shown) + ERASE_BELOW)

    def wait(self, seconds: float) -> bool:
        """Wait for a time or a key.

        Args:
            seconds: Time to wait.

        Returns:
            Whether the user quits.
        """
        if self._keyboard is None:
            time.sleep(seconds)
            return False
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if select.select([self._keyboard], [], [], left)[0]:
                pressed = os.read(self._keyboard, 64)
                if not pressed or any(key in QUIT_KEYS for key in pressed):
                    return True
        return False

    def _write(self, text: str) -> None:
        write_control(sys.stdout, text)
        sys.stdout.flush()
