"""A sweep: many training runs on the same text, each in a normal run folder.

In: a search space, and a request with what all trials share. Out: `trial-0000/` and so on, their study,
`sweep.json` and `sweep.png`. Does not know how a search method chooses.
"""

import dataclasses
import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyedge.core import files
from tinyedge.core.errors import TinyEdgeError, TrainingError, UsageError
from tinyedge.core.folder_lock import ensure_dir
from tinyedge.core.run_files import has_unfinished_run
from tinyedge.core.runs import ALL, read_run
from tinyedge.core.settings import flag
from tinyedge.corpus.build import CORPUS_NAME, REPORT_NAME
from tinyedge.sweep.plot import draw_sweep
from tinyedge.sweep.search_space import Point, Space, configure, describe_point, format_flags, list_varied
from tinyedge.sweep.settings import SweepSettings
from tinyedge.sweep.study import JOURNAL_FILE, Claim, Study, Trial, lock_folder
from tinyedge.text.shards import FOLDER as SHARDS_FOLDER
from tinyedge.text.tokenizer import model_name
from tinyedge.train import pipeline
from tinyedge.train.recipe import list_unset
from tinyedge.train.report.reporter import Reporter
from tinyedge.train.run_request import RunRequest
from tinyedge.train.state import EpochRecord
from tinyedge.train.storage.previous_run import replace_data

SCHEMA = "tinyedge.sweep/1"
SWEEP_FILE, PICTURE_FILE = "sweep.json", "sweep.png"


@dataclass(frozen=True)
class SweepRequest:
    """What the user requested of `tinyedge sweep`."""

    folder: Path
    """Where the trials' run folders and the study go."""
    common: RunRequest
    """What all trials share; its output_dir holds the text, the tokenizer and the shards."""
    space: Space
    """The flags that vary, with their values."""
    settings: SweepSettings
    """Search method, number of trials, epochs of each, and seed."""


@dataclass(frozen=True)
class SweepResult:
    """The state of a sweep when this process stops working on it."""

    trials: list[Trial]
    """All trials so far."""
    best: Trial | None
    """The best of the finished trials."""
    signal: int | None
    """The signal that stopped this process, if any."""


def sweep(request: SweepRequest, reporter: Reporter) -> SweepResult:
    """Run trials until none is left or a signal arrives; several processes may share one folder.

    A trial that cannot be trained counts as failed; it is not an error.

    Raises:
        UsageError: The folder contains another sweep.
    """
    # The first process prepares what the others use; invalid text leaves no files behind.
    with (
        ensure_dir(request.folder),
        lock_folder(request.folder),
        replace_data(request.common.output_dir, reporter.note),
    ):
        _require_own_files(request.folder)
        tokenizer, shards = pipeline.prepare_data(request.common, reporter)
    common = request.common.with_vocab_size(tokenizer.vocab_size)
    request = dataclasses.replace(request, common=common)
    settings = request.settings
    study = Study(request.folder, request.space, settings.search, settings.seed, settings.epochs)
    study.join(
        {
            "corpus_sha256": shards.corpus_sha256,
            "tokenizer_sha256": tokenizer.sha256,
            "search": settings.search,
            "vary": {name: str(axis) for name, axis in request.space.items()},
            "epochs": settings.epochs,
            "max_minutes": request.common.limits.max_minutes,
            "seed": settings.seed,
        }
    )
    stopped = None
    while stopped is None and (claim := study.claim(settings.trials)):
        with claim:
            stopped = _run_trial(request, claim, reporter)
        with lock_folder(request.folder):
            result = _collect_result(study, stopped)
            _write_files(request, result)
    return _collect_result(study, stopped)


def format_command(request: SweepRequest, point: Point) -> str:
    """Return the shell command that trains a point's model on the same text."""
    common = request.common
    words = ["tinyedge", "train", "--output-dir", str(common.output_dir), "--skip-corpus", "--skip-tokenizer"]
    words += ["--vocab-size", str(common.model.vocab_size), "--epochs", str(request.settings.epochs)]
    words += ["--device", common.hardware.device.type, "--precision", common.hardware.precision]
    if common.limits.max_minutes is not None:
        words += ["--max-minutes", str(common.limits.max_minutes)]
    return shlex.join(words + format_flags(point))


def _run_trial(request: SweepRequest, claim: Claim, reporter: Reporter) -> int | None:
    """Train a trial, from its checkpoint if there is one; return the signal that stopped it, or None."""
    reporter.note(f"{claim.folder.name}: {describe_point(claim.point, list_varied(request.space))}")
    common = request.common
    try:
        model, training = configure(claim.point, common.model.vocab_size, request.settings.epochs)
        _link_data(common.output_dir, claim.folder, model_name(model.vocab_size))
        trial = dataclasses.replace(
            common,
            output_dir=claim.folder,
            model=model,
            training=training,
            flexible=common.flexible | list_unset(claim.point),
            limits=dataclasses.replace(common.limits, prune=claim.is_hopeless),
            skip_corpus=True,
            skip_tokenizer=True,
            resume=has_unfinished_run(claim.folder),
        )
        outcome = pipeline.run(trial, _TrialReporter(claim, reporter))
    except (TrainingError, UsageError) as failure:
        reason = failure.name_flags(flag).message if isinstance(failure, UsageError) else failure.message
        claim.fail(reason)
        reporter.note(f"{claim.folder.name}: failed: {reason}")
        return None
    if outcome is not None and outcome.signal is not None:
        claim.pause()
        return outcome.signal
    run = read_run(claim.folder)
    if run.status == "pruned":
        claim.prune()
    else:
        claim.finish(run.best.bits_per_byte[ALL])
    return None


def _require_own_files(folder: Path) -> None:
    """Raise TinyEdgeError if a file would be replaced that no sweep wrote."""
    hint = "move it away, or pass another --output-dir"
    result, picture, study = folder / SWEEP_FILE, folder / PICTURE_FILE, folder / JOURNAL_FILE
    if result.exists():
        files.read_json(result, SCHEMA, TinyEdgeError, hint)
    elif picture.exists() and not study.exists():
        raise TinyEdgeError(f"{picture} was not written by tinyedge sweep and would be replaced", hint)


def _link_data(data: Path, folder: Path, tokenizer: str) -> None:
    """Link what all trials share into a trial's folder, so that it is a normal run folder."""
    # The corpus' report tells whether it holds pairs; a corpus that the user put there has none.
    for name in (CORPUS_NAME, REPORT_NAME, tokenizer, SHARDS_FOLDER):
        link = folder / name
        if not link.is_symlink() and (data / name).exists():
            link.symlink_to(os.path.relpath(data / name, folder))


class _TrialReporter:
    """A Reporter that reports each epoch's result to the study and forwards everything."""

    def __init__(self, claim: Claim, reporter: Reporter) -> None:
        self._claim = claim
        self.phase = reporter.phase
        self.step = reporter.step
        self.sample = reporter.sample
        self.note = reporter.note
        self._epoch = reporter.epoch

    def epoch(self, record: EpochRecord) -> None:
        """Forward the record and report its result."""
        self._epoch(record)
        self._claim.report(record.epoch, record.val_bits_per_byte[ALL])


def _collect_result(study: Study, stopped: int | None) -> SweepResult:
    trials = study.trials()
    finished = [trial for trial in trials if trial.status == "finished"]
    best = min(finished, key=lambda trial: (trial.bits_per_byte, trial.number), default=None)
    return SweepResult(trials, best, stopped)


def _write_files(request: SweepRequest, result: SweepResult) -> None:
    settings = request.settings
    best: dict[str, Any] | None = None
    if result.best:
        best = {
            "trial": result.best.name,
            "bits_per_byte": result.best.bits_per_byte,
            "command": format_command(request, result.best.point),
        }
    value = {
        "schema": SCHEMA,
        "search": settings.search,
        "seed": settings.seed,
        "epochs": settings.epochs,
        "vary": {name: str(axis) for name, axis in request.space.items()},
        "trials": [{"folder": trial.name, **dataclasses.asdict(trial)} for trial in result.trials],
        "best": best,
    }
    files.write_json(request.folder / SWEEP_FILE, value)
    if result.best:
        title = f"search: {settings.search}, trials: {len(result.trials)}, epochs of each: {settings.epochs}"
        draw_sweep(result.trials, result.best, request.space, title, request.folder / PICTURE_FILE)
