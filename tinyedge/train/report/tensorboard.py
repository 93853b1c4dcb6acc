"""Training for TensorBoard: event files in the run's folder, read with `tensorboard --logdir`.

The step axis is tokens seen, so runs with other batch sizes lie on one axis, and a resumed run goes on where
it was.
"""

from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from tinyedge.train.report.reporter import Progress, Reporter
from tinyedge.train.state import EpochRecord

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

FOLDER = "tensorboard"  # in a run's folder
EVERY = 10  # steps between scalars


class TensorBoard:
    """A training Reporter that writes event files, and passes everything on to another Reporter."""

    def __init__(self, folder: Path, reporter: Reporter) -> None:
        self._folder = folder
        self._reporter = reporter
        self._tokens = 0
        self._opened: SummaryWriter | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, where: TracebackType | None
    ) -> None:
        if self._opened:
            self._opened.close()

    def step(self, progress: Progress) -> None:
        """The training loss is the mean of the epoch so far, as on the terminal."""
        self._reporter.step(progress)
        self._tokens = progress.tokens
        if progress.step % EVERY == 0:
            self._write("loss/training", progress.loss)
            self._write("learning_rate", progress.lr)
            self._write("tokens_per_second", progress.tokens_per_second)

    def epoch(self, record: EpochRecord) -> None:
        """Held-out loss, and bits per byte by language."""
        self._reporter.epoch(record)
        self._tokens = record.tokens
        self._write("loss/training", record.train_loss)
        self._write("loss/held_out", record.val_loss)
        for name, bits in record.val_bits_per_byte.items():
            self._write(f"bits_per_byte/{name}", bits)
        self._writer.flush()

    def sample(self, prompt: str, text: str) -> None:
        """What the model says now, as text."""
        self._reporter.sample(prompt, text)
        self._writer.add_text(f"sample/{prompt}", text, self._tokens)

    def note(self, text: str) -> None:
        """For a person only."""
        self._reporter.note(text)

    def _write(self, name: str, value: float) -> None:
        self._writer.add_scalar(name, value, self._tokens)

    @property
    def _writer(self) -> "SummaryWriter":
        """Opened by the first event: by then an earlier run's files were set aside.

        What a killed process wrote after the checkpoint that this one goes on from is hidden.
        """
        if self._opened is None:
            from torch.utils.tensorboard import SummaryWriter

            self._opened = SummaryWriter(self._folder / FOLDER, purge_step=self._tokens)
        return self._opened
