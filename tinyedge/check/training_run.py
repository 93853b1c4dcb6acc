"""Checks of the training run's files.

In: the run's folder, or None. Out: a checklist item for each file. Does not know torch: the caller passes a
function that reads a checkpoint, if it can.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tinyedge.bundle.bundle import Bundle
from tinyedge.check.item import ARTIFACTS, VALIDATION, ChecklistItem, make_item
from tinyedge.core import files, runs
from tinyedge.core.errors import TinyEdgeError
from tinyedge.text.tokenizer import model_name

MB = 1 << 20
FINAL_FILE, BEST_FILE = "final_model.pt", "best_model.pt"
SIZE_TOLERANCE = 0.1  # for names, shapes and the archive's own records
WEIGHT_BYTES = 4
NO_RUN = "no training run here (pass --run-dir)"

# The guide's fields of training_metrics.json and their types.
NUMBER = (int, float)
GUIDE_FIELDS: Mapping[str, Any] = {
    "run_id": str,
    "start_timestamp": str,
    "end_timestamp": str,
    "configuration": {
        "vocab_size": int,
        "batch_size": int,
        "learning_rate": NUMBER,
        "num_epochs": int,
        "max_seq_length": int,
    },
    "final_metrics": {
        "best_val_loss": NUMBER,
        "final_train_loss": NUMBER,
        "final_val_loss": NUMBER,
        "total_epochs": int,
    },
    "epoch_history": [{"epoch": int, "train_loss": NUMBER, "val_loss": NUMBER, "lr": NUMBER}],
}

# Returns the number of its weights; raises TinyEdgeError where the file is damaged or a weight is not finite.
ReadCheckpoint = Callable[[Path], int]


def find_source_checkpoint(bundle: Bundle, folder: Path) -> Path | None:
    """Find the checkpoint in `folder` that the bundle was made from, by its sha256."""
    wanted = bundle.manifest["training"]["checkpoint_sha256"]
    found = sorted(folder.glob("*.pt"), key=lambda path: path.name != BEST_FILE)
    return next((path for path in found if path.is_file() and files.sha256_file(path) == wanted), None)


def check_checkpoint(path: Path | None, read: ReadCheckpoint | None) -> ChecklistItem:
    """Check a checkpoint for NaN and Inf; skipped if there is none, or no function that reads it."""
    name = f"no NaN or Inf in {path.name if path else FINAL_FILE}"
    if path is None:
        return ChecklistItem(VALIDATION, name, "no checkpoint here (pass --checkpoint)", "skipped")
    if read is None:
        return ChecklistItem(VALIDATION, name, "not opened, because torch is not installed", "skipped")
    try:
        return make_item(VALIDATION, name, True, f"{read(path):,} weights are finite")
    except TinyEdgeError as failure:
        return make_item(VALIDATION, name, False, failure.message)


def check_run_files(bundle: Bundle, folder: Path | None) -> list[ChecklistItem]:
    """Check the guide's artifacts; skipped if there is no run."""
    if folder is None:
        names = (
            f"{FINAL_FILE} exists and has its size",
            f"{BEST_FILE} exists",
            f"{runs.METRICS_FILE} is valid",
        )
        return [ChecklistItem(ARTIFACTS, name, NO_RUN, "skipped") for name in names]
    return [
        _check_final(bundle, folder / FINAL_FILE),
        _check_best(bundle, folder),
        _check_metrics(folder),
        _check_tokenizer_file(bundle, folder / model_name(bundle.config.vocab_size)),
    ]


def _check_final(bundle: Bundle, path: Path) -> ChecklistItem:
    name = f"{FINAL_FILE} exists and has its size"
    if not path.is_file():
        return make_item(ARTIFACTS, name, False, f"{path} does not exist")
    weights = bundle.config.parameters
    size, expected = path.stat().st_size, WEIGHT_BYTES * weights
    found = f"{size / MB:.2f} MB; {weights:,} weights of {WEIGHT_BYTES} bytes are {expected / MB:.2f} MB"
    return make_item(ARTIFACTS, name, expected <= size <= expected * (1 + SIZE_TOLERANCE), found)


def _check_best(bundle: Bundle, folder: Path) -> ChecklistItem:
    name = f"{BEST_FILE} exists"
    path = folder / BEST_FILE
    if not path.is_file():
        return make_item(ARTIFACTS, name, False, f"{path} does not exist")
    source = find_source_checkpoint(bundle, folder)
    if source is None:
        return make_item(ARTIFACTS, name, False, f"the bundle was not made from a checkpoint in {folder}")
    return make_item(
        ARTIFACTS, name, True, f"{path.stat().st_size / MB:.2f} MB; the bundle is made from {source.name}"
    )


def _check_metrics(folder: Path) -> ChecklistItem:
    name = f"{runs.METRICS_FILE} is valid"
    path = folder / runs.METRICS_FILE
    try:
        _require_shape(files.read_json(path, runs.SCHEMA, TinyEdgeError), GUIDE_FIELDS, "")
        run = runs.read_run(folder)
    except TinyEdgeError as failure:
        return make_item(ARTIFACTS, name, False, failure.message)
    except ValueError as failure:
        return make_item(ARTIFACTS, name, False, f"{path}: {failure}")
    epochs = len(run.history)
    found = f"the guide's fields, {epochs} epoch{'' if epochs == 1 else 's'}, {run.status}"
    return make_item(ARTIFACTS, name, run.status not in ("running", "failed"), found)


def _check_tokenizer_file(bundle: Bundle, path: Path) -> ChecklistItem:
    name = f"{path.name} is the bundle's tokenizer"
    if not path.is_file():
        return make_item(ARTIFACTS, name, False, f"{path} does not exist")
    same = files.sha256_file(path) == bundle.manifest["tokenizer"]["sha256"]
    return make_item(
        ARTIFACTS, name, same, "the same sha256" if same else "another sha256 than the manifest's"
    )


def _require_shape(value: Any, shape: Any, where: str) -> None:
    """Raise ValueError with the first field that differs from `shape`."""
    if isinstance(shape, Mapping):
        if not isinstance(value, dict):
            raise ValueError(f"{where} is not an object")
        for field, inner in shape.items():
            if field not in value:
                raise ValueError(f"it lacks {where}{field}")
            _require_shape(value[field], inner, f"{where}{field}.")
    elif isinstance(shape, list):
        if not isinstance(value, list) or not value:
            raise ValueError(f"{where.removesuffix('.')} is not a list, or is empty")
        for row in value:
            _require_shape(row, shape[0], where)
    elif not isinstance(value, shape) or isinstance(value, bool):
        raise ValueError(f"{where.removesuffix('.')} is {value!r:.40}")
