"""A picture of a sweep: a panel a dimension, the formula as a line, what was counted as dots."""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator, NullLocator, ScalarFormatter

from bench.twin.counts import ERROR_PERCENT, MARGIN
from bench.twin.fit_cost_model import MB
from bench.twin.measure import MAX_TOKENS
from bench.twin.report import MAX_P95_MS
from bench.twin.shapes import AXES, TINY
from tinyedge.core.config import MODEL_RANGES, PRESETS, ModelConfig
from tinyedge.fit.cost_model import CostModel, holdings

LINE, SECOND, BUDGET, TEXT = "#c1440e", "#3d6b8a", "#4a7c3a", "#333333"
CEILING_MS, PRESETS_CEILING_MS = 300, 420
POINTS = 25
MAX_RSS_MB = 400
KEY = (
    f"line: the formula of `tinyedge fit`   ·   band: the latency model's ±{ERROR_PERCENT} %"
    "   ·   ● counted, fitted   ○ counted, held out"
    f"   ·   dashed in a panel of `tiny`: {MAX_P95_MS:.0f} ms / {MARGIN}, the most that passes a gate"
)
Row = Mapping[str, Any]


def picture(report: Mapping[str, Any], model: CostModel) -> bytes:
    """A PNG."""
    figure = Figure(figsize=(16, 8.6), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(
        f"A Raspberry Pi Zero 2 W answers {MAX_TOKENS} tokens:"
        f" modelled p95, ±{ERROR_PERCENT} %, int8, one thread",
        fontsize=17, color=TEXT,
    )  # fmt: skip
    figure.supxlabel(KEY, fontsize=11, color=TEXT)
    panels = figure.subplots(2, 4).flat
    rows = {row["name"]: row for row in report["shapes"]}
    presets_panel(next(panels), rows)
    for field in ("d_model", "num_layers", "dim_feedforward", "vocab_size", "max_seq_length"):
        dimension_panel(next(panels), field, rows, model)
    prompt_panel(next(panels), rows, model)
    memory_panel(next(panels), report["shapes"])
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=100)
    return data.getvalue()


def decorate(axes: Axes, title: str, label: str, unit: str = "ms") -> None:
    """What all panels share."""
    axes.set_title(title, fontsize=13, loc="left", color=TEXT)
    axes.set_xlabel(label, fontsize=11, color=TEXT)
    axes.set_ylabel(unit, fontsize=11, color=TEXT)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e6e6e6")
    axes.set_axisbelow(True)


def draw_budget(axes: Axes) -> None:
    """The highest modelled figure with which a gate is passed."""
    axes.axhline(MAX_P95_MS / MARGIN, color=BUDGET, linestyle="--", linewidth=1.3)


def presets_panel(axes: Axes, rows: Mapping[str, Row]) -> None:
    """A bar a preset, with the margin on top of it; one that would dwarf the others is cut off."""
    for place, name in enumerate(PRESETS):
        p95, bound = rows[name]["p95_modelled_ms"], rows[name]["p95_bound_ms"]
        axes.bar(place, p95, color=LINE, width=0.6)
        axes.bar(place, bound - p95, bottom=p95, color=LINE, alpha=0.25, width=0.6)
        cut = bound > PRESETS_CEILING_MS
        inside = PRESETS_CEILING_MS if cut else p95
        axes.text(place, inside - 8, f"{p95:.0f} ms", ha="center", va="top", fontsize=11, color="white")
        above = PRESETS_CEILING_MS - 32 if cut else bound
        axes.text(
            place, above - 8, f"x {MARGIN}: {bound:.0f}",
            ha="center", va="top", fontsize=9, color="white" if cut else TEXT,
        )  # fmt: skip
    axes.axhline(MAX_P95_MS, color=BUDGET, linestyle="--", linewidth=1.3)
    axes.text(-0.45, MAX_P95_MS + 5, f"budget {MAX_P95_MS:.0f} ms", color=BUDGET, fontsize=11)
    axes.set_ylim(0, PRESETS_CEILING_MS)
    axes.set_xticks(range(len(PRESETS)), list(PRESETS), fontsize=12)
    decorate(axes, "The presets", "")


def dimension_panel(axes: Axes, field: str, rows: Mapping[str, Row], model: CostModel) -> None:
    """The default shape with one dimension moved."""
    low, high = MODEL_RANGES[field]
    values = np.unique(np.linspace(low, high, POINTS).astype(int))
    if field == "d_model":
        values = np.arange(low, high + 1, 32)
    counted = [(getattr(TINY, field), rows["tiny"])]
    counted += [(value, rows[f"{field} {value}"]) for value in sorted(sum(AXES[field], ()))]
    curve(axes, values, lambda value: model.p95_ms(moved(field, value), MAX_TOKENS), LINE)
    dots(axes, [(value, row["p95_modelled_ms"], row["held_out"]) for value, row in counted], LINE)
    if field == "max_seq_length":
        full = [(value, row["responses"][-1]["response"]["modelled_ms"], row["held_out"])
                for value, row in counted if value > 85 + MAX_TOKENS]  # fmt: skip
        long = values[values >= 128]
        curve(
            axes,
            long,
            lambda value: model.response_ms(moved(field, value), value - MAX_TOKENS, MAX_TOKENS),
            SECOND,
        )
        dots(axes, full, SECOND)
        axes.text(330, 205, "a prompt that\nfills the context", color=SECOND, fontsize=11, ha="center")
        axes.text(330, 28, "the bench's prompts", color=LINE, fontsize=11, ha="center")
    draw_budget(axes)
    axes.set_ylim(0, CEILING_MS)
    if field == "vocab_size":
        axes.xaxis.set_major_locator(MultipleLocator(8000))
    axes.axvline(getattr(TINY, field), color="#bbbbbb", linewidth=0.8)
    decorate(axes, f"tiny, other {field}", field)


def prompt_panel(axes: Axes, rows: Mapping[str, Row], model: CostModel) -> None:
    """Answers of the presets to prompts of every length."""
    for name, colour in zip(PRESETS, (LINE, SECOND, TEXT), strict=True):
        config = PRESETS[name]
        lengths = np.unique(np.linspace(2, config.max_seq_length - MAX_TOKENS, POINTS).astype(int))
        curve(axes, lengths, lambda value, c=config: model.response_ms(c, value, MAX_TOKENS), colour)
        found = rows[name]["responses"]
        dots(
            axes,
            [(r["prompt_tokens"], r["response"]["modelled_ms"], rows[name]["held_out"]) for r in found],
            colour,
        )
        axes.text(
            lengths[-1],
            found[-1]["response"]["modelled_ms"] * 1.15,
            name,
            color=colour,
            fontsize=11,
            ha="right",
        )
    draw_budget(axes)
    axes.set_yscale("log")
    axes.set_ylim(30, 6000)
    axes.set_yticks([50, 100, 250, 500, 1000, 2500, 5000])
    axes.yaxis.set_major_formatter(ScalarFormatter())
    axes.yaxis.set_minor_locator(NullLocator())
    decorate(axes, "Longer prompts", "tokens of the prompt")


def memory_panel(axes: Axes, shapes: Sequence[Row]) -> None:
    """Peak memory, measured in the booted twin."""
    found = [
        (row, holdings(ModelConfig(**row["model"]))["int8_bytes"] / MB) for row in shapes if row["memory"]
    ]
    dots(axes, [(x, row["memory"]["peak_rss"] / MB, row["held_out"]) for row, x in found], LINE)
    for row, x in found:
        if row["name"] in PRESETS:
            at = (x, row["memory"]["peak_rss"] / MB)
            axes.annotate(row["name"], at, (0, -16), textcoords="offset points", fontsize=11, ha="center")
    axes.axhline(MAX_RSS_MB, color=BUDGET, linestyle="--", linewidth=1.3)
    axes.text(0, MAX_RSS_MB + 6, f"budget {MAX_RSS_MB} MB", color=BUDGET, fontsize=11)
    axes.set_ylim(0, PRESETS_CEILING_MS)
    axes.set_xlim(-1, None)
    decorate(axes, "Peak memory, measured", "int8 weights, MB", "MB")


def moved(field: str, value: int) -> ModelConfig:
    """`tiny` with another value."""
    return replace(TINY, **{field: int(value)})


def curve(axes: Axes, values: Any, cost: Callable[[int], float], colour: str) -> None:
    """The formula, and how far off the latency model may be."""
    costs = np.array([cost(int(value)) for value in values])
    axes.plot(values, costs, color=colour, linewidth=1.8)
    off = ERROR_PERCENT / 100
    axes.fill_between(values, (1 - off) * costs, (1 + off) * costs, color=colour, alpha=0.1, linewidth=0)


def dots(axes: Axes, found: Sequence[tuple[float, float, bool]], colour: str) -> None:
    """Counted figures: full where the formula was fitted on them, hollow where they were held out."""
    for x, y, held_out in found:
        axes.plot(x, y, "o", color=colour, markerfacecolor="white" if held_out else colour, markersize=7)
