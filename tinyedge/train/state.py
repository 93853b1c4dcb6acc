"""The state of a run between two steps: counters, history, samples. All of it is JSON.

In: losses and epoch records. Out: a plain mapping for checkpoints and metrics. Does not know torch.
"""

import dataclasses
import datetime
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class EpochRecord:
    """One entry of the history."""

    epoch: int
    """Number of the epoch, from 1."""

    train_loss: float
    """Mean over the epoch, nats per token."""

    val_loss: float
    """Loss on the held-out text, nats per token."""

    lr: float
    """Learning rate of the last step."""

    val_bits_per_byte: dict[str, float]
    """Bits per byte of the held-out text, by language and for "all"."""

    tokens_per_second: float
    """Training speed of the epoch."""

    elapsed_s: float
    """Seconds trained since the start of the run."""

    tokens: int
    """Tokens predicted since the start of the run."""

    model_id: str = ""
    """Id of the model after the epoch, see `tinyedge.train.model_id`."""


@dataclass
class State:
    """What a resumed run needs besides weights, optimizer state and random numbers."""

    epoch: int = 0
    """Finished epochs."""

    step: int = 0
    """Finished steps of the current epoch."""

    loss_sum: float = 0.0
    """Nats over the `loss_tokens` of the current epoch."""

    loss_tokens: int = 0
    """Tokens predicted in the current epoch."""

    tokens: int = 0
    """Tokens predicted since the start of the run."""

    lr: float = 0.0
    """Learning rate of the last step."""

    resegmented: bool = False
    """Whether the current epoch reads a segmentation of its own."""

    averaged: bool = False
    """Whether the evaluated weights are the average, as chosen at the end of the last epoch."""

    epoch_s: float = 0.0
    """Seconds trained in the current epoch."""

    elapsed_s: float = 0.0
    """Seconds trained since the start of the run."""

    pause_s: float = 0.0
    """The longest time so far between an epoch's last step and the next epoch: validation and saving."""

    trace_nats: float = 0.0
    """Nats over the tokens since the last point of `trace`."""

    trace: list[dict[str, Any]] = field(default_factory=list)
    """Points of the training curve."""

    history: list[dict[str, Any]] = field(default_factory=list)
    """An `EpochRecord` for each finished epoch, as a mapping."""

    samples: list[dict[str, Any]] = field(default_factory=list)
    """Generated texts, each with its epoch and prompt."""

    advised: list[str] = field(default_factory=list)
    """Kinds of advice that were given."""

    run_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    """Identifier of the run, kept when it is resumed."""

    start_timestamp: str = field(
        default_factory=lambda: datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    )
    """When the run started, UTC, ISO 8601."""

    @property
    def loss(self) -> float:
        """Mean loss of the current epoch so far, nats per token."""
        return self.loss_sum / self.loss_tokens

    @property
    def tokens_per_second(self) -> float:
        """Training speed of the current epoch so far."""
        return self.loss_tokens / self.epoch_s if self.epoch_s else 0.0

    @property
    def best(self) -> dict[str, Any] | None:
        """The record with the lowest held-out loss; the first of several equal ones."""
        return min(self.history, key=lambda record: record["val_loss"], default=None)

    @property
    def epochs_since_best(self) -> int:
        """Epochs since the best one; 0 if it was the last."""
        return self.epoch - self.best["epoch"] if self.best else 0

    def record_step(self, loss: float, tokens: int, lr: float) -> None:
        """Add a step.

        Args:
            loss: Mean over the step's tokens, nats per token.
            tokens: Tokens predicted in the step.
            lr: Learning rate of the step.
        """
        self.step += 1
        self.loss_sum += loss * tokens
        self.loss_tokens += tokens
        self.trace_nats += loss * tokens
        self.tokens += tokens
        self.lr = lr

    def add_trace_point(self) -> None:
        """Add a point to the training curve: the mean loss since the previous point."""
        since = self.trace[-1]["tokens"] if self.trace else 0
        loss = self.trace_nats / (self.tokens - since)
        self.trace.append(
            {"tokens": self.tokens, "elapsed_s": self.elapsed_s, "train_loss": loss, "lr": self.lr}
        )
        self.trace_nats = 0.0

    def finish_epoch(self, record: EpochRecord) -> None:
        """Add the record of the current epoch and start the next one."""
        self.history.append(dataclasses.asdict(record))
        self.epoch, self.step = record.epoch, 0
        self.loss_sum, self.loss_tokens, self.epoch_s = 0.0, 0, 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return a plain mapping, for JSON and checkpoints."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: object) -> "State":
        """Restore a state.

        Args:
            values: What `to_dict` returned.

        Raises:
            ValueError: A field is missing, unknown or has an invalid value.
        """
        names = {entry.name for entry in dataclasses.fields(cls)}
        if not isinstance(values, dict) or set(values) != names:
            raise ValueError("its state has other fields")
        for name, is_valid in _VALIDATORS.items():
            if not is_valid(values[name]):
                raise ValueError(f"its state has an invalid {name}")
        state = cls(**values)
        if bool(state.step) != bool(state.loss_tokens):
            raise ValueError("its state has steps without tokens, or tokens without steps")
        if len(state.history) != state.epoch or any(
            record["epoch"] != number for number, record in enumerate(state.history, 1)
        ):
            raise ValueError("its history does not have one entry for each epoch")
        return state


Validator = Callable[[object], bool]
_LIMIT = 1 << 53  # floats represent integers exactly up to here


def _is_text(value: object) -> bool:
    return type(value) is str


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < _LIMIT


def _is_amount(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _LIMIT


def _is_bits_per_byte(value: object) -> bool:
    return (
        isinstance(value, dict)
        and "all" in value
        and all(_is_text(k) and _is_amount(v) for k, v in value.items())
    )


def _list_of(is_valid: Validator) -> Validator:
    return lambda value: type(value) is list and all(map(is_valid, value))


def _mapping_of(**fields: Validator) -> Validator:
    return lambda value: (
        isinstance(value, dict)
        and set(value) == set(fields)
        and all(is_valid(value[name]) for name, is_valid in fields.items())
    )


_RECORD = {entry.name: _is_amount for entry in dataclasses.fields(EpochRecord)}
_VALIDATORS: dict[str, Validator] = {
    **dict.fromkeys(("epoch", "step", "loss_tokens", "tokens"), _is_count),
    **dict.fromkeys(("loss_sum", "lr", "epoch_s", "elapsed_s", "pause_s", "trace_nats"), _is_amount),
    **dict.fromkeys(("resegmented", "averaged"), lambda value: type(value) is bool),
    **dict.fromkeys(("run_id", "start_timestamp"), _is_text),
    "trace": _list_of(
        _mapping_of(tokens=_is_count, elapsed_s=_is_amount, train_loss=_is_amount, lr=_is_amount)
    ),
    "history": _list_of(
        _mapping_of(
            **_RECORD | {"epoch": _is_count, "val_bits_per_byte": _is_bits_per_byte, "model_id": _is_text}
        )
    ),
    "samples": _list_of(_mapping_of(epoch=_is_count, prompt=_is_text, text=_is_text)),
    "advised": _list_of(_is_text),
}
