"""A sweep as a picture: what its trials reached, in their order and by each flag that varied.

In: trials and the space they are from. Out: a picture file.
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

PANELS = 6  # more would be too small to read
ROOM = 0.12  # of what the finished trials span, above and below them

Place = Callable[[Trial], float]


def draw_sweep(trials: Sequence[Trial], best: Trial, space: Space, title: str, path: Path) -> None:
    """Bits per byte by trial and by flag. A hollow point was cut short; at the top it is worse than shown."""
    names = ["trial", *list_varied(space)][:PANELS]
    columns = 2 if len(names) == 4 else min(3, len(names))
    point = describe_point(best.point, names[1:])
    subtitle = f"best: {best.name}, {best.bits_per_byte:.3f} bits per byte   ·   {point}"
    low, high = _span(trials)
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
            place = _by_number(axes, len(trials)) if name == "trial" else _by_flag(axes, name, space[name])
            _draw_trials(axes, trials, best, place, high)
            axes.set_ylim(low, high)
            axes.set_xlabel(name if name == "trial" else flag(name)[2:])
            if index % columns:
                axes.tick_params(labelleft=False)
            else:
                axes.set_ylabel("bits per byte")
        figure.legend(*axes.get_legend_handles_labels(), loc="upper right", ncols=3, frameon=False)


def _span(trials: Sequence[Trial]) -> tuple[float, float]:
    """The finished trials' lowest and highest bits per byte, and some room."""
    reached = [t.bits_per_byte for t in trials if t.status == "finished" and t.bits_per_byte is not None]
    room = ROOM * (max(reached) - min(reached)) or ROOM * max(reached)
    return min(reached) - room, max(reached) + room


def _draw_trials(axes: Axes, trials: Sequence[Trial], best: Trial, place: Place, high: float) -> None:
    finished, pruned = ([t for t in trials if t.status == status] for status in ("finished", "pruned"))
    looks: dict[str, tuple[list[Trial], dict[str, Any]]] = {
        "finished": (finished, {"mfc": COLOURS[0], "mec": COLOURS[0]}),
        "pruned": (pruned, {"mfc": "none", "mec": GREY, "mew": 1.8}),
        "best": ([best], {"mfc": "none", "mec": COLOURS[1], "mew": 2.6, "ms": 18}),
    }
    for label, (group, look) in looks.items():
        shown = [(place(t), min(t.bits_per_byte, high)) for t in group if t.bits_per_byte is not None]
        if shown:
            axes.plot(*zip(*shown, strict=True), "o", label=label, clip_on=False, **look)


def _by_number(axes: Axes, count: int) -> Place:
    axes.set_xlim(-0.5, count - 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return lambda trial: trial.number


def _by_flag(axes: Axes, name: str, axis: Categorical | Range) -> Place:
    """Values of a list stand side by side, those of a range on its scale."""
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
