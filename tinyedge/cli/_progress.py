"""Training as a person sees it: a line that moves on a terminal, a line now and then in a log."""

import contextlib
import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from tinyedge.train.report.reporter import Progress
    from tinyedge.train.state import EpochRecord

BAR_WIDTH = 24
TERMINAL_PERIOD_S, LOG_PERIOD_S = 0.2, 30.0


class TerminalReporter:
    """A training Reporter on stderr; `silent` in the processes of a run that are not the first."""

    def __init__(self, silent: bool = False) -> None:
        self._silent = silent
        self._moves = sys.stderr.isatty()
        self._next = 0.0
        self._drawn = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, where: TracebackType | None
    ) -> None:
        self._clear()

    def step(self, progress: "Progress") -> None:
        """Draws the line again, if it is time."""
        now = time.monotonic()
        if self._silent or now < self._next:
            return
        self._next = now + (TERMINAL_PERIOD_S if self._moves else LOG_PERIOD_S)
        line = _line(progress)
        if self._moves:
            _say(f"\r{line.ljust(self._drawn)}", end="")
            self._drawn = len(line)
        else:
            _say(line)

    def epoch(self, record: "EpochRecord") -> None:
        """A line that stays."""
        bits = " ".join(f"{name} {value:.3f}" for name, value in record.val_bits_per_byte.items())
        self.note(
            f"epoch {record.epoch}: loss {record.train_loss:.3f}, held out {record.val_loss:.3f}"
            f" (bits per byte: {bits}), {record.tokens_per_second:,.0f} tokens/s, {record.elapsed_s:.0f} s"
        )

    def sample(self, prompt: str, text: str) -> None:
        """What the model says now."""
        self.note(f"  {prompt!r} -> {text}")

    def note(self, text: str) -> None:
        """Any other line."""
        if not self._silent:
            self._clear()
            _say(text)

    def _clear(self) -> None:
        if self._drawn:
            _say("\r" + " " * self._drawn + "\r", end="")
            self._drawn = 0


def _say(text: str, end: str = "\n") -> None:
    """On stderr; a reader that went away is no reason to lose a training run."""
    with contextlib.suppress(OSError, ValueError):
        print(text, end=end, file=sys.stderr, flush=True)


def _line(progress: "Progress") -> str:
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
