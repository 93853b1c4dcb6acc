"""Event files for TensorBoard in the run folder, read with `tensorboard --logdir`.

In: what a Reporter receives. Out: event files. The step axis is tokens seen, so that runs with different
batch sizes are comparable, and a resumed run continues where it was.
"""

from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from tinyedge.core.errors import UsageError
from tinyedge.core.run_files import TENSORBOARD_FOLDER as FOLDER
from tinyedge.train.report.reporter import Progress, Reporter
from tinyedge.train.state import EpochRecord

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

STEPS_PER_SCALAR = 10


class TensorBoard:
    """A Reporter that writes event files and passes everything on to another Reporter.

    Args:
        folder: Run folder.
        reporter: Receives everything as well.

    Raises:
        UsageError: TensorBoard cannot write to the folder, because its name is not UTF-8.
    """

    def __init__(self, folder: Path, reporter: Reporter) -> None:
        try:
            str(folder.resolve()).encode()
        except UnicodeEncodeError:
            message = f"TensorBoard cannot write to {folder}: the name is not UTF-8"
            raise UsageError(message, "omit --tensorboard, or give another --output-dir") from None
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

    def phase(self, name: str) -> None:
        """Pass a phase on; TensorBoard does not show them."""
        self._reporter.phase(name)

    def step(self, progress: Progress) -> None:
        """Write the mean training loss of the epoch so far, learning rate and speed; nothing of a teacher."""
        self._reporter.step(progress)
        if progress.teacher:
            return
        self._tokens = progress.tokens
        if progress.step % STEPS_PER_SCALAR == 0:
            self._write("loss/training", progress.loss)
            self._write("learning_rate", progress.lr)
            self._write("tokens_per_second", progress.tokens_per_second)

    def epoch(self, record: EpochRecord) -> None:
        """Write the held-out loss, and bits per byte by language."""
        self._reporter.epoch(record)
        self._tokens = record.tokens
        self._write("loss/training", record.train_loss)
        self._write("loss/held_out", record.val_loss)
        for name, bits in record.val_bits_per_byte.items():
            self._write(f"bits_per_byte/{name}", bits)
        self._writer.flush()

    def sample(self, prompt: str, text: str) -> None:
        """Write a generated text."""
        self._reporter.sample(prompt, text)
        self._writer.add_text(f"sample/{prompt}", text, self._tokens)

    def note(self, text: str) -> None:
        """Pass a note on; TensorBoard does not show them."""
        self._reporter.note(text)

    def _write(self, name: str, value: float) -> None:
        self._writer.add_scalar(name, value, self._tokens)

    @property
    def _writer(self) -> "SummaryWriter":
        """The writer, opened at the first event. By then the files of a previous run have been moved away.

        What a killed process wrote after the checkpoint that the run resumes from is hidden.
        """
        if self._opened is None:
            from torch.utils.tensorboard import SummaryWriter

            self._opened = SummaryWriter(self._folder / FOLDER, purge_step=self._tokens)
        return self._opened
