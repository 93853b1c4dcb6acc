"""The line of a run's progress: which of its fields fit a terminal.

In: the latest progress, the current phase, the columns. Out: pieces of text, each with a style of rich. Does
not know the terminal.
"""

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from tinyedge.core.columns import cell_width

if TYPE_CHECKING:
    from tinyedge.train.report.reporter import Progress

MIN_BAR, MAX_BAR = 8, 30  # columns
SEPARATOR = "  "


class StyledText(NamedTuple):
    """A part of the line."""

    text: str
    style: str = ""


class ProgressField(NamedTuple):
    """A part that is left out where it does not fit."""

    importance: int
    text: str
    style: str = ""


@dataclass
class ProgressLine:
    """What the line shows, at any moment."""

    progress: "Progress | None" = None
    """After the latest step; None before the first."""

    progress_at: float = 0.0
    """Time of `progress`, by `time.monotonic`."""

    phase: str = ""
    """Work between steps, such as "saving"; empty during steps."""

    phase_at: float = 0.0
    """When the phase began, by `time.monotonic`."""

    def set_progress(self, progress: "Progress") -> None:
        """Show a step."""
        self.progress, self.progress_at, self.phase = progress, time.monotonic(), ""

    def set_phase(self, name: str) -> None:
        """Show a phase and the seconds since its start."""
        self.phase, self.phase_at = name, time.monotonic()

    def compose(self, width: int, marks: tuple[str, str] = ("#", ".")) -> list[StyledText]:
        """Return the pieces that fit `width` columns. A field is shown completely or not at all.

        Args:
            width: Columns.
            marks: Characters of the bar, for what is done and what is left.
        """
        now = time.monotonic()
        fields = self._list_fields(now)
        kept: list[ProgressField] = []
        left = width
        for field in sorted(fields, key=lambda field: field.importance):
            needed = cell_width(field.text) + (len(SEPARATOR) if kept else 0)
            if needed <= left:
                kept.append(field)
                left -= needed
        pieces: list[StyledText] = []
        share = self._share_done()
        bar = min(left - len(SEPARATOR), MAX_BAR)
        if share is not None and bar >= MIN_BAR:
            done = int(share * bar)
            pieces += [
                StyledText(marks[0] * done, "cyan"),
                StyledText(marks[1] * (bar - done), "bright_black"),
            ]
        for field in fields:
            if field in kept:
                pieces += [StyledText(SEPARATOR)] if pieces else []
                pieces.append(StyledText(field.text, field.style))
        return pieces

    def _list_fields(self, now: float) -> list[ProgressField]:
        """Return all fields, from left to right."""
        progress = self.progress
        phase = f"{self.phase} {format_seconds(now - self.phase_at)}" if self.phase else ""
        if progress is None:
            return [ProgressField(0, phase)] if phase else []
        fields = [ProgressField(1, progress.teacher)] if progress.teacher else []
        fields.append(ProgressField(0, f"epoch {progress.epoch}/{progress.epochs}", "bold"))
        share = self._share_done()
        if share is not None:
            fields.append(ProgressField(3, f"{100 * share:.0f}%"))
        if phase:
            fields.append(ProgressField(2, phase))
        else:
            fields.append(ProgressField(2, f"loss {progress.loss:.3f}"))
            if progress.val_loss is not None:
                fields.append(ProgressField(4, f"held out {progress.val_loss:.3f}"))
            fields.append(ProgressField(5, f"{progress.tokens_per_second:,.0f} tok/s"))
        if progress.eta_s is not None:
            fields.append(
                ProgressField(1, f"ETA {format_clock(self._seconds_left(progress.eta_s, now))}", "bold")
            )
        return fields

    def _seconds_left(self, eta_s: float, now: float) -> float:
        return max(0.0, eta_s - (now - self.progress_at))

    def _share_done(self) -> float | None:
        """Return the share of the run's steps that are done: unlike a share of its time, it never falls."""
        return self.progress.step / self.progress.steps if self.progress else None


def format_clock(seconds: float) -> str:
    """Return a duration as minutes and seconds, with hours if there are any: 0:07, 12:30, 1:02:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def format_seconds(seconds: float) -> str:
    """Return a duration as whole seconds below two minutes, otherwise as `format_clock`."""
    return f"{seconds:.0f} s" if seconds < 120 else format_clock(seconds)
