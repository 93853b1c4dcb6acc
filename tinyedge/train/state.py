"""What a run knows of itself between two steps: counters, history, samples; all of it JSON."""

import dataclasses
import datetime
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class EpochRecord:
    """One line of the history. Losses in nats per token; val_bits_per_byte by language and for "all".

    tokens: predicted since the run began. elapsed_s: trained since then.
    """

    epoch: int
    train_loss: float
    val_loss: float
    lr: float
    val_bits_per_byte: dict[str, float]
    tokens_per_second: float
    elapsed_s: float
    tokens: int


@dataclass
class State:
    """What a resume needs besides weights, optimizer and random numbers.

    epoch, step: finished epochs, and finished steps of the one under way. loss_sum: nats over loss_tokens,
    both of the epoch under way, as is epoch_s; tokens and elapsed_s are the run's. lr: the last step's.
    resegmented: whether the epoch under way has a segmentation of its own. pause_s: the longest time after an
    epoch's last step, when it is judged and saved, until the next one begins.
    history: EpochRecords as mappings. trace: points of the training curve; trace_nats: of the tokens since
    the last. advised: the kinds of advice that were given.
    """

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    loss_tokens: int = 0
    tokens: int = 0
    lr: float = 0.0
    resegmented: bool = False
    epoch_s: float = 0.0
    elapsed_s: float = 0.0
    pause_s: float = 0.0
    trace_nats: float = 0.0
    trace: list[dict[str, Any]] = field(default_factory=list)
    history: list[dict[str, Any]] = field(default_factory=list)
    samples: list[dict[str, Any]] = field(default_factory=list)
    advised: list[str] = field(default_factory=list)
    run_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    start_timestamp: str = field(
        default_factory=lambda: datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    )

    @property
    def loss(self) -> float:
        """Mean of the epoch so far, nats per token."""
        return self.loss_sum / self.loss_tokens

    @property
    def tokens_per_second(self) -> float:
        """Of the epoch so far."""
        return self.loss_tokens / self.epoch_s if self.epoch_s else 0.0

    @property
    def best(self) -> dict[str, Any] | None:
        """The record with the lowest held-out loss, the first of equals."""
        return min(self.history, key=lambda record: record["val_loss"], default=None)

    @property
    def epochs_since_best(self) -> int:
        """How many epochs ago that was; 0 is the last one."""
        return self.epoch - self.best["epoch"] if self.best else 0

    def count(self, loss: float, tokens: int, lr: float) -> None:
        """Adds a step: its mean loss over its tokens."""
        self.step += 1
        self.loss_sum += loss * tokens
        self.loss_tokens += tokens
        self.trace_nats += loss * tokens
        self.tokens += tokens
        self.lr = lr

    def add_point(self) -> None:
        """Adds a point to the training curve: the mean loss since the one before."""
        since = self.trace[-1]["tokens"] if self.trace else 0
        loss = self.trace_nats / (self.tokens - since)
        self.trace.append(
            {"tokens": self.tokens, "elapsed_s": self.elapsed_s, "train_loss": loss, "lr": self.lr}
        )
        self.trace_nats = 0.0

    def finish_epoch(self, record: EpochRecord) -> None:
        """Adds the record of the epoch under way and begins the next."""
        self.history.append(dataclasses.asdict(record))
        self.epoch, self.step = record.epoch, 0
        self.loss_sum, self.loss_tokens, self.epoch_s = 0.0, 0, 0.0

    def to_dict(self) -> dict[str, Any]:
        """As a plain mapping, for JSON and checkpoints."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: object) -> "State":
        """From what `to_dict` gave. Raises ValueError where a field is missing, odd, or no such value."""
        names = {entry.name for entry in dataclasses.fields(cls)}
        if not isinstance(values, dict) or set(values) != names:
            raise ValueError("its state has other fields")
        for name, fits in _FITTING.items():
            if not fits(values[name]):
                raise ValueError(f"its state has no usable {name}")
        state = cls(**values)
        if bool(state.step) != bool(state.loss_tokens):
            raise ValueError("its step and its tokens contradict each other")
        if len(state.history) != state.epoch or any(
            record["epoch"] != number for number, record in enumerate(state.history, 1)
        ):
            raise ValueError("its history does not have one entry for each epoch")
        return state


_MOST = 1 << 53  # what a float counts exactly to


def _is_text(value: object) -> bool:
    return type(value) is str


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < _MOST


def _is_amount(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _MOST


def _is_bits(value: object) -> bool:
    return (
        isinstance(value, dict)
        and "all" in value
        and all(_is_text(k) and _is_amount(v) for k, v in value.items())
    )


def _list_of(fits: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: type(value) is list and all(map(fits, value))


def _record(**fields: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: (
        isinstance(value, dict)
        and set(value) == set(fields)
        and all(fits(value[name]) for name, fits in fields.items())
    )


_RECORD = {entry.name: _is_amount for entry in dataclasses.fields(EpochRecord)}
_FITTING: dict[str, Callable[[object], bool]] = {
    **dict.fromkeys(("epoch", "step", "loss_tokens", "tokens"), _is_count),
    **dict.fromkeys(("loss_sum", "lr", "epoch_s", "elapsed_s", "pause_s", "trace_nats"), _is_amount),
    "resegmented": lambda value: type(value) is bool,
    **dict.fromkeys(("run_id", "start_timestamp"), _is_text),
    "trace": _list_of(_record(tokens=_is_count, elapsed_s=_is_amount, train_loss=_is_amount, lr=_is_amount)),
    "history": _list_of(_record(**_RECORD | {"epoch": _is_count, "val_bits_per_byte": _is_bits})),
    "samples": _list_of(_record(epoch=_is_count, prompt=_is_text, text=_is_text)),
    "advised": _list_of(_is_text),
}
