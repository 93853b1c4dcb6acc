"""The whole line from text to a trained model: every phase that is missing, and none that is not.

A phase is reused when the file it left says that it was made from the same things; each phase says which.
"""

import contextlib
import datetime
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tinyedge.core import files
from tinyedge.core.config import ModelConfig
from tinyedge.core.errors import CheckpointError, CorpusError, TinyEdgeError, TokenizerError, TrainingError
from tinyedge.core.runs import PREVIOUS_FOLDER, read_run
from tinyedge.corpus.build import CORPUS_NAME, CorpusRequest, prepare_corpus
from tinyedge.corpus.split import draw_split
from tinyedge.text.shards import FOLDER as SHARDS_FOLDER
from tinyedge.text.shards import Shards, build_shards
from tinyedge.text.tokenizer import Tokenizer, model_name
from tinyedge.text.train_tokenizer import TokenizerConfig, prepare_tokenizer
from tinyedge.train.distributed import ALONE, Group
from tinyedge.train.hardware import Hardware
from tinyedge.train.recipe import TrainConfig
from tinyedge.train.report.advice import out_of_memory
from tinyedge.train.report.curve import CURVE_FILE, draw_curve
from tinyedge.train.report.metrics import Journal, is_finished
from tinyedge.train.report.reporter import Reporter
from tinyedge.train.storage import checkpoint, previous_run
from tinyedge.train.storage.run_lock import ensure_dir, exclusive_lock
from tinyedge.train.trainer import Outcome, RunLimits, Trainer


@dataclass(frozen=True)
class RunRequest:
    """What the user asked of `tinyedge train`.

    skip_corpus, skip_tokenizer: take the file that is there as it is. resume: go on from the newest
    checkpoint. restart: begin again though an unfinished run is there.
    """

    output_dir: Path
    corpus: CorpusRequest
    tokenizer: TokenizerConfig
    model: ModelConfig
    training: TrainConfig
    hardware: Hardware
    limits: RunLimits
    skip_corpus: bool = False
    skip_tokenizer: bool = False
    resume: bool = False
    restart: bool = False


def run(request: RunRequest, reporter: Reporter, group: Group = ALONE) -> Outcome | None:
    """Runs every missing phase. Returns None when the model was there already, trained in the same way.

    Of several processes the first does it all, and the others follow it through the training.
    """
    if not group.is_main:
        return _follow(request, reporter, group)
    if request.resume and not checkpoint.is_there(request.output_dir):
        raise checkpoint.nothing_to_resume(request.output_dir)  # before the work on the data
    with ensure_dir(request.output_dir), exclusive_lock(request.output_dir):
        return _run(request, reporter, group)


def _run(request: RunRequest, reporter: Reporter, group: Group) -> Outcome | None:
    folder = request.output_dir
    with _explained_shortage(request):
        begun = _begin(request, reporter, group)
        if begun is None:
            return None
        trainer, journal = begun
        try:
            outcome = trainer.run(request.limits, journal.write)
        except (TrainingError, RuntimeError, MemoryError):
            journal.write(trainer.state, "failed")
            raise
    if outcome.signal is not None:
        journal.write(outcome.state, "stopped")
        if outcome.state.history:
            draw_curve(read_run(folder), folder / CURVE_FILE)
        return outcome
    journal.write(outcome.state)
    draw_curve(read_run(folder), folder / CURVE_FILE)
    journal.write(outcome.state, "finished", outcome.ended_by)  # from here on the run needs no resume
    checkpoint.clean(folder)
    return outcome


def _begin(request: RunRequest, reporter: Reporter, group: Group) -> tuple[Trainer, Journal] | None:
    """All that comes before the first step; None when the model is there. A refusal changes nothing."""
    folder = request.output_dir
    if not request.resume:
        _refuse_unfinished(folder, request.restart)
    with previous_run.kept(folder, reporter.note) as kept:
        tokenizer, shards = prepare_data(request, reporter)
        identity = {"corpus_sha256": shards.corpus_sha256, "tokenizer_sha256": tokenizer.sha256}
        journal = Journal(folder, request.model, request.training, request.limits, request.hardware, identity)
        finished = not request.restart and journal.is_finished() and _has_models(folder)
        if group.broadcast(finished):
            checkpoint.clean(folder)
            reporter.note(f"model: reused {folder / checkpoint.FINAL_FILE} (--restart trains it again)")
            return None
        trainer = Trainer(
            request.model, request.training, shards, tokenizer, request.hardware, folder, reporter, group
        )
        resumed_from = None
        if request.resume:
            resumed_from = _resume(trainer, journal, reporter)
        else:
            _set_aside(folder, kept, reporter)
    group.broadcast(resumed_from)
    processes = f", {group.size} processes" if group.size > 1 else ""
    reporter.note(
        f"model: {request.model.parameters:,} parameters, recipe {request.training.recipe},"
        f" {shards.train_tokens:,} tokens, on {request.hardware.sentence}{processes}"
    )
    return trainer, journal


def _follow(request: RunRequest, reporter: Reporter, group: Group) -> Outcome | None:
    """The same steps of the same run, from what the first process made; writes nothing."""
    folder = request.output_dir
    if group.broadcast(True):  # the model was there already
        return None
    try:
        tokenizer = Tokenizer.load(folder / model_name(request.tokenizer.vocab_size))
        shards = Shards.load(folder / SHARDS_FOLDER)
    except TinyEdgeError as failure:
        raise TrainingError(
            f"process {group.rank} does not find what the first one made: {failure.message}",
            "give the processes of all machines one shared --output-dir",
        ) from None
    with _explained_shortage(request):
        trainer = Trainer(
            request.model, request.training, shards, tokenizer, request.hardware, folder, reporter, group
        )
        resumed_from: Path | None = group.broadcast(None)
        if resumed_from:
            trainer.resume(resumed_from)
        return trainer.run(request.limits)


@contextlib.contextmanager
def _explained_shortage(request: RunRequest) -> Iterator[None]:
    """Turns a failed allocation, whoever words it, into an error with a way out."""
    try:
        yield
    except (RuntimeError, MemoryError) as failure:
        error = out_of_memory(failure, request.training.batch_size, request.model.max_seq_length)
        if error is None:
            raise
        raise error from None


def prepare_data(request: RunRequest, reporter: Reporter) -> tuple[Tokenizer, Shards]:
    """Corpus, tokenizer and shards, each made or reused."""
    folder = request.output_dir
    corpus = folder / CORPUS_NAME
    if request.skip_corpus:
        files.require_file(corpus, CorpusError, "leave --skip-corpus out, or put the text there")
    else:
        prepare_corpus(request.corpus, folder, reporter.note)
    split = draw_split(corpus)
    if request.skip_tokenizer:
        path = folder / model_name(request.tokenizer.vocab_size)
        files.require_file(path, TokenizerError, "leave --skip-tokenizer out, or put the file there")
    else:
        path, _ = prepare_tokenizer(split, folder, request.tokenizer, reporter.note)
    tokenizer = Tokenizer.load(path)
    if tokenizer.vocab_size != request.model.vocab_size:
        raise TokenizerError(
            f"{path} has {tokenizer.vocab_size} pieces, --vocab-size is {request.model.vocab_size}",
            f"pass --vocab-size {tokenizer.vocab_size}, or leave --skip-tokenizer out",
        )
    try:
        shards = Shards.load(folder / SHARDS_FOLDER)
        wanted = files.sha256_file(corpus), tokenizer.sha256
        if (shards.corpus_sha256, shards.tokenizer_sha256) == wanted:
            reporter.note(f"shards: reused {shards.folder}")
            return tokenizer, shards
    except CorpusError:
        pass  # missing or damaged: they are made from what was just checked
    shards = build_shards(split, tokenizer, folder / SHARDS_FOLDER)
    reporter.note(
        f"shards: {shards.train_tokens:,} tokens to train on, {shards.validation_tokens:,} held out"
        f" by {shards.held_out} ({', '.join(shards.languages)})"
    )
    return tokenizer, shards


def _has_models(folder: Path) -> bool:
    """Whether a finished run's checkpoints are there, and whole."""
    try:
        checkpoint.load(folder / checkpoint.FINAL_FILE)
        checkpoint.load(folder / checkpoint.BEST_FILE)
    except (TinyEdgeError, OSError):
        return False
    return True


def _resume(trainer: Trainer, journal: Journal, reporter: Reporter) -> Path:
    """Goes on from the checkpoint that is furthest; a damaged one costs a warning, not the run."""
    if is_finished(journal.folder) and not journal.is_finished():
        raise CheckpointError(
            f"{journal.folder} holds a finished run of other flags or text",
            "leave --resume out: it goes to previous/, and another begins",
        )
    path = checkpoint.newest(journal.folder, reporter.note)
    trainer.resume(path)
    reporter.note(f"model: resumed from {path}, epoch {trainer.state.epoch + 1}, step {trainer.state.step}")
    return path


def _refuse_unfinished(folder: Path, restart: bool) -> None:
    """Raises CheckpointError where another run would take an unfinished one's place."""
    if checkpoint.resumable(folder) and not (restart or is_finished(folder)):
        raise CheckpointError(
            f"{folder} holds an unfinished run", "--resume goes on with it, --restart begins again"
        )


def _set_aside(folder: Path, kept: Path | None, reporter: Reporter) -> None:
    """Moves an earlier run to `previous/`, and with it the data that it was trained on."""
    if kept is None:
        return
    stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%d-%H%M%S-%f")
    previous = folder / PREVIOUS_FOLDER / stamp
    previous_run.move(folder, kept, previous)
    reporter.note(f"model: the earlier run's files are now in {previous}")
