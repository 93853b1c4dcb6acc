"""Runs that were trained, read back from the `training_metrics.json` that each left, and compared.

In: folders. Out: runs, and what differs between them. Knows no torch: a run can be judged on any machine.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyedge.core import files
from tinyedge.core.config import ModelConfig
from tinyedge.core.errors import TinyEdgeError, UsageError

SCHEMA = "tinyedge.training/1"
METRICS_FILE = "training_metrics.json"
CHECKPOINT_FILES = "checkpoint_*.pt"  # from which a run can go on
PREVIOUS_FOLDER = "previous"  # where a run folder keeps its earlier runs
ALL = "all"  # the name of the figure over every language


@dataclass(frozen=True)
class Epoch:
    """One line of the history. Losses in nats per token; bits_per_byte of held-out text, by language.

    tokens: predicted since the run began; None in files of tinyedge 0.1.0.
    """

    number: int
    train_loss: float
    val_loss: float
    learning_rate: float
    bits_per_byte: dict[str, float]
    elapsed_s: float
    tokens: int | None


@dataclass(frozen=True)
class Point:
    """One point of the curve: the loss is the mean since the point before, in nats per token."""

    tokens: int
    elapsed_s: float
    train_loss: float
    learning_rate: float


@dataclass(frozen=True)
class TrainingRun:
    """One run. configuration: every field of model and training, hardware, digests, version; flat.

    status: "running" (killed, if nothing runs), "stopped", "failed" or "finished"; where it finished before
    its last epoch, why: "max-minutes", "patience" or "pruned". history: at least one epoch.
    """

    folder: Path
    status: str
    configuration: dict[str, Any]
    parameters: int
    tokens_per_second: float
    history: tuple[Epoch, ...]
    trace: tuple[Point, ...]

    @property
    def best(self) -> Epoch:
        """The epoch with the lowest held-out loss."""
        return min(self.history, key=lambda epoch: epoch.val_loss)

    @property
    def epochs(self) -> str:
        """Done of planned."""
        return f"{self.last.number}/{self.configuration.get('epochs', '?')}"

    @property
    def last(self) -> Epoch:
        """The latest epoch."""
        return self.history[-1]


def find_runs(folder: Path, previous: bool) -> list[Path]:
    """Run folders in `folder`, itself included, at any depth, sorted; earlier runs only if `previous`.

    Raises TinyEdgeError where there is none.
    """
    if not folder.is_dir():
        raise TinyEdgeError(f"{folder} is not a folder", "name a run's folder, or one that holds several")
    found = _holding(METRICS_FILE, folder, previous)
    if not found:
        raise TinyEdgeError(f"{folder} holds no {METRICS_FILE}", "tinyedge train makes one")
    return found


def find_begun(folder: Path, previous: bool) -> list[Path]:
    """Run folders, found as `find_runs` does, that have a checkpoint and no finished epoch to tell of."""
    return [
        path for path in _holding(CHECKPOINT_FILES, folder, previous) if not (path / METRICS_FILE).exists()
    ]


def _holding(pattern: str, folder: Path, previous: bool) -> list[Path]:
    found = sorted({path.parent for path in folder.rglob(pattern)})
    return [path for path in found if previous or PREVIOUS_FOLDER not in path.relative_to(folder).parts]


def read_run(folder: Path) -> TrainingRun:
    """Reads a run folder's metrics. Raises TinyEdgeError, naming the file and the field that is wrong."""
    path = folder / METRICS_FILE
    value = files.read_json(path, SCHEMA, TinyEdgeError)
    try:
        configuration = _flat(value["configuration"]) | {"tinyedge": str(value["tinyedge"])}
        history = tuple(_epoch(record) for record in value["epoch_history"])
        if not history:
            raise ValueError("epoch_history is empty")
        return TrainingRun(
            folder,
            _status(value),
            configuration,
            _parameters(value["configuration"]["model"]),
            _number(value, "tokens_per_second"),
            history,
            tuple(_point(record) for record in value.get("trace", ())),
        )
    except KeyError as failure:
        raise TinyEdgeError(f"{path} lacks {failure.args[0]}", "train the run again") from None
    except (TypeError, ValueError, AttributeError, UsageError) as failure:
        raise TinyEdgeError(f"{path} is damaged: {failure}", "train the run again") from None


def best_first(runs: Iterable[TrainingRun]) -> list[TrainingRun]:
    """Sorted by held-out bits per byte of the best epoch."""
    return sorted(runs, key=lambda run: (run.best.bits_per_byte[ALL], run.folder))


def differing(runs: Sequence[TrainingRun]) -> list[str]:
    """Names of the configuration's fields that are not the same in all runs, in their own order."""
    names = dict.fromkeys(name for run in runs for name in run.configuration)
    return [
        name
        for name in names
        if any(run.configuration.get(name) != runs[0].configuration.get(name) for run in runs)
    ]


def comparable(runs: Sequence[TrainingRun]) -> bool:
    """Whether all were judged on the same text: what is held out is a function of the corpus."""
    return "corpus_sha256" not in differing(runs)


def _status(value: Mapping[str, Any]) -> str:
    """Files of tinyedge 0.1.0 are of finished runs and do not say so."""
    status, ended_by = value.get("status", "finished"), value.get("ended_by") or "epochs"
    return str(status if status != "finished" or ended_by == "epochs" else ended_by)


def _flat(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """Model, training and the rest; the guide's own names for some of it say nothing new."""
    parts = {**configuration["model"], **configuration["training"]}
    guide = ("vocab_size", "batch_size", "learning_rate", "num_epochs", "max_seq_length")
    rest = {k: v for k, v in configuration.items() if k not in ("model", "training", *guide)}
    return {**parts, **rest}


def _parameters(model: Mapping[str, Any]) -> int:
    return ModelConfig.from_dict(model).parameters


def _epoch(record: Mapping[str, Any]) -> Epoch:
    bits = record["val_bits_per_byte"]
    if ALL not in bits:
        raise ValueError(f"val_bits_per_byte has no {ALL!r}")
    return Epoch(
        int(_number(record, "epoch")),
        _number(record, "train_loss"),
        _number(record, "val_loss"),
        _number(record, "lr"),
        {name: _number(bits, name) for name in bits},
        _number(record, "elapsed_s"),
        int(_number(record, "tokens")) if "tokens" in record else None,
    )


def _point(record: Mapping[str, Any]) -> Point:
    return Point(
        int(_number(record, "tokens")),
        _number(record, "elapsed_s"),
        _number(record, "train_loss"),
        _number(record, "lr"),
    )


def _number(record: Mapping[str, Any], name: str) -> float:
    value = record[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{name} is {value!r}, not a number")
    return float(value)
