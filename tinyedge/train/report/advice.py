"""What a run's course says, and the guide's way out: its problem-solution matrix, in a sentence each.

Of its rows, size mismatch and missing tokenizer are errors where the file is read. Two are not here:
gibberish is for a reader to judge, and how busy a GPU is only its driver knows.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tinyedge.core.errors import TrainingError

HIGH_LOSS, HIGH_LOSS_EPOCH = 5.0, 10  # the guide's: above it after so many epochs is a problem
GUIDE_RATE = 1e-3  # the guide's answer to a loss that is stuck
GUIDE_LOW_RATE = 1e-4  # and to one that explodes
STUCK_EPOCHS, STUCK_SHARE = 3, 1e-3  # a loss that fell by less than this share in so many epochs
STUCK_RATE_SHARE = 0.1  # of the peak: below it, a schedule is ending and the loss may rest
OVERFITTING_EPOCHS = 2
SLOWED_SHARE = 0.5  # of the speed of the first epoch
LONG_HOURS = 3.0

History = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Advice:
    """A problem that was recognised. kind: one word, for those who count; sentence: for the user."""

    kind: str
    sentence: str


def advise(history: History, eta_s: float | None, speed: float | None) -> list[Advice]:
    """What can be said of a run with these epochs behind it and `eta_s` seconds to go.

    speed: tokens a second of the last epoch, without the step that compiled. None where nobody knows yet.
    """
    found = (
        _high_loss(history),
        _stuck(history),
        _overfitting(history),
        _slowed(history, speed),
        _long(eta_s),
    )
    return [advice for advice in found if advice]


def diverged(loss: float, epoch: int, step: int, rate: float) -> TrainingError:
    """The loss is NaN or infinite; epoch from 1. Nothing was saved since."""
    lower = GUIDE_LOW_RATE if rate > GUIDE_LOW_RATE else rate / 10
    return TrainingError(
        f"the loss is {loss} in epoch {epoch}, step {step}: training stopped, what was saved before stays",
        f"begin again with --restart --learning-rate {lower:g} --clip-norm 1",
    )


def out_of_memory(failure: Exception, batch_size: int, length: int) -> TrainingError | None:
    """The error for a failed allocation, as Python, torch on a CPU or torch on a GPU word it; else None."""
    words = str(failure).lower()
    if not isinstance(failure, MemoryError) and not any(
        sign in words for sign in ("out of memory", "can't allocate memory", "not enough memory")
    ):
        return None
    ways = [f"--batch-size {max(1, batch_size // 2)}"] if batch_size > 1 else []
    ways += [f"--max-seq-length {max(32, length // 2)}"] if length > 32 else []
    return TrainingError(
        f"out of memory with --batch-size {batch_size} and --max-seq-length {length}",
        f"begin again with --restart and {' or '.join(ways) or 'a smaller --d-model'}",
    )


def _high_loss(history: History) -> Advice | None:
    if len(history) < HIGH_LOSS_EPOCH or history[-1]["train_loss"] <= HIGH_LOSS:
        return None
    peak = max(record["lr"] for record in history)
    way = f"raise --learning-rate to {GUIDE_RATE:g}" if peak < GUIDE_RATE else "take a larger --d-model"
    return Advice(
        "high-loss",
        f"advice: the loss is still {history[-1]['train_loss']:.2f} after epoch {len(history)}; {way}, and"
        " read some lines of the corpus to see that it is what you meant",
    )


def _stuck(history: History) -> Advice | None:
    losses = [record["train_loss"] for record in history]
    if len(losses) <= STUCK_EPOCHS:
        return None
    if history[-1]["lr"] < STUCK_RATE_SHARE * max(record["lr"] for record in history):
        return None
    before, since = min(losses[:-STUCK_EPOCHS]), min(losses[-STUCK_EPOCHS:])
    if since < before * (1 - STUCK_SHARE):
        return None
    return Advice(
        "stuck",
        f"advice: the loss has not fallen for {STUCK_EPOCHS} epochs; raise --learning-rate, or pass"
        " --recipe fast, whose optimizer moves where AdamW rests",
    )


def _overfitting(history: History) -> Advice | None:
    last = history[-1 - OVERFITTING_EPOCHS :]
    pairs = list(itertools.pairwise(last))
    if len(pairs) < OVERFITTING_EPOCHS or not all(
        new["train_loss"] < old["train_loss"] and new["val_loss"] > old["val_loss"] for old, new in pairs
    ):
        return None
    best = min(history, key=lambda record: record["val_loss"])
    return Advice(
        "overfitting",
        f"advice: held-out loss rises while training loss falls; best_model.pt keeps epoch {best['epoch']},"
        " the best; fewer --epochs or --patience 2 end the run sooner, more text makes it better",
    )


def _slowed(history: History, speed: float | None) -> Advice | None:
    if speed is None or len(history) < 2 or speed >= SLOWED_SHARE * history[0]["tokens_per_second"]:
        return None
    return Advice(
        "slowed",
        f"advice: {speed:,.0f} tokens/s now, {history[0]['tokens_per_second']:,.0f} at first; see what else"
        " runs here, or whether the machine is too hot",
    )


def _long(eta_s: float | None) -> Advice | None:
    if eta_s is None or eta_s < LONG_HOURS * 3600:
        return None
    return Advice(
        "long",
        f"advice: some {eta_s / 3600:.0f} hours to go; a GPU (--device cuda) or fewer --epochs make it"
        " shorter, --max-minutes fits the schedule to the time there is; Ctrl-C saves, --resume goes on",
    )
