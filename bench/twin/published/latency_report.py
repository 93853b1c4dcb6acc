"""The report of the latency model's fit: measured and modelled times, and what the docs quote of them.

In: points. Out: the report `latency-BOARD.json`, Markdown, a picture. `fit_latency` fits.
"""

import io
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from bench.twin.layout import TwinError
from bench.twin.published.fit_latency import (
    ANY_BOARD,
    LOOPS,
    NETWORKS,
    SPLITS,
    Point,
    fit_latency,
    leave_one_out,
    list_fitted_loops,
    list_programs,
    split_by_clock,
)
from tinyedge.boards.board import Board, LatencyModel, LineCost
from tinyedge.boards.load import SCHEMA as BOARD_SCHEMA
from tinyedge.core import files

SCHEMA: Final = "tinyedge.latency/1"
OLD_MODEL: Final = (
    1.39,
    42.5,
)  # ns per instruction and per line: the model until November 2026, for comparison
ERROR_STEP, MARGIN_STEP = 1.0, 0.05  # to which error and margin are rounded up
KINDS: Final = {
    NETWORKS: "networks of ncnn",
    "7zip/": "7-Zip",
    "openssl/": "OpenSSL",
    LOOPS: "loops over memory",
}
COLORS: Final = {NETWORKS: "#3d6b8a", "7zip/": "#4a7c3a", "openssl/": "#8a3d6b", LOOPS: "#d08a3c"}
TEXT, OLD = "#333333", "#bbbbbb"


def find_kind(program: str) -> str:
    """The kind of a program: the beginning of its name."""
    return next(kind for kind in KINDS if program.startswith(kind))


def compose_latency_report(board: Board, points: Sequence[Point], other: Sequence[Point]) -> dict[str, Any]:
    """Fit the model and report its errors.

    Args:
        board: The board.
        points: Its measurements, and those of its core.
        other: Measurements of another board with this core, which are not fitted.
    """
    splits = {term: split_by_clock(points, program) for term, program in SPLITS.items()}
    programs = list_programs(points)
    loops = list_fitted_loops(points)
    left_out = leave_one_out(programs, loops, splits)
    latency = with_error(fit_latency([*programs, *loops], splits), left_out.values())
    rows = [_make_row(point, latency, left_out.get(point.measurement.name)) for point in points]
    errors = [row["left_out_percent"] for row in rows if row["left_out_percent"] is not None]
    return {
        "schema": SCHEMA,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "board": board.name,
        "latency_model": asdict(latency),
        "splits": {term: asdict(split) for term, split in splits.items()},
        "errors_percent": {
            "fitted": summarize(
                [row["error_percent"] for row in rows if row["left_out_percent"] is not None]
            ),
            "left_out": summarize(errors),
            "loops": summarize([row["error_percent"] for row in rows if row["program"].startswith(LOOPS)]),
            "old_model": summarize(
                [
                    row["old_percent"]
                    for row in rows
                    if None not in (row["left_out_percent"], row["old_percent"])
                ]
            ),
            "other_board": summarize([100 * point.error(latency) for point in other]),
        },
        "points": rows,
        "other_board": [_make_row(point, latency, None) for point in other],
    }


def write_latency_model(path: Path, report: Mapping[str, Any]) -> None:
    """Replace the latency model in a board's file; the rest of the file stays."""
    board = files.read_json(path, BOARD_SCHEMA, TwinError)
    costs = {**board["cost_model"], "latency_model": report["latency_model"]}
    files.write_json(path, {**board, "cost_model": costs})


def with_error(latency: LatencyModel, errors: Sequence[float] | Any) -> LatencyModel:
    """The model with an error and a margin that cover all errors of programs that were left out."""
    found = list(errors)
    worst = 100 * max(map(abs, found))
    factor = max(1 / (1 + error) for error in found)
    return replace(
        latency,
        error_percent=math.ceil(worst / ERROR_STEP) * ERROR_STEP,
        margin=round(max(1.0, math.ceil(factor / MARGIN_STEP) * MARGIN_STEP), 2),
    )


def summarize(errors: Sequence[float]) -> dict[str, float]:
    """Mean of the absolute errors, the extremes, and their number."""
    return {
        "mean": round(statistics.fmean(map(abs, errors)), 2),
        "lowest": round(min(errors), 2),
        "highest": round(max(errors), 2),
        "n": len(errors),
    }


def _make_row(point: Point, latency: LatencyModel, left_out: float | None) -> dict[str, Any]:
    found, figures = point.measurement, point.figures
    lines = figures.dram_lines + figures.written_lines
    old_ms = (OLD_MODEL[0] * figures.instructions + OLD_MODEL[1] * lines) / 1e6
    is_old_clock = point.clock_mhz == 1000 and found.board != ANY_BOARD  # it knew one clock
    return {
        "name": found.name,
        "program": found.program,
        "board": found.board,
        "clock_mhz": found.clock_mhz,
        "measured_ms": round(point.measured_ms, 9),
        "modelled_ms": round(point.measured_ms * (1 + point.error(latency)), 9),
        "error_percent": round(100 * point.error(latency), 2),
        "left_out_percent": None if left_out is None else round(100 * left_out, 2),
        "old_percent": round(100 * (old_ms / point.measured_ms - 1), 2) if is_old_clock else None,
        "source": found.source,
    }


def latency_table(report: Mapping[str, Any]) -> str:
    """Errors by kind of program, as Markdown."""
    lines = [
        "| programs | n | modelled against measured | left out of the fit | the old model |",
        "|---|---|---|---|---|",
    ]
    for kind, label in KINDS.items():
        rows = [row for row in report["points"] if row["program"].startswith(kind)]
        columns = [
            [row[name] for row in rows if row[name] is not None]
            for name in ("error_percent", "left_out_percent", "old_percent")
        ]
        lines.append(f"| {label} | {len(rows)} | {' | '.join(map(_describe, columns))} |")
    n = report["errors_percent"]["left_out"]["n"]
    fitted, left_out, old = (_summary(report, name) for name in ("fitted", "left_out", "old_model"))
    lines.append(f"| **all programs** | {n} | {fitted} | **{left_out}** | {old} |")
    return "\n".join(lines)


def _summary(report: Mapping[str, Any], name: str) -> str:
    found = report["errors_percent"][name]
    return f"{found['mean']:.1f}% ({found['lowest']:+.0f} to {found['highest']:+.0f})"


def _describe(errors: Sequence[float]) -> str:
    """Mean of the absolute errors, and the extremes."""
    if not errors:
        return ""
    return f"{statistics.fmean(map(abs, errors)):.1f}% ({min(errors):+.0f} to {max(errors):+.0f})"


def points_table(report: Mapping[str, Any]) -> str:
    """All measurements, as Markdown."""
    lines = [
        "| measurement | MHz | measured | modelled | error | left out | the old model |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in report["points"]:
        clock = f"{row['clock_mhz']:g}" if row["clock_mhz"] else "any"
        left, old = (
            "" if row[name] is None else f"{row[name]:+.1f}%" for name in ("left_out_percent", "old_percent")
        )
        measured, modelled = (_format_ms(row[name]) for name in ("measured_ms", "modelled_ms"))
        error = f"{row['error_percent']:+.1f}%"
        lines.append(f"| {row['program']} | {clock} | {measured} | {modelled} | {error} | {left} | {old} |")
    return "\n".join(lines)


def _format_ms(ms: float) -> str:
    return f"{ms:.1f} ms" if ms >= 0.1 else f"{ms * 1e6:.3g} ns"


def coefficients_table(report: Mapping[str, Any]) -> str:
    """The model's coefficients beside what was measured of the same thing alone, as Markdown."""
    latency = report["latency_model"]
    lines = ["| each | costs | measured alone |", "|---|---|---|"]
    core, splits = latency["core"], report["splits"]
    rows = [
        ("cycle of the pipeline's model", f"{core['cycles_per_pipeline_cycle']:.2f} cycles", "1"),
        ("mispredicted branch", f"{core['cycles_per_misprediction']:.0f} cycles", "about 10"),
        ("access that the second cache answers", f"{core['cycles_per_l1_miss']:.1f} cycles", "13"),
    ]  # fmt: skip
    names = {
        "streamed_lines": ("streamed_line", "line from DRAM that follows others", "NEON read"),
        "random_lines": ("random_line", "other line from DRAM", "random read of 8 MiB"),
        "written_lines": ("written_line", "changed line that goes back", "memset"),
    }
    for term, (field, label, loop) in names.items():
        cost, alone = LineCost(**latency[field]), LineCost(**splits[term])
        bytes_or_reads = 1 if term == "random_lines" else 64
        rows.append((
            label,
            f"{cost.cycles:.0f} cycles + {cost.ns:.0f} ns: {cost.at(latency['clock_mhz']):.0f} ns",
            f"{alone.at(latency['clock_mhz']) * bytes_or_reads:.0f} ns, {loop}",
        ))  # fmt: skip
    clock = latency["clock_mhz"]
    crowded = (
        LineCost(**latency["streamed_line"]).at(clock) + LineCost(**latency["random_line"]).at(clock)
    ) / 2
    label = "line that follows others, beside more than two such streams"
    rows.insert(-1, (label, f"the mean of these two: {crowded:.0f} ns", ""))
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def draw_latency(report: Mapping[str, Any]) -> str:
    """Draw the errors of all programs and loops, the old model's in gray, as an SVG."""
    figure = Figure(figsize=(11, 5.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    latency = report["latency_model"]
    band = latency["error_percent"]
    axes.axhspan(-band, band, color="#eef3f6", zorder=0)
    axes.axhline(0, color=TEXT, linewidth=0.8)
    at = 0
    for kind, label in KINDS.items():
        rows = sorted(
            (row for row in report["points"] if row["program"].startswith(kind)),
            key=lambda row: row["measured_ms"],
        )
        places = range(at, at + len(rows))
        old = [
            (x, row["old_percent"])
            for x, row in zip(places, rows, strict=True)
            if row["old_percent"] is not None
        ]
        if old:
            axes.scatter([x for x, _ in old], [y for _, y in old], s=26, facecolors="none", edgecolors=OLD)
        shown = [
            row["error_percent"] if row["left_out_percent"] is None else row["left_out_percent"]
            for row in rows
        ]
        axes.scatter(places, shown, s=30, color=COLORS[kind], label=f"{label} ({len(rows)})")
        at += len(rows) + 2
    axes.scatter([], [], s=26, facecolors="none", edgecolors=OLD, label="the old model")
    axes.set_ylabel("modelled against measured, %")
    axes.set_xticks([])
    axes.set_title(
        f"Published times of a Raspberry Pi Zero 2 W, and its core: error of the model, ±{band:g}%"
        "\nprograms by a model that was fitted without them",
        loc="left", fontsize=12, color=TEXT,
    )  # fmt: skip
    axes.legend(frameon=False, ncols=5, loc="lower left", fontsize=9)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    data = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": SCHEMA}):  # the same picture in every run
        figure.savefig(data, format="svg", metadata={"Date": None})
    return data.getvalue()
