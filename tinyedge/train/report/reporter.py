"""What a run tells while it trains, and to whom. Terminal, log and tensorboard are Reporters."""

from dataclasses import dataclass
from typing import Protocol

from tinyedge.train.state import EpochRecord


@dataclass(frozen=True)
class Progress:
    """After a step. step, steps: in the whole run. loss: mean of the epoch so far, nats per token.

    val_loss: of the last finished epoch. tokens: predicted since the run began. lr: of this step.
    tokens_per_second: of the epoch so far. eta_s: None until a step is done that did not compile.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    val_loss: float | None
    tokens: int
    lr: float
    tokens_per_second: float
    eta_s: float | None


class Reporter(Protocol):
    """Who is told what happens."""

    def step(self, progress: Progress) -> None: ...
    def epoch(self, record: EpochRecord) -> None: ...
    def sample(self, prompt: str, text: str) -> None: ...
    def note(self, text: str) -> None: ...
