"""One training run in a folder whose data is ready: trains, and writes what a finished run consists of.

In: a trainer and the metrics of its run. Out: checkpoints, metrics and training curve in the run's folder.
"""

import dataclasses
from pathlib import Path

from tinyedge.core.errors import TinyEdgeError
from tinyedge.core.run_files import BEST_FILE, CURVE_FILE, FINAL_FILE
from tinyedge.core.runs import read_run
from tinyedge.train.before_after import BeforeAfter
from tinyedge.train.limits import Outcome, RunLimits
from tinyedge.train.report.curve import draw_curve
from tinyedge.train.report.metrics import MetricsWriter
from tinyedge.train.report.reporter import Reporter
from tinyedge.train.storage import checkpoint
from tinyedge.train.trainer import Trainer


def train_in_folder(
    trainer: Trainer,
    metrics: MetricsWriter,
    limits: RunLimits,
    reporter: Reporter,
    change: BeforeAfter | None = None,
) -> Outcome:
    """Train to the end of a run or to a signal, and write its results. Only for a group's main process.

    Args:
        trainer: The run, perhaps resumed.
        metrics: Writes its metrics.
        limits: When to stop early.
        reporter: Receives notes and what is being done.
        change: Of a run that goes on from a model, what it changes.
    """
    try:
        outcome = trainer.run(limits, metrics.write)
        if change and outcome.signal is None:
            reporter.phase("evaluating the old text and the new")
            best = checkpoint.load(metrics.folder / BEST_FILE)
            for line in change.finish(trainer.model, best["model_state_dict"]):
                reporter.note(line)
            metrics = dataclasses.replace(metrics, init_from=change.to_dict())
        reporter.phase("drawing the curve")
        _write_results(outcome, metrics)
    except (TinyEdgeError, RuntimeError, MemoryError, OSError):
        metrics.mark_failed(trainer.state)
        raise
    if outcome.signal is None:
        checkpoint.remove_resume_files(metrics.folder)
    return outcome


def is_complete(metrics: MetricsWriter) -> bool:
    """Whether the folder holds exactly this run, finished, with undamaged models."""
    return metrics.is_finished() and has_models(metrics.folder)


def has_models(folder: Path) -> bool:
    """Whether a finished run's models are there, undamaged."""
    try:
        checkpoint.load(folder / FINAL_FILE)
        checkpoint.load(folder / BEST_FILE)
    except (TinyEdgeError, OSError):
        return False
    return True


def _write_results(outcome: Outcome, metrics: MetricsWriter) -> None:
    """Write metrics and curve of a run that has ended. The status "finished" is written last."""
    metrics.write(outcome.state, "stopped" if outcome.signal is not None else "running")
    if outcome.state.history:
        draw_curve(read_run(metrics.folder), metrics.folder / CURVE_FILE)
    if outcome.signal is None:
        metrics.write(outcome.state, "finished", outcome.ended_by)  # from here on the run needs no resume
