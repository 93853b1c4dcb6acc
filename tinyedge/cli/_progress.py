"""Progress of a training run: one line that is redrawn on a terminal, a line every 30 s in a log."""

import contextlib
import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from tinyedge.cli._echo import redraw_line

if TYPE_CHECKING:
    from tinyedge.train.report.reporter import Progress
    from tinyedge.train.state import EpochRecord

BAR_WIDTH = 24
TERMINAL_PERIOD_S, LOG_PERIOD_S = 0.2, 30.0


class TerminalReporter:
    """A training Reporter that writes to stderr; `silent` in all processes of a run but the main one."""

    def __init__(self, silent: bool = False) -> None:
        self._silent = silent
        self._is_terminal = sys.stderr.isatty()
        self._next_update = 0.0
        self._drawn_width = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, where: TracebackType | None
    ) -> None:
        self._clear()

    def step(self, progress: "Progress") -> None:
        """Redraw the line, if an update is due."""
        now = time.monotonic()
        if self._silent or now < self._next_update:
            return
        self._next_update = now + (TERMINAL_PERIOD_S if self._is_terminal else LOG_PERIOD_S)
        line = _format_progress(progress)
        if self._is_terminal:
            _redraw(line.ljust(self._drawn_width))
            self._drawn_width = len(line)
        else:
            _write(line)

    def epoch(self, record: "EpochRecord") -> None:
        """Print the epoch's results."""
        bits = " ".join(f"{name} {value:.3f}" for name, value in record.val_bits_per_byte.items())
        self.note(
            f"epoch {record.epoch}: loss {record.train_loss:.3f}, held out {record.val_loss:.3f}"
            f" (bits per byte: {bits}), {record.tokens_per_second:,.0f} tokens/s, {record.elapsed_s:.0f} s"
        )

    def sample(self, prompt: str, text: str) -> None:
        """Print a generated text."""
        self.note(f"  {prompt!r} -> {text}")

    def note(self, text: str) -> None:
        """Print any other line."""
        if not self._silent:
            self._clear()
            _write(text)

    def _clear(self) -> None:
        if self._drawn_width:
            _redraw(" " * self._drawn_width)
            _redraw("")
            self._drawn_width = 0


def _write(text: str) -> None:
    """Write a line to stderr. A closed stderr must not end a training run."""
    with contextlib.suppress(OSError, ValueError):
        print(text, file=sys.stderr, flush=True)


def _redraw(text: str) -> None:
    """Write over the terminal's current line."""
    with contextlib.suppress(OSError, ValueError):
        redraw_line(text)


def _format_progress(progress: "Progress") -> str:
    done = progress.step * BAR_WIDTH // progress.steps
    held_out = f" held out {progress.val_loss:.3f}" if progress.val_loss is not None else ""
    eta = ""
    if progress.eta_s is not None:
        minutes, seconds = divmod(round(progress.eta_s), 60)
        eta = f" ETA {minutes}:{seconds:02d}"
    return (
        f"[{'#' * done}{'.' * (BAR_WIDTH - done)}] epoch {progress.epoch}/{progress.epochs}"
        f" loss {progress.loss:.3f}{held_out} {progress.tokens_per_second:,.0f} tok/s{eta}"
    )
