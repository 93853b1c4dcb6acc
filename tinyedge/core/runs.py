"""Training runs, read from their `training_metrics.json`, and the differences between them.

In: folders. Out: runs and the settings that differ. Does not know torch, so runs can be compared anywhere.
"""

import fnmatch
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyedge.core import files
from tinyedge.core.config import ModelConfig
from tinyedge.core.errors import TinyEdgeError, UsageError
from tinyedge.core.walk import walk_files

SCHEMA = "tinyedge.training/1"
METRICS_FILE = "training_metrics.json"
CHECKPOINT_FILES = "checkpoint_*.pt"  # from which a run can continue
PREVIOUS_FOLDER = "previous"  # where a run folder keeps its previous runs
ALL = "all"  # the name of the figure over all languages
UNKNOWN_BYTES_FIELD = "val_unknown_bytes"  # earlier versions did not write it


@dataclass(frozen=True)
class Epoch:
    """One line of the history."""

    number: int
    """Number of the epoch, from 1."""
    train_loss: float
    """Mean training loss, in nats per token."""
    val_loss: float
    """Loss on held-out text, in nats per token."""
    learning_rate: float
    """Learning rate at the end of the epoch."""
    bits_per_byte: dict[str, float]
    """Bits per byte on held-out text, by language and for ALL."""
    elapsed_s: float
    """Seconds since the run began."""
    tokens: int | None
    """Tokens predicted since the run began; None in files of tinyedge 0.1.0."""
    model_id: str | None = None
    """Id of the model after the epoch; None in files of earlier versions."""


@dataclass(frozen=True)
class Point:
    """One point of the curve."""

    tokens: int
    """Tokens predicted since the run began."""
    elapsed_s: float
    """Seconds since the run began."""
    train_loss: float
    """Mean training loss since the previous point, in nats per token."""
    learning_rate: float
    """Learning rate at this point."""


@dataclass(frozen=True)
class TrainingRun:
    """One training run."""

    folder: Path
    """The run folder."""
    status: str
    """"running" (or killed), "stopped", "failed" or "finished"; for a run that finished before its last
    epoch, the reason: "max-minutes", "patience" or "pruned"."""
    configuration: dict[str, Any]
    """Every field of model and training, hardware, digests and version, in one flat mapping."""
    parameters: int
    """Number of weights."""
    tokens_per_second: float
    """Training speed."""
    history: tuple[Epoch, ...]
    """The finished epochs; at least one."""
    trace: tuple[Point, ...]
    """The points of the training curve."""
    unknown_bytes: dict[str, float] | None = None
    """Share of the held-out bytes behind UNK, 0-1, by language and for ALL. None in files of earlier
    versions, whose bits per byte do not charge for these bytes."""

    @property
    def best(self) -> Epoch:
        """The epoch with the lowest held-out loss."""
        return min(self.history, key=lambda epoch: epoch.val_loss)

    @property
    def epochs(self) -> str:
        """Finished and planned epochs, as in "4/10"."""
        return f"{self.last.number}/{self.configuration.get('epochs', '?')}"

    @property
    def summary(self) -> str:
        """The run in a few words, as in "recipe fast, 4/4 epochs, 1.889 bits per byte"."""
        recipe = self.configuration.get("recipe", "?")
        return f"recipe {recipe}, {self.epochs} epochs, {self.best.bits_per_byte[ALL]:.3f} bits per byte"

    @property
    def last(self) -> Epoch:
        """The latest epoch."""
        return self.history[-1]


def find_runs(folder: Path, previous: bool, report: Callable[[str], None] = lambda line: None) -> list[Path]:
    """Find run folders in `folder` at any depth, `folder` included.

    Args:
        folder: Where to search.
        previous: Whether to include the previous runs that run folders keep.
        report: Receives a line about each folder that cannot be searched.

    Returns:
        The folders, sorted; at least one.

    Raises:
        TinyEdgeError: There is none.
    """
    if not folder.is_dir():
        raise TinyEdgeError(f"{folder} is not a folder", "pass a folder that contains runs")
    found = [path for path, names in _list_names(folder, previous, report).items() if METRICS_FILE in names]
    if not found:
        raise TinyEdgeError(f"{folder} contains no {METRICS_FILE}", "tinyedge train writes one")
    return found


def find_started_runs(folder: Path, previous: bool) -> list[Path]:
    """Find run folders that have a checkpoint but no finished epoch; otherwise like `find_runs`."""
    return [
        path
        for path, names in _list_names(folder, previous, lambda line: None).items()
        if fnmatch.filter(names, CHECKPOINT_FILES) and METRICS_FILE not in names
    ]


def _list_names(folder: Path, previous: bool, report: Callable[[str], None]) -> dict[Path, list[str]]:
    """Return the names of the files in each folder, folders sorted."""

    def skip(failure: OSError) -> None:
        report(f"warning: {failure.filename} cannot be read ({failure.strerror}), so it is skipped")

    names: dict[Path, list[str]] = {}
    for path in walk_files(folder, skip, lambda name: previous or name != PREVIOUS_FOLDER):
        names.setdefault(path.parent, []).append(path.name)
    return dict(sorted(names.items()))


def read_run(folder: Path) -> TrainingRun:
    """Read a run folder's metrics.

    Raises:
        TinyEdgeError: The file is invalid; the message names the file and the field.
    """
    path = folder / METRICS_FILE
    value = files.read_json(path, SCHEMA, TinyEdgeError)
    try:
        configuration = _flatten(value["configuration"]) | {"tinyedge": str(value["tinyedge"])}
        history = tuple(_parse_epoch(record) for record in value["epoch_history"])
        if not history:
            raise ValueError("epoch_history is empty")
        return TrainingRun(
            folder,
            _read_status(value),
            configuration,
            _count_parameters(value["configuration"]["model"]),
            _parse_number(value, "tokens_per_second"),
            history,
            tuple(_parse_point(record) for record in value.get("trace", ())),
            _parse_unknown_bytes(value),
        )
    except KeyError as failure:
        raise TinyEdgeError(f"{path} lacks {failure.args[0]}", "train the run again") from None
    except (TypeError, ValueError, AttributeError, UsageError) as failure:
        raise TinyEdgeError(f"{path} is damaged: {failure}", "train the run again") from None


def sort_best_first(runs: Iterable[TrainingRun]) -> list[TrainingRun]:
    """Sort runs by the bits per byte of their best epoch on held-out text, best first."""
    return sorted(runs, key=lambda run: (run.best.bits_per_byte[ALL], run.folder))


def list_differing_fields(runs: Sequence[TrainingRun]) -> list[str]:
    """Return the names of the configuration's fields that differ between runs, in the order of the fields."""
    names = dict.fromkeys(name for run in runs for name in run.configuration)
    return [
        name
        for name in names
        if any(run.configuration.get(name) != runs[0].configuration.get(name) for run in runs)
    ]


def are_comparable(runs: Sequence[TrainingRun]) -> bool:
    """Whether all runs were evaluated on the same text: the held-out text depends only on the corpus."""
    return "corpus_sha256" not in list_differing_fields(runs)


def _read_status(value: Mapping[str, Any]) -> str:
    """Return the status. Files of tinyedge 0.1.0 do not contain one; they are of finished runs."""
    status, ended_by = value.get("status", "finished"), value.get("ended_by") or "epochs"
    return str(status if status != "finished" or ended_by == "epochs" else ended_by)


def _flatten(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """Merge model, training and other settings, without duplicates under the guide's names."""
    parts = {**configuration["model"], **configuration["training"]}
    guide = ("vocab_size", "batch_size", "learning_rate", "num_epochs", "max_seq_length")
    rest = {k: v for k, v in configuration.items() if k not in ("model", "training", *guide)}
    return {**parts, **rest}


def _count_parameters(model: Mapping[str, Any]) -> int:
    return ModelConfig.from_dict(model).parameters


def _parse_epoch(record: Mapping[str, Any]) -> Epoch:
    bits = record["val_bits_per_byte"]
    if ALL not in bits:
        raise ValueError(f"val_bits_per_byte has no {ALL!r}")
    return Epoch(
        int(_parse_number(record, "epoch")),
        _parse_number(record, "train_loss"),
        _parse_number(record, "val_loss"),
        _parse_number(record, "lr"),
        {name: _parse_number(bits, name) for name in bits},
        _parse_number(record, "elapsed_s"),
        int(_parse_number(record, "tokens")) if "tokens" in record else None,
        _parse_model_id(record.get("model_id")),
    )


def _parse_model_id(value: object) -> str | None:
    if not value:
        return None
    if not (isinstance(value, str) and re.fullmatch("[0-9a-f]{12}", value)):
        raise ValueError(f"model_id is {value!r}, not 12 hexadecimal digits")
    return value


def _parse_point(record: Mapping[str, Any]) -> Point:
    return Point(
        int(_parse_number(record, "tokens")),
        _parse_number(record, "elapsed_s"),
        _parse_number(record, "train_loss"),
        _parse_number(record, "lr"),
    )


def _parse_unknown_bytes(value: Mapping[str, Any]) -> dict[str, float] | None:
    shares = value.get(UNKNOWN_BYTES_FIELD)
    if not shares:
        return None
    if ALL not in shares:
        raise ValueError(f"{UNKNOWN_BYTES_FIELD} has no {ALL!r}")
    return {name: _parse_number(shares, name) for name in shares}


def _parse_number(record: Mapping[str, Any], name: str) -> float:
    value = record[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{name} is {value!r}, not a number")
    return float(value)
