"""The complete pipeline from text to a trained model. It runs the phases that are missing.

In: a `RunRequest`. Out: a run folder with corpus, tokenizer, shards, checkpoints, metrics and training curve.
Each phase leaves a file that records its inputs. A phase is reused if its inputs are still the same.
"""

import contextlib
import dataclasses
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tinyedge.core import files
from tinyedge.core.config import ModelConfig
from tinyedge.core.errors import CheckpointError, CorpusError, TinyEdgeError, TokenizerError, TrainingError
from tinyedge.core.folder_lock import ensure_dir, exclusive_lock
from tinyedge.core.run_files import has_teachers, has_unfinished_run, is_finished, list_resumable
from tinyedge.core.runs import ALL, PREVIOUS_FOLDER, read_run
from tinyedge.corpus.build import CORPUS_NAME, prepare_corpus
from tinyedge.corpus.split import draw_split
from tinyedge.text.adopt_tokenizer import adopt_tokenizer
from tinyedge.text.evaluate import describe_unknown
from tinyedge.text.shards import FOLDER as SHARDS_FOLDER
from tinyedge.text.shards import Shards, build_shards
from tinyedge.text.tokenizer import Tokenizer, model_name
from tinyedge.text.train_tokenizer import prepare_tokenizer
from tinyedge.text.vocabulary_report import load_report
from tinyedge.train.before_after import BeforeAfter
from tinyedge.train.distributed import SINGLE_PROCESS, Group
from tinyedge.train.limits import Outcome
from tinyedge.train.packing import count_long
from tinyedge.train.report.advice import out_of_memory_error
from tinyedge.train.report.metrics import MetricsWriter
from tinyedge.train.report.reporter import Reporter
from tinyedge.train.run_request import RunRequest
from tinyedge.train.shape_choice import choose_shape
from tinyedge.train.single_run import is_complete, train_in_folder
from tinyedge.train.storage import checkpoint, previous_run
from tinyedge.train.teachers import limit_run, read_taught_shape, require_same_teachers, train_teachers
from tinyedge.train.trainer import Trainer
from tinyedge.train.validation import choose_spacing


def run(request: RunRequest, reporter: Reporter, group: Group = SINGLE_PROCESS) -> Outcome | None:
    """Run every missing phase.

    With several processes, the main one runs all phases, and the others join it for training.

    Args:
        request: What to do, and where.
        reporter: Receives progress and notes.
        group: Processes of the run.

    Returns:
        How training ended, or None if the folder already held a finished run with the same settings.

    Raises:
        TinyEdgeError: A phase failed, or the folder's content does not allow the request.
    """
    if not group.is_main:
        return _join_run(request, reporter, group)
    if request.resume and not checkpoint.has_checkpoint(request.output_dir):
        raise checkpoint.no_checkpoint_error(request.output_dir)  # before the work on the data
    with ensure_dir(request.output_dir), exclusive_lock(request.output_dir):
        return _run(request, reporter, group)


@dataclass(frozen=True)
class _PreparedRun:
    """A run before its first step."""

    request: RunRequest
    tokenizer: Tokenizer
    shards: Shards
    trainer: Trainer
    """Resumed already, without its teachers."""
    resumed_from: Path | None
    metrics: MetricsWriter
    change: BeforeAfter | None
    """Of a run that goes on from a model, what it changes."""


def _run(request: RunRequest, reporter: Reporter, group: Group) -> Outcome | None:
    with _explain_out_of_memory(request):
        run = _prepare_run(request, reporter, group)
        if run is None:
            return None
        group.broadcast(run.resumed_from)
        trainer = run.trainer
        if request.training.teachers:
            taught = _make_taught(run.request, run.tokenizer, run.shards, run.resumed_from, reporter, group)
            if isinstance(taught, Outcome):
                return taught
            trainer = taught
        return train_in_folder(trainer, run.metrics, limit_run(run.request), reporter, run.change)


def _prepare_run(request: RunRequest, reporter: Reporter, group: Group) -> _PreparedRun | None:
    """Do everything before the first step. An error leaves the folder as it was.

    Returns:
        The run, or None if the model is already there.
    """
    folder = request.output_dir
    if not request.resume:
        _require_no_unfinished_run(folder, request.restart)
    with previous_run.preserve_data(folder, reporter.note) as preserved:
        tokenizer, shards = prepare_data(request, reporter)
        request = request.with_vocab_size(tokenizer.vocab_size).adapt_to(shards)
        metrics = request.make_metrics(tokenizer, shards)
        recorded = _read_shape(request, metrics)
        request = request.with_shape(choose_shape(request, tokenizer, shards, reporter, recorded))
        metrics = dataclasses.replace(metrics, model=request.model)
        finished = not request.restart and is_complete(metrics)
        group.broadcast(None if finished else request.model)
        if finished:
            checkpoint.remove_resume_files(folder)
            reporter.note(f"model: reused {folder / checkpoint.FINAL_FILE} (--restart trains it again)")
            return None
        trainer = request.make_trainer(tokenizer, shards, reporter, group)
        change = None
        if request.initial:
            reporter.phase("evaluating the initial model")
            change = BeforeAfter(request.initial, trainer.model, shards, request.hardware.device)
            metrics = dataclasses.replace(metrics, init_from=change.to_dict())
        resumed_from = None
        if request.resume:
            _require_not_finished(metrics)
            require_same_teachers(request, tokenizer, shards)
            if list_resumable(folder) or not has_teachers(folder):
                resumed_from = _resume(trainer, folder, reporter)
        elif preserved is not None:
            _announce_move(request, reporter)
            previous_run.archive_run(folder, preserved, reporter.note)
    processes = f", {group.size} processes" if group.size > 1 else ""
    reporter.note(
        f"model: {request.model.parameters:,} parameters, recipe {request.training.recipe},"
        f" {shards.train_tokens:,} tokens, on {request.hardware.description}{processes}"
    )
    return _PreparedRun(request, tokenizer, shards, trainer, resumed_from, metrics, change)


def _make_taught(
    request: RunRequest,
    tokenizer: Tokenizer,
    shards: Shards,
    resumed_from: Path | None,
    reporter: Reporter,
    group: Group,
) -> Trainer | Outcome:
    """Train the teachers of a run that are missing, and return the trainer that learns from the last.

    Returns:
        The trainer, resumed; or the end of a teacher that a signal stopped.
    """
    teacher = train_teachers(request, tokenizer, shards, reporter, group)
    if isinstance(teacher, Outcome):
        return teacher
    trainer = request.make_trainer(tokenizer, shards, reporter, group, teacher)
    if resumed_from:
        trainer.resume(resumed_from)
    return trainer


def _read_shape(request: RunRequest, metrics: MetricsWriter) -> object:
    """Return the shape of the run that the folder holds, if it is this one; otherwise None."""
    folder = request.output_dir
    if not (request.resume and request.list_shapes) or is_finished(folder):
        return metrics.read_model()
    if has_teachers(folder):
        return read_taught_shape(folder)
    path = checkpoint.find_newest(folder, lambda line: None)  # warnings come when it is resumed
    return checkpoint.load(path)["config"].get("model")


def _join_run(request: RunRequest, reporter: Reporter, group: Group) -> Outcome | None:
    """Train in a process other than the main one, on its data. Writes nothing."""
    folder = request.output_dir
    shape: ModelConfig | None = group.broadcast(None)
    if shape is None:  # the model is already there
        return None
    request = request.with_vocab_size(shape.vocab_size).with_shape(shape)
    try:
        tokenizer = Tokenizer.load(folder / model_name(request.tokenizer.vocab_size))
        shards = Shards.load(folder / SHARDS_FOLDER)
    except TinyEdgeError as failure:
        raise TrainingError(
            f"process {group.rank} does not find the files of the main process: {failure.message}",
            "give the processes of all machines one shared --output-dir",
        ) from None
    request = request.adapt_to(shards)
    with _explain_out_of_memory(request):
        trainer = request.make_trainer(tokenizer, shards, reporter, group)
        resumed_from: Path | None = group.broadcast(None)
        if request.training.teachers:
            taught = _make_taught(request, tokenizer, shards, resumed_from, reporter, group)
            if isinstance(taught, Outcome):
                return taught
            trainer = taught
        elif resumed_from:
            trainer.resume(resumed_from)
        return trainer.run(limit_run(request))


@contextlib.contextmanager
def _explain_out_of_memory(request: RunRequest) -> Iterator[None]:
    """Turn a failed allocation of Python or torch into an error with a hint."""
    try:
        yield
    except (RuntimeError, MemoryError) as failure:
        error = out_of_memory_error(failure, request.training.batch_size, request.model.max_seq_length)
        if error is None:
            raise
        raise error from None


def prepare_data(request: RunRequest, reporter: Reporter) -> tuple[Tokenizer, Shards]:
    """Make or reuse corpus, tokenizer and shards.

    Args:
        request: What to do, and where.
        reporter: Receives a note for each of the three.

    Raises:
        CorpusError: There is no usable text.
        TokenizerError: The tokenizer cannot be trained, or does not fit the model.
    """
    folder = request.output_dir
    corpus = folder / CORPUS_NAME
    name = ""
    if request.skip_corpus:
        files.require_file(corpus, CorpusError, "omit --skip-corpus, or put the text there")
    else:
        reporter.phase("preparing the corpus")
        name = prepare_corpus(request.corpus, folder, reporter.note).origin
    reporter.phase("preparing the tokenizer")
    split = draw_split(corpus, name)
    if initial := request.initial:
        path = adopt_tokenizer(initial.tokenizer, initial.tokenizer_path, split, folder, reporter.note)
    elif request.skip_tokenizer:
        path = folder / model_name(_find_vocab_size(request))
        files.require_file(path, TokenizerError, "omit --skip-tokenizer, or put the file there")
    else:
        path, _ = prepare_tokenizer(
            split, folder, request.tokenizer, reporter.note, flexible=request.flexible
        )
    tokenizer = Tokenizer.load(path)
    if tokenizer.vocab_size != request.model.vocab_size and "vocab_size" not in request.flexible:
        raise TokenizerError(
            f"{path} has {tokenizer.vocab_size} pieces, but --vocab-size is {request.model.vocab_size}",
            f"pass --vocab-size {tokenizer.vocab_size}, or omit --skip-tokenizer",
        )
    reporter.phase("preparing the token files")
    try:
        shards = Shards.load(folder / SHARDS_FOLDER)
        wanted = files.sha256_file(corpus), tokenizer.sha256
        if (shards.corpus_sha256, shards.tokenizer_sha256) == wanted and shards.held_out == split.unit:
            reporter.note(f"shards: reused {shards.folder}")
            _note_data(shards, request.model.max_seq_length, reporter)
            return tokenizer, shards
    except CorpusError:
        pass  # missing or damaged: rebuilt below
    shards = build_shards(split, tokenizer, folder / SHARDS_FOLDER)
    reporter.note(
        f"shards: {shards.train_tokens:,} tokens to train on, {shards.validation_tokens:,} held out"
        f" by {shards.held_out} ({', '.join(shards.languages)})"
    )
    _note_data(shards, request.model.max_seq_length, reporter)
    return tokenizer, shards


def _find_vocab_size(request: RunRequest) -> int:
    """Return the size of the folder's vocabulary if the user requested none, otherwise the requested one."""
    existing = load_report(request.output_dir) if "vocab_size" in request.flexible else None
    return existing.config.vocab_size if existing else request.tokenizer.vocab_size


def _note_data(shards: Shards, context: int, reporter: Reporter) -> None:
    """Report pairs that are too long, and the share of held-out bytes behind UNK; a high one as a warning."""
    if shards.template:
        training, held_out = count_long(shards, context)
        if training or held_out:
            reporter.note(
                f"warning: {training:,} conversations, and {held_out:,} held-out ones, are left out: they are"
                f" longer than the context of {context} tokens; a larger --max-seq-length keeps them"
            )
    if (spacing := choose_spacing(shards.validation_tokens)) > 1:
        reporter.note(f"held out: one of {spacing} windows is evaluated after each epoch")
    shares = shards.unknown_byte_shares
    reporter.note(f"unknown: {100 * shares.pop(ALL, 0):.3f}% of the held-out bytes are UNK")
    if warning := describe_unknown(shares):
        reporter.note(f"warning: {warning}; a tokenizer with --byte-fallback keeps them")


def _announce_move(request: RunRequest, reporter: Reporter) -> None:
    """Say or ask what happens to the run in the folder, before it is moved.

    Raises:
        CheckpointError: The user does not want it.
    """
    folder = request.output_dir
    try:
        found = f"a run ({read_run(folder).summary})"
    except (TinyEdgeError, OSError):
        found = "a run"
    files_and_target = f"its files to {folder / PREVIOUS_FOLDER}{os.sep}"
    if request.restart:
        reporter.note(f"model: {folder} holds {found}; moving {files_and_target}")
        return
    found = found.replace("a run", "a finished run with other text or settings", 1)
    answer = request.confirm(f"{folder} holds {found}.\nMove {files_and_target} and train a new model?")
    if answer is None:
        reporter.note(f"model: {folder} holds {found}; moving {files_and_target}")
    elif not answer:
        raise CheckpointError(
            f"{folder} keeps its finished run; nothing was changed",
            "pass another --output-dir to train a new model beside it",
        )


def _require_not_finished(metrics: MetricsWriter) -> None:
    """Raise CheckpointError if the folder holds a finished run that is not this one."""
    if is_finished(metrics.folder) and not metrics.is_finished():
        raise CheckpointError(
            f"{metrics.folder} holds a finished run with other flags or text",
            "omit --resume: the finished run is moved to previous/, and a new one starts",
        )


def _resume(trainer: Trainer, folder: Path, reporter: Reporter) -> Path:
    """Continue from the most advanced valid checkpoint. A damaged one causes a warning."""
    path = checkpoint.find_newest(folder, reporter.note)
    trainer.resume(path)
    reporter.note(f"model: resumed from {path}, epoch {trainer.state.epoch + 1}, step {trainer.state.step}")
    return path


def _require_no_unfinished_run(folder: Path, restart: bool) -> None:
    """Raise CheckpointError if a new run would replace an unfinished one."""
    if has_unfinished_run(folder) and not restart:
        raise CheckpointError(
            f"{folder} holds an unfinished run",
            "pass --resume to continue it, or --restart to start a new one",
        )
