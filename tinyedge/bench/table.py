"""The report as text for a terminal of 80 columns, ending with the verdict.

In: a Report. Out: text. Does not compute figures.
"""

import statistics
import textwrap

from tinyedge.bench.gate import MB, Gate
from tinyedge.bench.report import Report
from tinyedge.core.stats import Summary

WIDTH = 80
COLUMNS = ("p50", "p95", "p99", "max")
ROWS = {
    "e2e": "complete response",
    "ttft": "time to first token",
    "itl": "between tokens",
    "tpot": "mean per token",
}


def render(report: Report) -> str:
    """Return the table, without a line break at its end."""
    sections = (
        _format_header(report),
        _format_latency(report),
        _format_speed(report),
        _format_memory(report),
        _format_quality(report),
        _format_doubts(report),
        [_format_gate(gate) for gate in report.gates] + [f"verdict: {report.verdict}"],
    )
    return "\n\n".join("\n".join(lines) for lines in sections if lines)


def _format_header(report: Report) -> list[str]:
    run, job, device = report.measurement, report.measurement.job, report.device
    board = ", ".join(filter(None, [device.model, device.cpu])) or device.machine or "unknown machine"
    cores = f" x {device.cores}" if device.cores else ""
    response = _format_count(job.max_tokens, "token")
    work = (
        f"{_format_count(len(run.samples), 'sample')} of {response}, {_format_count(job.threads, 'thread')}"
    )
    return [
        f"bundle {run.bundle_sha256[:12]} {run.precision}: {work}",
        f"{board}{cores}, onnxruntime {device.onnxruntime or 'unknown'}"[:WIDTH],
    ]


def _format_latency(report: Report) -> list[str]:
    head = f"{'latency, ms':<26}" + "".join(f"{name:>10}" for name in COLUMNS) + f"{'n':>10}"
    rows = [
        _format_row(name, meaning, summary)
        for name, meaning in ROWS.items()
        if (summary := report.latency[name]) is not None
    ]
    if report.p95_upper_99 is None:
        bound = "p95 of e2e has no 99% upper bound: it needs 90 samples or more"
    else:
        bound = f"p95 of e2e is under {report.p95_upper_99:.2f} ms with 99% confidence"
    return [head, *rows, bound]


def _format_row(name: str, meaning: str, summary: Summary) -> str:
    figures = "".join(f"{getattr(summary, column):>10.2f}" for column in COLUMNS)
    return f"  {name:<5}{meaning:<19}{figures}{summary.n:>10}"


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


def _format_memory(report: Report) -> list[str]:
    run = report.measurement
    moments = {name: phase.rss for name, phase in run.phases.items()}
    moments |= {"steady": report.steady_rss, "peak": run.peak, "swap": run.swap}
    return [
        f"{'memory, MB':<10}" + "".join(f"{name:>8}" for name in moments),
        " " * 10 + "".join(f"{size / MB:>8.1f}" for size in moments.values()),
        f"RSS grows by {report.rss_slope / 1024:.1f} kB per 1000 tokens",
    ]


def _format_quality(report: Report) -> list[str]:
    return [
        f"bits per byte   {one.name} {one.bits_per_byte:.4f} ({_format_count(one.tokens, 'token')},"
        f" {100 * one.unknown_bytes:.2f}% of the bytes are UNK)"
        for one in report.quality
    ]


def _format_doubts(report: Report) -> list[str]:
    return [textwrap.fill(f"doubt: {doubt}", WIDTH, subsequent_indent="  ") for doubt in report.doubts]


def _format_gate(gate: Gate) -> str:
    mark = {True: "✓", False: "✗", None: "?"}[gate.ok]
    return textwrap.fill(f"{mark} {gate.sentence}", WIDTH, subsequent_indent="  ")


def _format_count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
