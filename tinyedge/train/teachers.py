"""The teachers of a run: larger models, trained one after the other before it.

In: a run's request and data. Out: the last teacher, or how training ended where a signal stopped it. Each has
a run folder of its own in the run's; a finished one is used as it is, an unfinished one is continued.

A teacher is twice as wide as the run's model, and has one more layer: it predicts better, and costs nothing
on the board. It learns from the teacher before it, and the run's model from the last one: such a chain gets
better from model to model (Furlanello et al., "Born-Again Neural Networks", 2018).
"""

import dataclasses
from pathlib import Path
from typing import Any

from tinyedge.core import files
from tinyedge.core.config import HEADS, MODEL_RANGES, ModelConfig
from tinyedge.core.errors import CheckpointError
from tinyedge.core.folder_lock import ensure_dir
from tinyedge.core.run_files import (
    BEST_FILE,
    TEACHERS_FILE,
    TEACHERS_FOLDER,
    has_teachers,
    is_finished,
    list_resumable,
)
from tinyedge.text.shards import Shards
from tinyedge.text.tokenizer import Tokenizer
from tinyedge.train.distributed import Group
from tinyedge.train.limits import Outcome, RunLimits
from tinyedge.train.model import TinyTransformer
from tinyedge.train.report.reporter import Reporter, TeacherReporter
from tinyedge.train.run_request import RunRequest
from tinyedge.train.single_run import has_models, train_in_folder
from tinyedge.train.storage import checkpoint

SCHEMA = "tinyedge.teachers/1"
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
) -> TinyTransformer | Outcome:
    """Train the teachers of a run that are missing. It has at least one.

    Args:
        request: The run.
        tokenizer: Its tokenizer.
        shards: Its token files.
        reporter: Receives progress and notes.
        group: Processes of the run.

    Returns:
        The best model of the last teacher, or the end of the teacher that a signal stopped.
    """
    if group.is_main and not has_teachers(request.output_dir):
        _write_record(request, tokenizer, shards)
    model: TinyTransformer | None = None
    count = request.training.teachers
    for number in range(1, count + 1):
        teacher = _make_request(request, number)
        named = TeacherReporter(reporter, f"teacher {number} of {count}")
        outcome = _train_teacher(teacher, tokenizer, shards, named, group, model)
        if outcome and outcome.signal is not None:
            named.note("stopped")
            return outcome
        model = checkpoint.load_model(teacher.output_dir / BEST_FILE).model
    assert model is not None
    return model


def require_same_teachers(request: RunRequest, tokenizer: Tokenizer, shards: Shards) -> None:
    """Check that the teachers in a run's folder, if there are any, belong to the run.

    Raises:
        UsageError: Settings differ.
        CheckpointError: Corpus or tokenizer differ, or the record of the run is damaged.
    """
    if has_teachers(request.output_dir):
        run = checkpoint.describe_run(request.model, request.training, shards, tokenizer)
        path = request.output_dir / TEACHERS_FOLDER
        checkpoint.require_same_run(path, {"config": _read_record(request.output_dir)}, run)


def read_taught_shape(folder: Path) -> object:
    """Return the shape of the run that the teachers in its folder teach, as `ModelConfig.to_dict` does."""
    return _read_record(folder).get("model")


def _write_record(request: RunRequest, tokenizer: Tokenizer, shards: Shards) -> None:
    """Record the run in the folder of its teachers."""
    path = request.output_dir / TEACHERS_FOLDER / TEACHERS_FILE
    path.parent.mkdir(exist_ok=True)
    run = checkpoint.describe_run(request.model, request.training, shards, tokenizer)
    files.write_json(path, {"schema": SCHEMA, "run": run})


def _read_record(folder: Path) -> dict[str, Any]:
    path = folder / TEACHERS_FOLDER / TEACHERS_FILE
    hint = "start a new run with --restart"
    run = files.read_json(path, SCHEMA, CheckpointError, hint).get("run")
    if not isinstance(run, dict):
        raise CheckpointError(f"{path} records no run", hint)
    return run


def _train_teacher(
    request: RunRequest,
    tokenizer: Tokenizer,
    shards: Shards,
    reporter: Reporter,
    group: Group,
    own_teacher: TinyTransformer | None,
) -> Outcome | None:
    """Train one teacher, from the one before it; return how that ended, or None if it was trained already."""
    folder = request.output_dir
    # With other limits than before, a finished teacher stays finished.
    if group.broadcast(group.is_main and is_finished(folder) and has_models(folder)):
        reporter.note(f"reused {folder / BEST_FILE}")
        if group.is_main:
            checkpoint.remove_resume_files(folder)
        return None
    reporter.note(f"{request.model.parameters:,} parameters, {request.training.epochs} epochs")
    trainer = request.make_trainer(tokenizer, shards, reporter, group, own_teacher)
    path = checkpoint.find_newest(folder, reporter.note) if group.is_main and list_resumable(folder) else None
    if path := group.broadcast(path):
        trainer.resume(path)
        reporter.note(f"resumed from {path}, epoch {trainer.state.epoch + 1}, step {trainer.state.step}")
    if group.is_main:
        with ensure_dir(folder):
            metrics = request.make_metrics(tokenizer, shards)
            outcome = train_in_folder(trainer, metrics, request.limits, reporter)
    else:
        outcome = trainer.run(request.limits)
    # No process reads the model before the main one has written it. A signal that came too late to stop this
    # teacher stops the run before the next one.
    late = int(group.all_reduce_max(trainer.last_signal)[0])
    return dataclasses.replace(outcome, ended_by=None, signal=late) if late else outcome


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
