"""The picture of `bench.training.presets`: one dot a shape, its area the megabytes of the bundle.

In: the report. Out: an image file. Made for a projector: few words, large, and no legend.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FormatStrFormatter, MaxNLocator

from tinyedge.train.report.plotting import COLOURS, INK, SIZE, open_figure, spread_positions

NAME_SIZE, DETAIL_SIZE, AXIS_SIZE = 22, 16, 19  # points
LARGEST_AREA = 3600.0  # square points, of the largest bundle's dot
LAST_ON_THE_RIGHT = 0.68  # of the width: dots further right have their label on the left
SMALLEST_SPAN = 0.1  # bits per byte: smaller differences are noise
BUDGET_COLOUR = "#4a7c3a"
# Behind words that meet a line or another dot; an outline would turn the words of an SVG into curves.
BACKGROUND = {"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.5}


def draw_presets(report: Mapping[str, Any], path: Path) -> None:
    """Draw quality against modelled milliseconds.

    Args:
        report: The report.
        path: Image file; its suffix determines the format.

    Raises:
        UsageError: The suffix is not supported.
    """
    runs: Sequence[Mapping[str, Any]] = report["runs"]
    minutes = [run["minutes"] for run in runs]
    ends = dict.fromkeys(f"{end:.0f}" if end >= 2 else f"{end:.1f}" for end in (min(minutes), max(minutes)))
    trained = f"{' to '.join(ends)} minutes"
    subtitle = (
        f"A dot is a shape after {trained} of training, its area the megabytes of its bundle"
        "   ·   lower is better"
    )
    with open_figure(path, "What a larger model buys", subtitle) as figure:
        axes = figure.add_axes((0.1, 0.125, 0.875, 0.69))
        _set_range(axes, report)
        _draw_budget(axes, report)
        largest = max(run["bundle_bytes"] for run in runs)
        areas = [LARGEST_AREA * run["bundle_bytes"] / largest for run in runs]
        for number, (run, area) in enumerate(zip(runs, areas, strict=True)):
            axes.scatter(
                run["p95_modelled_ms"],
                run["mean_bits_per_byte"],
                s=area,
                color=COLOURS[number % len(COLOURS)],
                edgecolors="white",
                linewidths=1.5,
                zorder=3,
            )
        _label_dots(axes, runs, areas)
        texts = ", ".join(runs[0]["bits_per_byte"])
        mixed = " with n-grams" if all(run["ngrams_bytes"] for run in runs) else ""
        axes.set_ylabel(f"bits per byte{mixed}, mean of {texts}", fontsize=AXIS_SIZE)
        axes.set_xlabel(
            f"milliseconds for {report['max_tokens']} tokens on a {report['board_title']}"
            f" (p95, modelled, ±{report['error_percent']:g}%)",
            fontsize=AXIS_SIZE,
        )
        axes.tick_params(labelsize=DETAIL_SIZE)


def _set_range(axes: Axes, report: Mapping[str, Any]) -> None:
    """Choose the ranges of both axes, with room for the dots and their labels."""
    runs = report["runs"]
    end = max(*(run["p95_modelled_ms"] for run in runs), report["max_p95_ms"] / report["margin"])
    axes.set_xlim(0, 1.25 * end)
    bits = [run["mean_bits_per_byte"] for run in runs]
    middle, span = (min(bits) + max(bits)) / 2, max(max(bits) - min(bits), SMALLEST_SPAN)
    axes.set_ylim(middle - 0.8 * span, middle + 0.8 * span)
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(FormatStrFormatter("%.2f"))


def _draw_budget(axes: Axes, report: Mapping[str, Any]) -> None:
    """Draw the largest modelled time that meets the board's budget."""
    limit = report["max_p95_ms"] / report["margin"]
    axes.axvline(limit, color=BUDGET_COLOUR, linestyle="--", linewidth=2)
    axes.annotate(
        f"budget: {report['max_p95_ms']:g} ms\nwith the margin of {report['margin']:g}",
        (limit, 1),
        xycoords=("data", "axes fraction"),
        xytext=(-8, -4),
        textcoords="offset points",
        ha="right",
        va="top",
        color=BUDGET_COLOUR,
        fontsize=DETAIL_SIZE,
    )


def _label_dots(axes: Axes, runs: Sequence[Mapping[str, Any]], areas: Sequence[float]) -> None:
    """Write name and sizes beside each dot, moved up or down where two would overlap."""
    turn = LAST_ON_THE_RIGHT * axes.get_xlim()[1]
    low, high = axes.get_ylim()
    points = axes.get_position().height * SIZE[1] * 72 / (high - low)  # of a bit per byte
    order = sorted(range(len(runs)), key=lambda number: float(runs[number]["mean_bits_per_byte"]))
    wanted = [runs[number]["mean_bits_per_byte"] * points for number in order]
    places = spread_positions(wanted, 1.25 * (NAME_SIZE + DETAIL_SIZE))
    for number, want, place in zip(order, wanted, places, strict=True):
        run = runs[number]
        details = (
            f"{run['mean_bits_per_byte']:.2f} · {run['parameters'] / 1e6:.1f} M weights"
            f" · {run['bundle_bytes'] / 1e6:.0f} MB"
        )
        offset, align = math.sqrt(areas[number] / math.pi) + 8, "left"
        if run["p95_modelled_ms"] > turn:  # no room on its right
            offset, align = -offset, "right"
        lines = (
            (run["name"], NAME_SIZE, 0.55 * DETAIL_SIZE, "bold", COLOURS[number % len(COLOURS)]),
            (details, DETAIL_SIZE, -0.6 * NAME_SIZE, "normal", INK),
        )
        for words, size, above, weight, colour in lines:
            axes.annotate(
                words,
                (run["p95_modelled_ms"], run["mean_bits_per_byte"]),
                xytext=(offset, place - want + above),
                textcoords="offset points",
                ha=align,
                va="center",
                fontsize=size,
                fontweight=weight,
                color=colour,
                bbox=BACKGROUND,
                zorder=4,
            )
