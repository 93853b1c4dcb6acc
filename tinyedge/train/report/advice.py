"""Advice on problems of a run, from the guide's problem-solution matrix, one sentence each.

In: the history of a run, or an exception. Out: advice, or an error with a hint.

Two rows of the matrix, size mismatch and missing tokenizer, are errors where the file is read. Two are not
covered: a reader has to notice gibberish, and only the driver knows a GPU's utilization.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tinyedge.core.errors import TrainingError

HIGH_LOSS, HIGH_LOSS_EPOCH = 5.0, 10  # the guide's: a higher loss after so many epochs is a problem
GUIDE_RATE = 1e-3  # the guide's remedy for a loss that does not fall
GUIDE_LOW_RATE = 1e-4  # and for one that diverges
STUCK_EPOCHS, STUCK_SHARE = 3, 1e-3  # the loss fell by less than this share in so many epochs
STUCK_RATE_SHARE = 0.1  # of the peak learning rate; below it the schedule is ending and the loss may rest
OVERFITTING_EPOCHS = 2
SLOWED_SHARE = 0.5  # of the speed of the first epoch
LONG_HOURS = 3.0

History = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Advice:
    """A detected problem."""

    kind: str
    """Name of the problem, for programs."""

    sentence: str
    """Problem and remedy, for the user."""


def advise(history: History, eta_s: float | None, speed: float | None) -> list[Advice]:
    """Detect problems of a run.

    Args:
        history: An `EpochRecord` for each finished epoch, as a mapping.
        eta_s: Estimated seconds left; None if unknown.
        speed: Tokens per second of the last epoch, without the step that compiled; None if unknown.
    """
    found = (
        _check_high_loss(history),
        _check_stuck(history),
        _check_overfitting(history),
        _check_speed(history, speed),
        _check_duration(eta_s),
    )
    return [advice for advice in found if advice]


def divergence_error(loss: float, epoch: int, step: int, rate: float) -> TrainingError:
    """Return the error for a loss that is NaN or infinite.

    Args:
        loss: The loss.
        epoch: Number of the epoch, from 1.
        step: Number of the step, from 1.
        rate: The run's peak learning rate.
    """
    lower = GUIDE_LOW_RATE if rate > GUIDE_LOW_RATE else rate / 10
    return TrainingError(
        f"the loss is {loss} in epoch {epoch}, step {step}: training stopped; earlier checkpoints remain",
        f"start a new run with --restart --learning-rate {lower:g} --clip-norm 1",
    )


def out_of_memory_error(failure: Exception, batch_size: int, length: int) -> TrainingError | None:
    """Return the error for a failed allocation.

    Args:
        failure: Exception from Python, from torch on a CPU or from torch on a GPU.
        batch_size: The run's batch size.
        length: The run's window length.

    Returns:
        The error, or None if the exception has another cause.
    """
    words = str(failure).lower()
    if not isinstance(failure, MemoryError) and not any(
        sign in words for sign in ("out of memory", "can't allocate memory", "not enough memory")
    ):
        return None
    remedies = [f"--batch-size {max(1, batch_size // 2)}"] if batch_size > 1 else []
    remedies += [f"--max-seq-length {max(32, length // 2)}"] if length > 32 else []
    return TrainingError(
        f"out of memory with --batch-size {batch_size} and --max-seq-length {length}",
        f"start a new run with --restart and {' or '.join(remedies) or 'a smaller --d-model'}",
    )


def _check_high_loss(history: History) -> Advice | None:
    if len(history) < HIGH_LOSS_EPOCH or history[-1]["train_loss"] <= HIGH_LOSS:
        return None
    peak = max(record["lr"] for record in history)
    remedy = f"raise --learning-rate to {GUIDE_RATE:g}" if peak < GUIDE_RATE else "use a larger --d-model"
    return Advice(
        "high-loss",
        f"advice: the loss is still {history[-1]['train_loss']:.2f} after epoch {len(history)}; {remedy}, and"
        " check that the corpus contains the text you intended",
    )


def _check_stuck(history: History) -> Advice | None:
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
        " --recipe fast, whose optimizer still makes progress where AdamW stalls",
    )


def _check_overfitting(history: History) -> Advice | None:
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
        " the best; fewer --epochs or --patience 2 end the run earlier, more text improves the model",
    )


def _check_speed(history: History, speed: float | None) -> Advice | None:
    if speed is None or len(history) < 2 or speed >= SLOWED_SHARE * history[0]["tokens_per_second"]:
        return None
    return Advice(
        "slowed",
        f"advice: {speed:,.0f} tokens/s now, {history[0]['tokens_per_second']:,.0f} at first; check what else"
        " runs on this machine, and whether it is too hot",
    )


def _check_duration(eta_s: float | None) -> Advice | None:
    if eta_s is None or eta_s < LONG_HOURS * 3600:
        return None
    return Advice(
        "long",
        f"advice: about {eta_s / 3600:.0f} hours left; a GPU (--device cuda) or fewer --epochs shorten the"
        " run, --max-minutes fits the schedule to a time limit; Ctrl-C saves, --resume continues",
    )
