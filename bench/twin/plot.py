"""Plot of a sweep: a panel for each dimension, with the formula as a line and counted figures as dots."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator, NullLocator, ScalarFormatter

from bench.twin.fit_cost_model import Row
from bench.twin.layout import BOARD, LATENCY, MB
from bench.twin.measure import MAX_TOKENS
from bench.twin.report import MAX_P95_MS
from bench.twin.shape_sweep import PROMPT_TOKENS
from bench.twin.shapes import AXES, TINY
from tinyedge.core.config import MODEL_RANGES, PRESETS, ModelConfig
from tinyedge.fit.cost_model import CostModel, memory_amounts

LINE, SECOND, BUDGET, TEXT = "#c1440e", "#3d6b8a", "#4a7c3a", "#333333"
CEILING_MS = 300
POINTS = 25
MAX_RSS_MB = BOARD.budgets.max_rss_mb
MARGIN, ERROR_PERCENT = LATENCY.margin, LATENCY.error_percent
KEY = (
    f"line: the formula of `tinyedge fit`   ·   band: the latency model's ±{ERROR_PERCENT:g}%"
    "   ·   ● counted, fitted   ○ counted, held out"
    f"   ·   dashed in a panel of `tiny`: {MAX_P95_MS:.0f} ms / {MARGIN}, the largest that passes a gate"
)


def draw_sweep(report: Mapping[str, Any], model: CostModel) -> bytes:
    """Draw a report of the sweep with the formula that was fitted to it, as a PNG."""
    figure = Figure(figsize=(16, 8.6), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(
        f"A {BOARD.title} answers {MAX_TOKENS} tokens:"
        f" modelled p95, ±{ERROR_PERCENT:g}%, int8, one thread",
        fontsize=17, color=TEXT,
    )  # fmt: skip
    figure.supxlabel(KEY, fontsize=11, color=TEXT)
    panels = figure.subplots(2, 4).flat
    rows = {row["name"]: row for row in report["shapes"]}
    draw_presets(next(panels), rows)
    for field in ("d_model", "num_layers", "dim_feedforward", "vocab_size", "max_seq_length"):
        draw_dimension(next(panels), field, rows, model)
    draw_prompts(next(panels), rows, model)
    draw_memory(next(panels), report["shapes"])
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=100)
    return data.getvalue()


def decorate(axes: Axes, title: str, label: str, unit: str = "ms") -> None:
    """Set title, labels and grid, as in all panels."""
    axes.set_title(title, fontsize=13, loc="left", color=TEXT)
    axes.set_xlabel(label, fontsize=11, color=TEXT)
    axes.set_ylabel(unit, fontsize=11, color=TEXT)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e6e6e6")
    axes.set_axisbelow(True)


def draw_budget(axes: Axes) -> None:
    """Draw the largest modelled figure that passes a gate."""
    axes.axhline(MAX_P95_MS / MARGIN, color=BUDGET, linestyle="--", linewidth=1.3)


def draw_presets(axes: Axes, rows: Mapping[str, Row]) -> None:
    """Draw a bar for each preset, with the margin above it."""
    for place, name in enumerate(PRESETS):
        p95, bound = rows[name]["p95_modelled_ms"], rows[name]["p95_bound_ms"]
        axes.bar(place, p95, color=LINE, width=0.6)
        axes.bar(place, bound - p95, bottom=p95, color=LINE, alpha=0.25, width=0.6)
        label = f"{p95:.0f} ms\nx {MARGIN}: {bound:.0f}"
        axes.text(place, p95 / 2, label, ha="center", va="center", fontsize=9, color="white")
    axes.axhline(MAX_P95_MS, color=BUDGET, linestyle="--", linewidth=1.3)
    axes.text(-0.45, MAX_P95_MS + 5, f"budget {MAX_P95_MS:.0f} ms", color=BUDGET, fontsize=11)
    axes.set_ylim(0, CEILING_MS)
    axes.set_xticks(range(len(PRESETS)), list(PRESETS), fontsize=12)
    decorate(axes, "The presets", "")


def draw_dimension(axes: Axes, field: str, rows: Mapping[str, Row], model: CostModel) -> None:
    """Draw the default shape with one dimension changed."""
    low, high = MODEL_RANGES[field]
    values = np.unique(np.linspace(low, high, POINTS).astype(int))
    if field == "d_model":
        values = np.arange(low, high + 1, 32)
    counted = [(getattr(TINY, field), rows["tiny"])]
    counted += [(value, rows[f"{field} {value}"]) for value in sorted(sum(AXES[field], ()))]
    draw_curve(axes, values, [model.p95_ms(change_tiny(field, value), MAX_TOKENS) for value in values], LINE)
    draw_dots(axes, [(value, row["p95_modelled_ms"], row["held_out"]) for value, row in counted], LINE)
    if field == "max_seq_length":
        full = [
            (value, row["responses"][-1]["response"]["modelled_ms"], row["held_out"])
            for value, row in counted
            if value > max(PROMPT_TOKENS) + MAX_TOKENS
        ]
        long = values[values >= 128]
        costs = [
            model.response_ms(change_tiny(field, value), int(value) - MAX_TOKENS, MAX_TOKENS)
            for value in long
        ]
        draw_curve(axes, long, costs, SECOND)
        draw_dots(axes, full, SECOND)
        axes.text(330, 205, "a prompt that\nfills the context", color=SECOND, fontsize=11, ha="center")
        axes.text(330, 28, "the benchmark's prompts", color=LINE, fontsize=11, ha="center")
    draw_budget(axes)
    axes.set_ylim(0, CEILING_MS)
    if field == "vocab_size":
        axes.xaxis.set_major_locator(MultipleLocator(8000))
    axes.axvline(getattr(TINY, field), color="#bbbbbb", linewidth=0.8)
    decorate(axes, f"tiny, other {field}", field)


def draw_prompts(axes: Axes, rows: Mapping[str, Row], model: CostModel) -> None:
    """Draw answers of the presets to prompts of every length."""
    for name, colour in zip(PRESETS, (LINE, SECOND, TEXT), strict=True):
        config = PRESETS[name]
        lengths = np.unique(np.linspace(2, config.max_seq_length - MAX_TOKENS, POINTS).astype(int))
        costs = [model.response_ms(config, int(value), MAX_TOKENS) for value in lengths]
        draw_curve(axes, lengths, costs, colour)
        responses = rows[name]["responses"]
        draw_dots(
            axes,
            [(r["prompt_tokens"], r["response"]["modelled_ms"], rows[name]["held_out"]) for r in responses],
            colour,
        )
        axes.text(
            lengths[-1],
            responses[-1]["response"]["modelled_ms"] * 1.15,
            name,
            color=colour,
            fontsize=11,
            ha="right",
        )
    draw_budget(axes)
    axes.set_yscale("log")
    axes.set_ylim(30, 600)
    axes.set_yticks([50, 100, 250, 500])
    axes.yaxis.set_major_formatter(ScalarFormatter())
    axes.yaxis.set_minor_locator(NullLocator())
    decorate(axes, "Longer prompts", "tokens of the prompt")


def draw_memory(axes: Axes, shapes: Sequence[Row]) -> None:
    """Draw peak memory, measured in the booted twin."""
    points = [
        (memory_amounts(ModelConfig(**row["model"]))["int8_bytes"] / MB, row["memory"]["peak_rss"] / MB, row)
        for row in shapes
        if row["memory"]
    ]
    draw_dots(axes, [(x, y, row["held_out"]) for x, y, row in points], LINE)
    for x, y, row in points:
        if row["name"] in PRESETS:
            axes.annotate(row["name"], (x, y), (0, -16), textcoords="offset points", fontsize=11, ha="center")
    axes.axhline(MAX_RSS_MB, color=BUDGET, linestyle="--", linewidth=1.3)
    axes.text(0, MAX_RSS_MB + 6, f"budget {MAX_RSS_MB} MB", color=BUDGET, fontsize=11)
    axes.set_ylim(0, 1.05 * MAX_RSS_MB)
    axes.set_xlim(-1, None)
    decorate(axes, "Peak memory, measured", "int8 weights, MB", "MB")


def change_tiny(field: str, value: int) -> ModelConfig:
    """`tiny` with another value of one dimension."""
    return replace(TINY, **{field: int(value)})


def draw_curve(axes: Axes, values: npt.NDArray[np.int64], costs: Sequence[float], colour: str) -> None:
    """Draw the formula, and the error of the latency model as a band."""
    heights, error = np.array(costs), ERROR_PERCENT / 100
    axes.plot(values, heights, color=colour, linewidth=1.8)
    axes.fill_between(
        values, (1 - error) * heights, (1 + error) * heights, color=colour, alpha=0.1, linewidth=0
    )


def draw_dots(axes: Axes, points: Sequence[tuple[float, float, bool]], colour: str) -> None:
    """Draw counted figures: filled if the formula was fitted to them, hollow if they were held out."""
    for x, y, held_out in points:
        axes.plot(x, y, "o", color=colour, markerfacecolor="white" if held_out else colour, markersize=7)
