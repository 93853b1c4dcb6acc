"""The interface that training reports to. Terminal, log and TensorBoard implement it."""

import dataclasses
from dataclasses import dataclass
from typing import Protocol, Self

from tinyedge.train.state import EpochRecord, State


@dataclass(frozen=True)
class Progress:
    """Progress of a run after a step."""

    epoch: int
    """Number of the current epoch, from 1."""

    epochs: int
    """Epochs of the complete run."""

    step: int
    """Finished steps of the run."""

    steps: int
    """Steps of the complete run."""

    loss: float
    """Mean loss of the epoch so far, nats per token."""

    val_loss: float | None
    """Held-out loss of the last finished epoch, nats per token."""

    tokens: int
    """Tokens predicted since the start of the run."""

    lr: float
    """Learning rate of this step."""

    elapsed_s: float
    """Seconds trained since the start of the run."""

    tokens_per_second: float
    """Speed of the epoch so far."""

    eta_s: float | None
    """Estimated seconds left, evaluation and saving included; None until a step is finished that did not
    include compilation."""

    teacher: str = ""
    """Name of the teacher that is trained; empty for the run itself."""

    @classmethod
    def from_state(cls, state: State, epochs: int, steps_per_epoch: int, eta_s: float | None) -> Self:
        """Return the progress of a run's state after a step."""
        return cls(
            epoch=state.epoch + 1,
            epochs=epochs,
            step=state.epoch * steps_per_epoch + state.step,
            steps=epochs * steps_per_epoch,
            loss=state.loss,
            val_loss=state.history[-1]["val_loss"] if state.history else None,
            tokens=state.tokens,
            lr=state.lr,
            elapsed_s=state.elapsed_s,
            tokens_per_second=state.tokens_per_second,
            eta_s=eta_s,
        )


class Reporter(Protocol):
    """Receives what happens in a run."""

    def phase(self, name: str) -> None:
        """Receive the start of work that is not a step, such as "saving". The next event ends it."""

    def step(self, progress: Progress) -> None:
        """Receive the progress after a step."""

    def epoch(self, record: EpochRecord) -> None:
        """Receive the record of a finished epoch."""

    def sample(self, prompt: str, text: str) -> None:
        """Receive a generated text, which starts with its prompt."""

    def note(self, text: str) -> None:
        """Receive any other line for the user."""


class TeacherReporter:
    """Reports a teacher's run as a part of the run that it teaches.

    Args:
        reporter: Receives progress, and notes that name the teacher; no epochs and samples, as they would be
            taken for those of the run.
        name: Name of the teacher.
    """

    def __init__(self, reporter: Reporter, name: str) -> None:
        self._reporter = reporter
        self._name = name

    def phase(self, name: str) -> None:
        """Pass on what is being done."""
        self._reporter.phase(name)

    def step(self, progress: Progress) -> None:
        """Pass on the progress, as the teacher's."""
        self._reporter.step(dataclasses.replace(progress, teacher=self._name))

    def epoch(self, record: EpochRecord) -> None:
        """Note the teacher's held-out loss."""
        self.note(f"epoch {record.epoch}: held out {record.val_loss:.3f}, {record.elapsed_s:.0f} s")

    def sample(self, prompt: str, text: str) -> None:
        """Drop a generated text."""

    def note(self, text: str) -> None:
        """Pass on a line."""
        self._reporter.note(f"{self._name}: {text}")
