"""The interface that training reports to. Terminal, log and TensorBoard implement it."""

from dataclasses import dataclass
from typing import Protocol

from tinyedge.train.state import EpochRecord


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

    tokens_per_second: float
    """Speed of the epoch so far."""

    eta_s: float | None
    """Estimated seconds left; None until a step is finished that did not include compilation."""


class Reporter(Protocol):
    """Receives what happens in a run."""

    def step(self, progress: Progress) -> None:
        """Receive the progress after a step."""

    def epoch(self, record: EpochRecord) -> None:
        """Receive the record of a finished epoch."""

    def sample(self, prompt: str, text: str) -> None:
        """Receive a generated text, which starts with its prompt."""

    def note(self, text: str) -> None:
        """Receive any other line for the user."""
