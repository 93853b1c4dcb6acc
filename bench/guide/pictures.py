"""The guide's diagrams: the loss of a run, its attention, and the schedules of the learning rate."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tinyedge.core.runs import read_run
from tinyedge.train.recipe import FAST, GUIDE
from tinyedge.train.report.curve import draw_curve
from tinyedge.train.report.plotting import COLOURS

STEPS_PER_EPOCH = 200
HEADS = (0, 3)  # the first looks one token back from the start (`init_local_heads`); the last one is free


def draw_schedules(path: Path) -> None:
    """Draw the learning rate of both recipes over a run, as a share of its peak."""
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for recipe, colour in ((GUIDE, COLOURS[0]), (FAST, COLOURS[1])):
        steps = np.arange(recipe.epochs * STEPS_PER_EPOCH)
        rates = [recipe.rate_factor(step, STEPS_PER_EPOCH) for step in steps.tolist()]
        axes.plot(steps / len(steps), rates, color=colour, label=f"{recipe.recipe}: {recipe.schedule}")
    axes.set(xlabel="share of the run", ylabel="share of the peak rate")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110, bbox_inches="tight")


def draw_attention(report: Mapping[str, Any], path: Path) -> None:
    """Draw what two heads of the first block look at."""
    pieces, weights = report["attention"]["pieces"], report["attention"]["weights"]
    figure = Figure(figsize=(10, 5), layout="constrained")
    FigureCanvasAgg(figure)
    places = range(len(pieces))
    for axes, head in zip(figure.subplots(1, len(HEADS)), HEADS, strict=True):
        axes.imshow(weights[head], cmap="Blues", vmin=0, vmax=1)
        axes.set_title(f"head {head + 1}")
        axes.set_xticks(places, pieces, rotation=60)
        axes.set_yticks(places, pieces)
        axes.set(xlabel="looks at", ylabel="position")
    figure.savefig(path, dpi=110, bbox_inches="tight")


def draw_loss(run_dir: Path, path: Path) -> None:
    """Draw the training curve of a run, as `tinyedge train` does."""
    draw_curve(read_run(run_dir), path)
