"""The report as text for a terminal, ending with the verdict and what it holds for.

In: a Report, the width of the terminal. Out: text whose lines are broken between words. Does not compute
figures.
"""

import statistics
import textwrap
from collections.abc import Iterable

from tinyedge.bench.gate import MB, Gate, explain_few_samples
from tinyedge.bench.report import Report

MIN_WIDTH, DEFAULT_WIDTH, MAX_WIDTH = 60, 80, 100  # longer lines are hard to read
COLUMNS = ("p50", "p95", "p99", "max")
LABEL, LATENCY_COLUMN, MEMORY_COLUMN = 26, 10, 8  # characters
MIN_LATENCY_COLUMN = 7  # a figure of six characters and a space
ROWS = {
    "e2e": "complete response",
    "ttft": "first token",
    "itl": "between tokens",
    "tpot": "mean per token",
}


def choose_width(columns: int | None) -> int:
    """Return the width to render for a terminal with this many columns; None is no terminal."""
    return DEFAULT_WIDTH if columns is None else min(MAX_WIDTH, max(MIN_WIDTH, columns))


def render(report: Report, width: int = DEFAULT_WIDTH) -> str:
    """Return the table, without a line break at its end.

    Args:
        report: The report.
        width: Maximum length of a line, from 60; only a longer word makes a line longer.
    """
    elsewhere = report.target.sentence if report.target else ""
    verdict = f"verdict: {report.verdict}{' on this machine' if elsewhere else ''}"
    sections = (
        wrap(_format_header(report), width),
        [*_format_latency(report, width), *wrap([_format_bound(report)], width)],
        wrap(_format_speed(report), width, " " * 16),
        [
            *_format_memory(report, width),
            f"RSS grows by {report.rss_slope / 1024:.1f} kB per 1000 tokens",
            *wrap(_format_ngrams(report), width),
        ],
        wrap(_format_quality(report), width, " " * 16),
        wrap((f"doubt: {doubt}" for doubt in report.doubts.all), width),
        [*wrap(map(_format_gate, report.gates), width), verdict],
        wrap([elsewhere] if elsewhere else [], width),
    )
    return "\n\n".join("\n".join(lines) for lines in sections if lines)


def wrap(lines: Iterable[str], width: int, indent: str = "  ") -> list[str]:
    """Break lines between words.

    Args:
        lines: The lines.
        width: Maximum length of a line.
        indent: Start of the lines that continue another one.
    """
    return [
        part
        for line in lines
        for part in textwrap.wrap(
            line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
        )
    ]


def _format_header(report: Report) -> list[str]:
    run, job, device = report.measurement, report.measurement.job, report.device
    board = ", ".join(filter(None, [device.model, device.cpu])) or device.machine or "unknown machine"
    cores = f" x {device.cores}" if device.cores else ""
    response = _format_count(job.max_tokens, "token")
    work = (
        f"{_format_count(len(run.samples), 'sample')} of {response}, {_format_count(job.threads, 'thread')}"
    )
    return [
        f"bundle {run.bundle_sha256[:12]}, {run.precision} model {run.model_id or '(id unknown)'}: {work}",
        f"{board}{cores}, onnxruntime {device.onnxruntime or 'unknown'}, engine {run.engine.title}",
    ]


def _format_latency(report: Report, width: int) -> list[str]:
    columns = len(COLUMNS) + 1
    column = min(LATENCY_COLUMN, max(MIN_LATENCY_COLUMN, (width - LABEL) // columns))
    label = min(LABEL, width - columns * column)
    head = f"{'latency, ms':<{label}}" + "".join(f"{name:>{column}}" for name in (*COLUMNS, "n"))
    rows = [
        f"  {name:<5}{meaning:<{label - 7}}"
        + "".join(f"{_fit_number(getattr(summary, one), column):>{column}}" for one in COLUMNS)
        + f"{summary.n:>{column}}"
        for name, meaning in ROWS.items()
        if (summary := report.latency[name]) is not None
    ]
    return [head, *rows]


def _fit_number(value: float, column: int) -> str:
    """Format a number with two digits after the point, or fewer if the column is too narrow."""
    texts = (f"{value:.{digits}f}" for digits in (2, 1, 0))
    return next((text for text in texts if len(text) < column), f"{value:.0f}")


def _format_bound(report: Report) -> str:
    if report.p95_upper_99 is None:
        return explain_few_samples(len(report.measurement.samples))
    return f"p95 of e2e is under {report.p95_upper_99:.2f} ms with 99% confidence"


def _format_speed(report: Report) -> list[str]:
    run = report.measurement
    decode = "none" if report.decode_tps is None else f"{report.decode_tps:.0f}"
    starts = report.cold_starts_s
    commands = (
        f"{_format_count(len(starts), 'complete command')}: median {statistics.median(starts):.2f}, longest"
        if starts
        else ""
    )
    return [
        f"tokens/s        pp (prefill) {report.prefill_tps:.0f}   tg (decode) {decode}",
        f"start, s        to first token {run.cold_start_s:.2f} (imports {run.imports_s:.2f},"
        f" bundle {run.init_s:.2f})",
        *([f"{'':16}{commands} {max(starts):.2f}"] if starts else []),
    ]


def _format_memory(report: Report, width: int) -> list[str]:
    run = report.measurement
    moments = {name: phase.rss for name, phase in run.phases.items()}
    moments |= {"steady": report.steady_rss, "peak": run.peak, "swap": run.swap}
    label, names = "memory, MB", list(moments)
    columns = min(len(names), (width - len(label)) // MEMORY_COLUMN)
    rows = -(-len(names) // columns)
    per_row = -(-len(names) // rows)  # as many in each row
    lines = []
    for start in range(0, len(names), per_row):
        part = names[start : start + per_row]
        lines.append(f"{label:<10}" + "".join(f"{name:>{MEMORY_COLUMN}}" for name in part))
        lines.append(" " * 10 + "".join(f"{moments[name] / MB:>{MEMORY_COLUMN}.1f}" for name in part))
        label = ""
    return lines


def _format_ngrams(report: Report) -> list[str]:
    if (ngrams := report.measurement.ngrams) is None:
        return []
    return [f"n-grams: {ngrams.read / MB:.1f} MB of the table's {ngrams.size / MB:.1f} MB were read"]


def _format_quality(report: Report) -> list[str]:
    return [
        f"bits per byte   {one.name} {one.bits_per_byte:.4f} ({_format_count(one.tokens, 'token')},"
        f" {100 * one.unknown_bytes:.2f}% of the bytes are UNK)"
        for one in report.quality
    ]


def _format_gate(gate: Gate) -> str:
    mark = {True: "✓", False: "✗", None: "?"}[gate.ok]
    return f"{mark} {gate.sentence}"


def _format_count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
