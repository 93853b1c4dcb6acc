"""The whole line from text to a trained model: every phase that is missing, and none that is not.

A phase is reused when the file it left says that it was made from the same things; each phase says which.
"""

import contextlib
import datetime
import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tinyedge import files
from tinyedge.config import ModelConfig
from tinyedge.corpus.build import CORPUS_NAME, CorpusRequest, prepare_corpus
from tinyedge.corpus.split import draw_split
from tinyedge.errors import CheckpointError, CorpusError, TinyEdgeError, TokenizerError
from tinyedge.shards import FOLDER as SHARDS_FOLDER
from tinyedge.shards import Shards, build_shards
from tinyedge.tokenizer import Tokenizer, model_name
from tinyedge.train import checkpoint
from tinyedge.train.hardware import Hardware
from tinyedge.train.metrics import CURVE_FILE, METRICS_FILE, SCHEMA, draw_curve, write_metrics
from tinyedge.train.recipe import TrainConfig
from tinyedge.train.trainer import Limits, Outcome, Reporter, Trainer
from tinyedge.vocabulary import TokenizerConfig, prepare_tokenizer

PREVIOUS_FOLDER = "previous"


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
    limits: Limits
    skip_corpus: bool = False
    skip_tokenizer: bool = False
    resume: bool = False
    restart: bool = False


def run(request: RunRequest, reporter: Reporter) -> Outcome | None:
    """Runs every missing phase. Returns None when the model was there already, trained in the same way."""
    request.output_dir.mkdir(parents=True, exist_ok=True)
    with _alone_in(request.output_dir):
        return _run(request, reporter)


def _run(request: RunRequest, reporter: Reporter) -> Outcome | None:
    folder = request.output_dir
    tokenizer, shards = prepare_data(request, reporter)
    identity = {"corpus_sha256": shards.corpus_sha256, "tokenizer_sha256": tokenizer.sha256}
    if not (request.resume or request.restart) and _finished(request, identity):
        reporter.note(f"model: reused {folder / checkpoint.FINAL_FILE} (--restart trains it again)")
        return None
    trainer = Trainer(request.model, request.training, shards, tokenizer, request.hardware, folder, reporter)
    if request.resume:
        _resume(trainer, folder, reporter)
    else:
        _set_aside(folder, request.restart, reporter)
    reporter.note(
        f"model: {request.model.parameters:,} parameters, recipe {request.training.recipe},"
        f" {shards.train_tokens:,} tokens, on {request.hardware.sentence}"
    )
    started = datetime.datetime.now(datetime.UTC)
    outcome = trainer.run(request.limits)
    if outcome.signal is None:
        write_metrics(folder, request.model, request.training, outcome, request.hardware, started, identity)
        draw_curve(folder, outcome.state.history)
    return outcome


@contextlib.contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Keeps a second run out of the folder while the block runs; a killed one leaves no lock behind."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise CheckpointError(
            f"another tinyedge train is running in {folder}", "wait for it, or give another --output-dir"
        ) from None
    try:
        yield
    finally:
        os.close(descriptor)


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


def _finished(request: RunRequest, identity: dict[str, str]) -> bool:
    """Whether the folder's finished model is the one that this request would train."""
    folder = request.output_dir
    try:
        metrics = files.read_json(folder / METRICS_FILE, SCHEMA, TinyEdgeError)
        checkpoint.load(folder / checkpoint.FINAL_FILE)
        checkpoint.load(folder / checkpoint.BEST_FILE)
    except (TinyEdgeError, OSError):
        return False
    configuration = metrics.get("configuration")
    if not isinstance(configuration, dict):
        return False
    wanted = {"model": request.model.to_dict(), "training": request.training.to_dict(), **identity}
    return not metrics.get("stopped_by_max_minutes") and all(
        configuration.get(key) == value for key, value in wanted.items()
    )


def _resume(trainer: Trainer, folder: Path, reporter: Reporter) -> None:
    """Goes on from the newest checkpoint that is whole; a damaged one costs a warning, not the run."""
    candidates = checkpoint.resumable(folder)
    if not candidates:
        raise CheckpointError(f"{folder} has no checkpoint to resume from", "leave --resume out to begin")
    for position, path in enumerate(candidates):
        try:
            trainer.resume(path)
        except CheckpointError as failure:
            if position == len(candidates) - 1:
                raise
            reporter.note(f"warning: {failure.message}; trying the checkpoint before it")
            continue
        reporter.note(
            f"model: resumed from {path}, epoch {trainer.state.epoch + 1}, step {trainer.state.step}"
        )
        return


def _set_aside(folder: Path, restart: bool, reporter: Reporter) -> None:
    """Moves an earlier run's files to `previous/`; refuses while that run is unfinished."""
    finished = (folder / METRICS_FILE).exists()
    unfinished = checkpoint.resumable(folder) and not finished
    if unfinished and not restart:
        raise CheckpointError(
            f"{folder} holds an unfinished run", "--resume goes on with it, --restart begins again"
        )
    names = (checkpoint.BEST_FILE, checkpoint.FINAL_FILE, METRICS_FILE, CURVE_FILE)
    old = [path for path in (folder / name for name in names) if path.exists()]
    old += checkpoint.resumable(folder)
    if not old:
        return
    stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%d-%H%M%S-%f")
    previous = folder / PREVIOUS_FOLDER / stamp
    previous.mkdir(parents=True)
    for path in old:
        path.rename(previous / path.name)
    files.sync_folder(previous)
    files.sync_folder(folder)
    reporter.note(f"model: the earlier run's files are now in {previous}")
