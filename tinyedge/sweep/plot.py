"""Plot of a sweep: the results of its trials by number and by each flag that varied.

In: trials and their search space. Out: a picture file. Does not know how trials are run.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator

from tinyedge.core.settings import flag
from tinyedge.sweep.search_space import Categorical, Range, Space, describe_point, list_varied
from tinyedge.sweep.study import Trial
from tinyedge.train.report.plotting import COLOURS, GREY, open_figure, shorten

MAX_PANELS = 6  # more would be too small to read
MARGIN = 0.12  # of the range of the finished trials, above and below it

Position = Callable[[Trial], float]  # of a trial on the x axis


def draw_sweep(trials: Sequence[Trial], best: Trial, space: Space, title: str, path: Path) -> None:
    """Draw bits per byte by trial and by flag.

    A hollow point is a pruned trial. If it is at the upper edge, its result is worse than the axis shows.
    """
    names = ["trial", *list_varied(space)][:MAX_PANELS]
    columns = 2 if len(names) == 4 else min(3, len(names))
    point = describe_point(best.point, names[1:])
    subtitle = f"best: {best.name}, {best.bits_per_byte:.3f} bits per byte   ·   {point}"
    low, high = _compute_limits(trials)
    with open_figure(path, title, shorten(subtitle, 125)) as figure:
        grid = figure.add_gridspec(
            nrows=-(-len(names) // columns),
            ncols=columns,
            left=0.085,
            right=0.98,
            bottom=0.1,
            top=0.82,
            hspace=0.36,
            wspace=0.07,
        )
        for index, name in enumerate(names):
            axes = figure.add_subplot(grid[index // columns, index % columns])
            is_number = name == "trial"
            position = (
                _place_by_number(axes, len(trials)) if is_number else _place_by_flag(axes, name, space[name])
            )
            _draw_trials(axes, trials, best, position, high)
            axes.set_ylim(low, high)
            axes.set_xlabel(name if name == "trial" else flag(name)[2:])
            if index % columns:
                axes.tick_params(labelleft=False)
            else:
                axes.set_ylabel("bits per byte")
        figure.legend(*axes.get_legend_handles_labels(), loc="upper right", ncols=3, frameon=False)


def _compute_limits(trials: Sequence[Trial]) -> tuple[float, float]:
    """Return the limits of the y axis: the range of the finished trials with a margin."""
    values = [t.bits_per_byte for t in trials if t.status == "finished" and t.bits_per_byte is not None]
    margin = MARGIN * (max(values) - min(values)) or MARGIN * max(values)
    return min(values) - margin, max(values) + margin


def _draw_trials(axes: Axes, trials: Sequence[Trial], best: Trial, position: Position, high: float) -> None:
    finished, pruned = ([t for t in trials if t.status == status] for status in ("finished", "pruned"))
    looks: dict[str, tuple[list[Trial], dict[str, Any]]] = {
        "finished": (finished, {"mfc": COLOURS[0], "mec": COLOURS[0]}),
        "pruned": (pruned, {"mfc": "none", "mec": GREY, "mew": 1.8}),
        "best": ([best], {"mfc": "none", "mec": COLOURS[1], "mew": 2.6, "ms": 18}),
    }
    for label, (group, look) in looks.items():
        shown = [(position(t), min(t.bits_per_byte, high)) for t in group if t.bits_per_byte is not None]
        if shown:
            axes.plot(*zip(*shown, strict=True), "o", label=label, clip_on=False, **look)


def _place_by_number(axes: Axes, count: int) -> Position:
    axes.set_xlim(-0.5, count - 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return lambda trial: trial.number


def _place_by_flag(axes: Axes, name: str, axis: Categorical | Range) -> Position:
    """Place values of a list at equal distances, those of a range on its scale."""
    if isinstance(axis, Range):
        if axis.low > 0:
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
            axes.xaxis.set_major_formatter("{x:g}")
            axes.xaxis.set_minor_formatter("")
        axes.set_xlim(axis.low, axis.high)
        return lambda trial: float(trial.point[name])
    axes.set_xticks(range(len(axis.values)), [str(value) for value in axis.values])
    axes.set_xlim(-0.5, len(axis.values) - 0.5)
    return lambda trial: axis.values.index(trial.point[name])
