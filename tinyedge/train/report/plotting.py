"""Figures for slides: one size, one palette safe for colour-blind readers, names at the ends of lines.

In: data to draw. Out: matplotlib figures, written to files. Does not know runs, and needs no display.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from tinyedge.core import files
from tinyedge.core.errors import UsageError

SIZE, DPI = (12.8, 7.2), 150  # inches: 1920 x 1080
FORMATS = (".png", ".svg", ".pdf")
MARGIN = 1.03  # of a token axis, so that the last marker is not clipped
MAX_SPREAD = 4  # of the values on a y axis, in medians; a loss that falls from 9 to 3 is far inside
MIN_SPAN = 0.1  # of a y axis of loss or bits per byte: smaller differences are noise
INK, GREY = "#222222", "#767676"
# Okabe and Ito's palette, without yellow, which is hard to see on a projector.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
STYLE: dict[Any, Any] = {
    "font.size": 15,
    "axes.titlesize": 17,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E4E4E4",
    "text.color": INK,
    "text.parse_math": False,  # names of folders may contain a dollar sign
    "xtick.color": INK,
    "ytick.color": INK,
    "lines.linewidth": 2.6,
    "lines.markersize": 8,
    "svg.fonttype": "none",
}


@dataclass(frozen=True)
class Label:
    """A name to the right of a line's last point."""

    x: float
    """In data units."""

    y: float
    """In data units."""

    text: str
    """The name."""

    colour: str
    """Colour of the line."""


def require_format(path: Path) -> None:
    """Raise UsageError unless the suffix of `path` is one of FORMATS."""
    if path.suffix.lower() not in FORMATS:
        raise UsageError(f"{path} has no supported image suffix", f"use one of: {', '.join(FORMATS)}")


@contextlib.contextmanager
def open_figure(path: Path, title: str, subtitle: str) -> Iterator[Figure]:
    """Open a figure for a block, and write it atomically when the block ends.

    Args:
        path: Image file; its suffix determines the format.
        title: First line of the figure.
        subtitle: Second line.

    Yields:
        The figure. Its top, above 0.87 of the height, is reserved for the two lines.

    Raises:
        UsageError: The suffix is not supported.
    """
    require_format(path)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=SIZE)
        FigureCanvasAgg(figure)
        figure.text(0.025, 0.965, title, fontsize=23, fontweight="bold", va="top")
        figure.text(0.025, 0.9, subtitle, color=GREY, fontsize=14, va="top")
        yield figure
        with files.atomic_writer(path) as file:
            figure.savefig(file, format=path.suffix[1:].lower(), dpi=DPI)


def format_token_axis(axes: Axes, end: float) -> None:
    """Show tokens from 0 to `end` along the bottom. The space to the right is for labels."""
    axes.set_xlim(0, end * MARGIN)
    axes.set_xticks(_ticks(end))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.set_xlabel("tokens seen")


def choose_time_unit(seconds: float) -> tuple[str, float]:
    """Return the unit for a time axis that ends at `seconds`, and its length in seconds."""
    return ("minutes", 60.0) if seconds >= 2 * 60 else ("seconds", 1.0)


def add_time_axis(axes: Axes, tokens: Sequence[float], seconds: Sequence[float]) -> None:
    """Add a time axis along the top of a token axis.

    Args:
        axes: Axes with tokens along the bottom.
        tokens: Tokens at some moments, increasing.
        seconds: Time at the same moments.
    """
    name, unit = choose_time_unit(seconds[-1])
    top = axes.twiny()
    top.spines["top"].set_visible(True)
    top.grid(visible=False)
    top.set_xlim(axes.get_xlim())
    marks = _ticks(seconds[-1] / unit)
    places = np.interp(np.multiply(marks, unit), [0, *seconds], [0, *tokens])
    top.set_xticks(places, [f"{mark:g}" for mark in marks])
    top.set_xlabel(name, labelpad=7)


def limit_outliers(axes: Axes, x: Sequence[float], y: Sequence[float]) -> None:
    """Choose the range and the ticks of the y axis, so that one diverged value does not flatten the others.

    A value above MAX_SPREAD times the median is outside of the range; a triangle and the value stand for it.

    Args:
        axes: Axes with all lines drawn.
        x: Places of the values.
        y: Positive values.
    """
    limit = MAX_SPREAD * float(np.median(y))
    low, high = axes.get_ylim()
    if max(y) > limit:
        lowest = min(float(np.min(line.get_ydata())) for line in axes.lines)
        low, high = lowest - 0.05 * limit, limit
        for place, value in zip(x, y, strict=True):
            if value > limit:
                axes.plot(place, 0.97 * limit, "^", color=INK, markersize=9)
                axes.annotate(f"{value:,.0f}", (place, 0.97 * limit), xytext=(0, -17), ha="center",
                              textcoords="offset points", fontsize=12)  # fmt: skip
    middle, span = (low + high) / 2, max(high - low, MIN_SPAN)
    axes.set_ylim(middle - span / 2, middle + span / 2)
    axes.yaxis.set_major_locator(MaxNLocator(6))


def shorten(text: str, width: int = 30) -> str:
    """Return the text, without its middle if it is longer than `width` characters."""
    half = (width - 1) // 2
    return text if len(text) <= width else f"{text[:half]}…{text[-half:]}"


def _ticks(end: float) -> list[float]:
    """Return round numbers from 0 to `end`."""
    return [
        float(tick) for tick in MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]).tick_values(0, end) if tick <= end
    ]


def label_line_ends(axes: Axes, labels: Sequence[Label], size: float = 15) -> None:
    """Write names next to their points, moved apart where they would overlap.

    Args:
        axes: Axes with all lines drawn.
        labels: The names.
        size: Font size in points.
    """
    assert isinstance(axes.figure, Figure)
    low, high = axes.get_ylim()
    points = axes.get_position().height * axes.figure.get_figheight() * 72 / (high - low)
    ordered = sorted(labels, key=lambda label: label.y)
    places = spread_positions([label.y * points for label in ordered], 1.3 * size)
    for label, place in zip(ordered, places, strict=True):
        axes.annotate(
            label.text,
            (label.x, label.y),
            xytext=(15, place - label.y * points),
            textcoords="offset points",
            va="center",
            color=label.colour,
            fontsize=size,
            fontweight="bold",
        )


def spread_positions(places: Sequence[float], gap: float) -> list[float]:
    """Move positions as little as needed until all are at least `gap` apart.

    Positions that are too close are pooled, and each pool is spread around its mean.

    Args:
        places: Sorted positions.
        gap: Minimum distance, in the same unit.
    """
    pools: list[list[float]] = []
    for place in places:
        pools.append([place])
        while len(pools) > 1 and _pool_start(pools[-1], gap) < _pool_start(pools[-2], gap) + gap * len(
            pools[-2]
        ):
            pools[-2:] = [pools[-2] + pools[-1]]
    return [_pool_start(pool, gap) + gap * index for pool in pools for index in range(len(pool))]


def _pool_start(pool: Sequence[float], gap: float) -> float:
    return sum(pool) / len(pool) - gap * (len(pool) - 1) / 2
