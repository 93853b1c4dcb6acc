"""Progress of training on stderr: a line that is redrawn on a terminal, lines of a log elsewhere.

In: what a Reporter receives. Out: text on stderr. rich draws the line and decides on colours (NO_COLOR,
FORCE_COLOR, TERM=dumb); only commands that need torch anyway load this module.
"""

import contextlib
import sys
import time
from types import TracebackType
from typing import IO, TYPE_CHECKING, Self, cast

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.text import Text

from tinyedge.cli._progress_line import ProgressLine, format_clock
from tinyedge.core.columns import cut_words, wrap_words
from tinyedge.core.printable import printable, write_control
from tinyedge.core.runs import ALL

if TYPE_CHECKING:
    from tinyedge.train.report.reporter import Progress
    from tinyedge.train.state import EpochRecord

REFRESHES_PER_SECOND = 4
LOG_PERIOD_S = 30.0


class TerminalReporter:
    """A training Reporter that writes to stderr; `silent` in all processes of a run but the main one."""

    def __init__(self, silent: bool = False) -> None:
        self._silent = silent
        self._console = _Console(file=cast(IO[str], _Stderr()), highlight=False, markup=False, emoji=False)
        self._is_redrawn = sys.stderr.isatty() and self._console.is_interactive
        self._line = ProgressLine()
        self._live: Live | None = None
        self._next_line_at = 0.0  # of a log
        self._logged_phases: set[str] = set()
        self._best_loss: float | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, where: TracebackType | None
    ) -> None:
        self._erase()

    def phase(self, name: str) -> None:
        """Show that work has begun which is not a step. A log names each kind of work once."""
        self._line.set_phase(name)
        if self._is_redrawn:
            self._draw()
        elif name not in self._logged_phases:
            self._logged_phases.add(name)
            self.note(f"{name} ...")

    def step(self, progress: "Progress") -> None:
        """Show a step; in a log, every 30 seconds."""
        self._line.set_progress(progress)
        if self._is_redrawn:
            self._draw()
        elif (now := time.monotonic()) >= self._next_line_at:
            self._next_line_at = now + LOG_PERIOD_S
            self.note(_format_log_line(progress))

    def epoch(self, record: "EpochRecord") -> None:
        """Print the epoch's results."""
        bits = dict(record.val_bits_per_byte)
        overall = bits.pop(ALL)
        languages = ", ".join(f"{name} {value:.3f}" for name, value in bits.items())
        text = (
            f"epoch {record.epoch}: loss {record.train_loss:.3f}, held out {record.val_loss:.3f},"
            f" bits per byte {overall:.3f} ({languages})"
        )
        if not self._is_redrawn:
            text += f", {record.elapsed_s:.0f} s"
        is_better = self._best_loss is None or record.val_loss < self._best_loss
        if is_better:
            self._best_loss = record.val_loss
        self._print(text, "green" if is_better else "yellow")

    def sample(self, prompt: str, text: str) -> None:
        """Print a generated text; on a terminal, as much of it as one line shows."""
        if self._silent:
            return
        prompt, text = printable(prompt), printable(f"  {text}")
        if self._is_redrawn:
            text = cut_words(text, self._console.width)
        line = Text(text, "cyan")
        line.stylize("bold", 0, len(prompt) + 2)
        self._console.print(line, soft_wrap=True)

    def note(self, text: str) -> None:
        """Print any other line."""
        self._print(text, "yellow" if text.startswith("warning: ") else "")

    def confirm(self, question: str) -> bool | None:
        """Ask a question that Enter answers with no.

        Returns:
            The answer; None if nobody can be asked, because stdin or stderr is no terminal.
        """
        if self._silent or not (self._is_redrawn and sys.stdin.isatty()):
            return None
        self._erase()
        self._print(f"{question} [y/N]")
        with contextlib.suppress(EOFError):
            return input().strip().lower() in ("y", "yes")
        return False

    def _print(self, text: str, style: str = "") -> None:
        """Print lines, above the line of progress."""
        if self._silent:
            return
        for line in map(printable, text.split("\n")):
            fitting = wrap_words(line, self._console.width) if self._is_redrawn else [line]
            self._console.print(Text("\n".join(fitting), style), soft_wrap=True)

    def _draw(self) -> None:
        """Let rich redraw the line, several times a second, in a thread of its own."""
        if self._live is None and not self._silent:
            self._live = Live(
                _Drawing(self._line),
                console=self._console,
                refresh_per_second=REFRESHES_PER_SECOND,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()

    def _erase(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None


class _Drawing:
    """The line of progress as rich draws it, for the columns that the terminal has at that moment."""

    def __init__(self, line: ProgressLine) -> None:
        self._line = line

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        marks = ("#", ".") if options.ascii_only else ("█", "░")
        pieces = self._line.compose(options.max_width - 1, marks)  # some terminals wrap a full line
        yield Text.assemble(*pieces, no_wrap=True, overflow="crop", end="")


class _Console(Console):
    """A console that never hides the cursor: a killed run would leave the terminal without one."""

    def show_cursor(self, show: bool = True) -> bool:
        """Do nothing."""
        return False


class _Stderr:
    """Standard error for rich, which escapes nothing. A closed or full one does not end a run."""

    @property
    def encoding(self) -> str:
        return sys.stderr.encoding

    def isatty(self) -> bool:
        return sys.stderr.isatty()

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError, ValueError):
            write_control(sys.stderr, text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.flush()


def _format_log_line(progress: "Progress") -> str:
    held_out = f" held out {progress.val_loss:.3f}" if progress.val_loss is not None else ""
    eta = f" ETA {format_clock(progress.eta_s)}" if progress.eta_s is not None else ""
    teacher = f"{progress.teacher}, " if progress.teacher else ""
    return (
        f"{teacher}epoch {progress.epoch}/{progress.epochs}, step {progress.step}/{progress.steps}:"
        f" loss {progress.loss:.3f}{held_out} {progress.tokens_per_second:,.0f} tok/s{eta}"
    )
