"""Tables in the README and the docs that quote the reports, so that no figure there is typed by hand.

A table is between `<!-- NAME -->` and `<!-- end -->`; the names are those of `make_tables`.
"""

import textwrap
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.twin.fit_mixture import SCHEMA as MIXTURE_SCHEMA
from bench.twin.fit_mixture import mixture_table
from bench.twin.layout import BOARD, LATENCY, MB, REPORTS, REPOSITORY, TwinError
from bench.twin.published.latency_report import SCHEMA as LATENCY_SCHEMA
from bench.twin.published.latency_report import coefficients_table, draw_latency, latency_table, points_table
from bench.twin.report import MAX_P95_MS
from bench.twin.report import SCHEMA as TWIN_SCHEMA
from bench.twin.scale_report import SCHEMA as SCALE_SCHEMA
from bench.twin.scale_report import render_table as scale_table
from bench.twin.start_parts import start_table
from bench.twin.threads.fit_threads import NOTE
from bench.twin.threads.thread_table import threads_table
from bench.twin.token_parts import SCHEMA as PARTS_SCHEMA
from bench.twin.token_parts import engines_table, token_table
from bench.twin.token_picture import draw_token
from tinyedge.boards.board import CostData, FormulaErrors
from tinyedge.core import files
from tinyedge.core.config import MODEL_RANGES
from tinyedge.fit.cost_model import MEMORY_TERMS, require_cost_data
from tinyedge.fit.workload import CORE_TERMS, DRAM_TERMS

SCALE = f"scale-{BOARD.name}.json"
PARTS, LATENCY_REPORT = f"parts-{BOARD.name}.json", f"latency-{BOARD.name}.json"
TOKEN_PICTURE, LATENCY_PICTURE = (REPOSITORY / "docs" / name for name in ("token.svg", "latency.svg"))
DOCUMENTS = tuple(
    REPOSITORY / name
    for name in (
        *("README.md", "bench/twin/README.md"),
        *("docs/device.md", "docs/kernels.md", "docs/scale.md", "docs/guide/08-tuning.md"),
    )
)
TEXT_WIDTH = 128  # of the documents
# Settings of the model that the guide explains, and what a larger value means.
SETTINGS = {
    "vocab_size": "shorter token rows, larger tables",
    "d_model": "a wider model: more of everything",
    "num_layers": "more steps of thought per token",
    "dim_feedforward": "more room in each block",
    "max_seq_length": "a longer memory",
    "nhead": "more places to look at, each narrower",
}


def device_table(report: Mapping[str, Any]) -> str:
    """Costs of the default model on the emulated board, as Markdown."""
    latency, memory = report["latency_modelled"], report["memory"]
    token, cold = latency["token"], latency["cold_start"]
    english = [row for row in latency["prefill"] if row["prompt"].startswith("en-")]
    firsts = {row["prompt_tokens"]: row["modelled_ms"] for row in english}
    rows = [
        ("an answer of 20 tokens, p95", f"{report['p95_modelled_ms']:.1f} ms, modelled"),
        (
            f"the same x {report['cost_model']['margin']}, for the gate",
            f"{report['p95_bound_ms']:.1f} ms, limit {MAX_P95_MS:.0f} ms",
        ),
        (
            "a decoded token",
            f"{token['modelled_ms']:.2f} ms, modelled: {token['instructions'] / 1e6:.3f} M instructions,"
            f" {token['dram_fills'] / 1e3:.1f} k lines from DRAM",
        ),
        (
            f"first token, prompt of {' / '.join(map(str, firsts))} tokens",
            f"{' / '.join(f'{ms:.1f}' for ms in firsts.values())} ms, modelled",
        ),
        (
            "exec of `tinyedge generate` to its first token",
            f"{cold['modelled_ms'] / 1e3:.2f} s, modelled: {cold['instructions'] / 1e6:.0f} M instructions",
        ),
        (
            "memory of the process that answers, peak",
            f"{memory['peak_rss'] / MB:.1f} MB, measured, booted with {memory['total'] / MB:.0f} MB",
        ),
    ]
    work = f"int8, {report['engine']}, one thread"
    head = [
        f"| {BOARD.title}, emulated; {work} | modelled: +-{LATENCY.error_percent:g}% |",
        "|---|---|",
    ]
    return "\n".join([*head, *(f"| {name} | {value} |" for name, value in rows)])


def settings_table(report: Mapping[str, Any]) -> str:
    """The settings of the model, and what the smallest and the largest of each cost, as Markdown."""
    rows = {row["name"]: row for row in report["shapes"]}
    default = rows["tiny"]
    lines = [
        "| flag | default | range | larger means | answer on the board, modelled,"
        f" +-{LATENCY.error_percent:g}%;"
        f" default: {default['p95_modelled_ms']:.0f} ms |",
        "|---|---|---|---|---|",
    ]
    for name, meaning in SETTINGS.items():
        low, high = MODEL_RANGES[name]
        ends = [(end, rows[f"{name} {end}"]) for end in (low, high) if f"{name} {end}" in rows]
        costs = ", ".join(f"{end}: {row['p95_modelled_ms']:.0f} ms" for end, row in ends)
        if name == "max_seq_length":
            longest = max(rows[f"{name} {high}"]["responses"], key=lambda response: response["prompt_tokens"])
            costs += f"; a prompt that fills {high} takes {longest['response']['modelled_ms']:.0f} ms"
        flag, value = f"`--{name.replace('_', '-')}`", default["model"][name]
        lines.append(f"| {flag} | {value} | {low}-{high} | {meaning} | {costs or 'not measured alone'} |")
    return "\n".join(lines)


def formula_table(costs: CostData) -> str:
    """The coefficients with the meaning of their terms, and the errors of the formula, as Markdown."""
    rows = [
        (name, terms[name], f"{value:,.3g}" if value < 1000 else f"{value:,.0f}", unit)
        for coefficients, terms, unit in (
            (costs.core_cycles, CORE_TERMS, "cycles"),
            (costs.memory_ns, DRAM_TERMS, "ns of waiting for DRAM"),
            (costs.peak_bytes, MEMORY_TERMS, "bytes at the peak"),
        )
        for name, value in coefficients.items()
    ]
    head = ["| each of | is | costs | |", "|---|---|---|---|"]
    lines = [f"| {name} | {what} | {value} | {unit} |" for name, what, value, unit in rows]
    return "\n".join([*head, *lines, "", *_error_rows(costs.source.errors_percent)])


def _error_rows(errors: FormulaErrors) -> Iterator[str]:
    """Errors of the formula, compared with the counts and with measured memory."""
    yield "| error in %: mean, worst | p95 | any answer | peak memory |"
    yield "|---|---|---|---|"
    for label, of_shapes in (
        ("shapes it was fitted to", errors.fitted),
        ("shapes that were held out", errors.held_out),
    ):
        cells = [
            f"{error.mean:.1f}, {error.worst:+.1f} (of {error.n})"
            for error in (of_shapes.p95, of_shapes.response, of_shapes.peak_rss)
        ]
        yield f"| {label} | {' | '.join(cells)} |"


def make_tables() -> dict[str, str]:
    """Each table by the word in its opening mark."""
    reports: dict[str, tuple[str, str, Callable[[Mapping[str, Any]], str]]] = {
        "engines": (PARTS, PARTS_SCHEMA, engines_table),
        "token": (PARTS, PARTS_SCHEMA, token_table),
        "start": (PARTS, PARTS_SCHEMA, start_table),
        "twin": (f"twin-{BOARD.name}.json", TWIN_SCHEMA, device_table),
        "latency": (LATENCY_REPORT, LATENCY_SCHEMA, latency_table),
        "coefficients": (LATENCY_REPORT, LATENCY_SCHEMA, coefficients_table),
        "points": (LATENCY_REPORT, LATENCY_SCHEMA, points_table),
        "scale": (SCALE, SCALE_SCHEMA, scale_table),
        "settings": (SCALE, SCALE_SCHEMA, settings_table),
        "mixture": (f"scale-ngrams-{BOARD.name}.json", MIXTURE_SCHEMA, mixture_table),
    }
    tables = {
        kind: render(files.read_json(REPORTS / name, schema, TwinError))
        for kind, (name, schema, render) in reports.items()
    }
    costs = require_cost_data(BOARD)
    fitted = textwrap.fill(f"The costs in the board's file are {BOARD.notes[NOTE]}.", TEXT_WIDTH)
    return {**tables, "formula": formula_table(costs), "threads": threads_table(costs), "thread-fit": fitted}


def draw_pictures() -> dict[Path, str]:
    """The pictures of a token's parts, and of the latency model's errors, by file."""
    return {
        TOKEN_PICTURE: draw_token(files.read_json(REPORTS / PARTS, PARTS_SCHEMA, TwinError)),
        LATENCY_PICTURE: draw_latency(files.read_json(REPORTS / LATENCY_REPORT, LATENCY_SCHEMA, TwinError)),
    }
