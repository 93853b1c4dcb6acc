"""Many runs in search of the best flags: each trial a normal run folder, all on the same text.

In: a space of flags, and a request that says what they have in common. Out: `trial-0000/` and so on, their
study, `sweep.json` and `sweep.png`.
"""

import dataclasses
import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyedge.core import files
from tinyedge.core.errors import TrainingError, UsageError
from tinyedge.core.runs import ALL, read_run
from tinyedge.corpus.build import CORPUS_NAME
from tinyedge.sweep.plot import draw_sweep
from tinyedge.sweep.search_space import Point, Space, configure, describe_point, format_flags, list_varied
from tinyedge.sweep.settings import SweepSettings
from tinyedge.sweep.study import Claim, Study, Trial, locked
from tinyedge.text.shards import FOLDER as SHARDS_FOLDER
from tinyedge.text.tokenizer import model_name
from tinyedge.train import pipeline
from tinyedge.train.pipeline import RunRequest
from tinyedge.train.report.reporter import Reporter
from tinyedge.train.state import EpochRecord
from tinyedge.train.storage.checkpoint import list_resumable
from tinyedge.train.storage.run_lock import ensure_dir

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
class Result:
    """All trials so far, the best of the finished ones, and the signal that stopped this process, if any."""

    trials: list[Trial]
    best: Trial | None
    signal: int | None


def sweep(request: SweepRequest, reporter: Reporter) -> Result:
    """Works on trials until none is left, or a signal comes; several processes may do so in one folder.

    Raises UsageError for a folder that holds another sweep. A trial that cannot be trained is a trial that
    failed, not an error.
    """
    # The first process prepares what the others use; text that is refused leaves nothing behind.
    with ensure_dir(request.folder), locked(request.folder), ensure_dir(request.common.output_dir):
        tokenizer, shards = pipeline.prepare_data(request.common, reporter)
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
            stopped = _work(request, claim, reporter)
        with locked(request.folder):
            result = _result(study, stopped)
            _write(request, result)
    return _result(study, stopped)


def command(request: SweepRequest, point: Point) -> str:
    """What trains a point's model with the same text: a line for a shell."""
    common = request.common
    words = ["tinyedge", "train", "--output-dir", str(common.output_dir), "--skip-corpus", "--skip-tokenizer"]
    words += ["--vocab-size", str(common.model.vocab_size), "--epochs", str(request.settings.epochs)]
    if common.limits.max_minutes is not None:
        words += ["--max-minutes", str(common.limits.max_minutes)]
    return shlex.join(words + format_flags(point))


def _work(request: SweepRequest, claim: Claim, reporter: Reporter) -> int | None:
    """Trains a trial, from its checkpoint where it has one; returns the signal that stopped it, or None."""
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
            limits=dataclasses.replace(common.limits, prune=claim.is_hopeless),
            skip_corpus=True,
            skip_tokenizer=True,
            resume=bool(list_resumable(claim.folder)),
        )
        outcome = pipeline.run(trial, _TrialReporter(claim, reporter))
    except (TrainingError, UsageError) as failure:
        claim.fail(failure.message)
        reporter.note(f"{claim.folder.name}: failed: {failure.message}")
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


def _link_data(data: Path, folder: Path, tokenizer: str) -> None:
    """Puts what all trials share into a trial's folder, so that it is a run folder like any other."""
    for name in (CORPUS_NAME, tokenizer, SHARDS_FOLDER):
        link = folder / name
        if not link.is_symlink():
            link.symlink_to(os.path.relpath(data / name, folder))


class _TrialReporter:
    """Tells the study what an epoch reached, and passes everything on."""

    def __init__(self, claim: Claim, reporter: Reporter) -> None:
        self._claim = claim
        self.step = reporter.step
        self.sample = reporter.sample
        self.note = reporter.note
        self._epoch = reporter.epoch

    def epoch(self, record: EpochRecord) -> None:
        self._epoch(record)
        self._claim.report(record.epoch, record.val_bits_per_byte[ALL])


def _result(study: Study, stopped: int | None) -> Result:
    trials = study.trials()
    finished = [trial for trial in trials if trial.status == "finished"]
    best = min(finished, key=lambda trial: (trial.bits_per_byte, trial.number), default=None)
    return Result(trials, best, stopped)


def _write(request: SweepRequest, result: Result) -> None:
    settings = request.settings
    best: dict[str, Any] | None = None
    if result.best:
        best = {
            "trial": result.best.name,
            "bits_per_byte": result.best.bits_per_byte,
            "command": command(request, result.best.point),
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
