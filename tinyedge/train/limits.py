"""Conditions that end a run before its last epoch, and how a run ended.

In: what the user asked for. Out: values that the trainer, the pipeline and the metrics share. Does not know
torch.
"""

from collections.abc import Callable
from dataclasses import dataclass

from tinyedge.core.settings import check_settings, setting
from tinyedge.train.state import State

YEAR_MINUTES = 525_600
MAX_COUNT = 1_000_000_000


@dataclass(frozen=True)
class RunLimits:
    """When to stop before the last epoch, and how many checkpoints to keep. None means no limit."""

    max_minutes: float | None = setting(
        None,
        low=0.0,
        high=YEAR_MINUTES,
        exclusive=True,
        unit="minutes",
        none="no limit",
        section="Run",
        help="Stop after N minutes, evaluation and saving included; the learning-rate schedule is scaled to"
        " fit. Corpus and tokenizer time is extra.",
    )
    """Minutes of training, validation and saving. The learning-rate schedule is scaled to fit."""

    checkpoint_minutes: float | None = setting(
        None,
        low=0.0,
        high=YEAR_MINUTES,
        exclusive=True,
        unit="minutes",
        none="after every epoch only",
        section="Run",
        help="Also save every N minutes.",
    )
    """Minutes between checkpoints within an epoch, in addition to those after every epoch."""

    patience: int | None = setting(
        None,
        low=1,
        high=MAX_COUNT,
        none="off",
        section="Run",
        help="Stop after N epochs without a lower held-out loss.",
    )
    """Epochs without a lower held-out loss after which the run stops."""

    keep: int = setting(
        3, low=1, high=MAX_COUNT, section="Run", help="Number of periodic checkpoints to keep, newest first."
    )
    """Number of periodic checkpoints to keep, newest first."""

    prune: Callable[[], bool] = lambda: False
    """Called between epochs. Returns True if the run should stop because other runs are better."""

    def __post_init__(self) -> None:
        check_settings(self)


@dataclass(frozen=True)
class Outcome:
    """How the training loop ended."""

    state: State
    """The run's state at its end."""

    ended_by: str | None
    """"epochs", "max-minutes", "patience" or "pruned"; None if a signal stopped the run."""

    signal: int | None = None
    """Number of the signal that stopped the run."""
