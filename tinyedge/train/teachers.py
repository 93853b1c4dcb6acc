"""The teachers of a run: larger models, trained one after the other before it.

In: a run's request and data. Out: the trained models, or how training ended where a signal stopped it. Each
has a run folder of its own in the run's; a finished one is used as it is, an unfinished one is continued.

A teacher is twice as wide as the run's model, and has one more layer: it predicts better, and costs nothing
on the board. It learns from the teacher before it: such a chain gets better from model to model (Furlanello
et al., "Born-Again Neural Networks", 2018). The run itself learns from all of them.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from tinyedge.core.config import HEADS, MODEL_RANGES, ModelConfig
from tinyedge.core.folder_lock import ensure_dir
from tinyedge.core.run_files import BEST_FILE, FINAL_FILE, TEACHERS_FOLDER, list_resumable, list_teachers
from tinyedge.text.shards import Shards
from tinyedge.text.tokenizer import Tokenizer
from tinyedge.train.distributed import Group
from tinyedge.train.limits import Outcome, RunLimits
from tinyedge.train.model import TinyTransformer
from tinyedge.train.report.reporter import Reporter, TeacherReporter
from tinyedge.train.run_request import RunRequest
from tinyedge.train.single_run import is_complete, train_in_folder
from tinyedge.train.storage import checkpoint

TEACHERS_SHARE = 0.5  # of a run's time limit


def make_teacher_shape(model: ModelConfig) -> ModelConfig:
    """Return the shape of the teachers of a model."""
    width = min(2 * model.d_model, MODEL_RANGES["d_model"][1])
    return dataclasses.replace(
        model,
        d_model=width,
        nhead=max(heads for heads in HEADS if heads <= model.nhead and width % heads == 0),
        dim_feedforward=min(2 * model.dim_feedforward, MODEL_RANGES["dim_feedforward"][1]),
        num_layers=min(model.num_layers + 1, MODEL_RANGES["num_layers"][1]),
    )


def limit_run(request: RunRequest) -> RunLimits:
    """Return the limits of a run after its teachers, which use a part of its time."""
    return _scale(request.limits, 1 - TEACHERS_SHARE) if request.training.teachers else request.limits


def train_teachers(
    request: RunRequest, tokenizer: Tokenizer, shards: Shards, reporter: Reporter, group: Group
) -> list[TinyTransformer] | Outcome:
    """Train the teachers of a run that are missing.

    Args:
        request: The run.
        tokenizer: Its tokenizer.
        shards: Its token files.
        reporter: Receives progress and notes.
        group: Processes of the run.

    Returns:
        The best model of each teacher, or the end of the one that a signal stopped.
    """
    models: list[TinyTransformer] = []
    count = request.training.teachers
    for number in range(1, count + 1):
        teacher = _make_request(request, number)
        named = TeacherReporter(reporter, f"teacher {number} of {count}")
        outcome = _train_teacher(teacher, tokenizer, shards, named, group, models[-1:])
        if outcome and outcome.signal is not None:
            return outcome
        group.all_reduce_max()  # no process reads before the main one has written
        models.append(checkpoint.load_model(teacher.output_dir / BEST_FILE).model)
    return models


def require_same_teachers(request: RunRequest, tokenizer: Tokenizer, shards: Shards) -> None:
    """Check that the teachers in a run's folder belong to the run.

    Raises:
        UsageError: Settings differ.
        CheckpointError: Corpus or tokenizer differ, or a checkpoint is damaged.
    """
    for folder in list_teachers(request.output_dir):
        if path := _find_newest(folder):
            teacher = _make_request(request, int(folder.name))
            run = checkpoint.describe_run(teacher.model, teacher.training, shards, tokenizer)
            checkpoint.require_same_run(path, checkpoint.load(path), run)


def find_taught_shape(folder: Path, shapes: Sequence[ModelConfig]) -> object:
    """Return which of some shapes a run has of which there are only teachers yet.

    Args:
        folder: Folder of a teacher.
        shapes: The shapes.

    Returns:
        The shape, as `ModelConfig.to_dict` returns it; None if nothing tells.
    """
    path = _find_newest(folder)
    recorded = checkpoint.load(path)["config"].get("model") if path else None
    return next((s.to_dict() for s in shapes if make_teacher_shape(s).to_dict() == recorded), None)


def _train_teacher(
    request: RunRequest,
    tokenizer: Tokenizer,
    shards: Shards,
    reporter: Reporter,
    group: Group,
    teachers: Sequence[TinyTransformer],
) -> Outcome | None:
    """Train one teacher; return how that ended, or None if it was trained already."""
    folder = request.output_dir
    metrics = request.make_metrics(tokenizer, shards)
    if group.broadcast(group.is_main and is_complete(metrics)):
        reporter.note(f"reused {folder / BEST_FILE}")
        return None
    reporter.note(f"{request.model.parameters:,} parameters, {request.training.epochs} epochs")
    trainer = request.make_trainer(tokenizer, shards, reporter, group, teachers)
    path = checkpoint.find_newest(folder, reporter.note) if group.is_main and list_resumable(folder) else None
    if path := group.broadcast(path):
        trainer.resume(path)
        reporter.note(f"resumed from {path}, epoch {trainer.state.epoch + 1}, step {trainer.state.step}")
    if not group.is_main:
        return trainer.run(request.limits)
    with ensure_dir(folder):
        return train_in_folder(trainer, metrics, request.limits, reporter)


def _make_request(request: RunRequest, number: int) -> RunRequest:
    """Return the request of one of a run's teachers, numbered from 1."""
    return dataclasses.replace(
        request,
        output_dir=request.output_dir / TEACHERS_FOLDER / str(number),
        model=make_teacher_shape(request.model),
        training=request.training.make_teacher(number),
        limits=_scale(request.limits, TEACHERS_SHARE / request.training.teachers),
    )


def _scale(limits: RunLimits, share: float) -> RunLimits:
    minutes = limits.max_minutes
    return dataclasses.replace(limits, max_minutes=None if minutes is None else share * minutes)


def _find_newest(folder: Path) -> Path | None:
    """Return a checkpoint in a teacher's folder that records its settings; None if it has none yet."""
    if list_resumable(folder):
        return checkpoint.find_newest(folder, lambda line: None)  # warnings come when it is resumed
    return path if (path := folder / FINAL_FILE).exists() else None
