"""Names of the files in a run's folder, and what they tell about the run. Does not know torch."""

import re
from pathlib import Path

from tinyedge.core import files
from tinyedge.core.errors import TinyEdgeError
from tinyedge.core.runs import METRICS_FILE, SCHEMA

BEST_FILE, FINAL_FILE = "best_model.pt", "final_model.pt"
LAST_FILE, BEFORE_LAST_FILE = "checkpoint_last.pt", "checkpoint_before_last.pt"
CURVE_FILE = "training_curve.png"
TENSORBOARD_FOLDER = "tensorboard"
TEACHERS_FOLDER = "teachers"  # of a run with teachers: a folder for each, named by its number
TEACHERS_FILE = "run.json"  # in that folder: the run that they teach


def list_run_files(folder: Path) -> list[Path]:
    """Return what training has written to a run folder, without the data that it was trained on."""
    names = (BEST_FILE, FINAL_FILE, CURVE_FILE, TENSORBOARD_FOLDER, METRICS_FILE)
    found = list_resumable(folder) + [path for name in names if (path := folder / name).exists()]
    return [*found, folder / TEACHERS_FOLDER] if has_teachers(folder) else found


def list_resumable(folder: Path) -> list[Path]:
    """Return checkpoints that a run can resume from: last, before last, and periodic ones, newest first."""
    found = [folder / LAST_FILE, folder / BEFORE_LAST_FILE, *list_periodic(folder)]
    return [path for path in found if path.exists()]


def list_periodic(folder: Path) -> list[Path]:
    """Return the guide's periodic checkpoints, newest first."""
    found = [
        (int(match[1]), path)
        for path in folder.glob("checkpoint_epoch_*.pt")
        if (match := re.fullmatch(r"checkpoint_epoch_(\d+)\.pt", path.name))
    ]
    return [path for _, path in sorted(found, reverse=True)]


def has_teachers(folder: Path) -> bool:
    """Whether a run in the folder has begun to train teachers."""
    return (folder / TEACHERS_FOLDER / TEACHERS_FILE).exists()


def has_unfinished_run(folder: Path) -> bool:
    """Whether a run in the folder was stopped and can be resumed."""
    return (bool(list_resumable(folder)) or has_teachers(folder)) and not is_finished(folder)


def is_finished(folder: Path) -> bool:
    """Whether a folder's metrics are those of a finished run, of any settings."""
    return read_metrics(folder).get("status") == "finished"


def read_metrics(folder: Path) -> dict[str, object]:
    """Return the content of a run folder's metrics; empty if there are none, or damaged ones."""
    try:
        return files.read_json(folder / METRICS_FILE, SCHEMA, TinyEdgeError)
    except (TinyEdgeError, OSError):
        return {}
