"""The tables that the README and the docs quote from the reports, so that no figure there is typed by hand.

A table stands between `<!-- twin -->`, `<!-- scale -->` or `<!-- formula -->` and `<!-- end -->`.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.twin.counts import ERROR_PERCENT
from bench.twin.fit_cost_model import TARGET
from bench.twin.layout import REPOSITORY, TwinError
from bench.twin.report import MAX_P95_MS
from bench.twin.report import SCHEMA as TWIN_SCHEMA
from bench.twin.scale_report import SCHEMA as SCALE_SCHEMA
from bench.twin.scale_report import table as scale_table
from tinyedge.core import files
from tinyedge.fit import cost_model
from tinyedge.fit.cost_model import HOLDINGS
from tinyedge.fit.workload import FILL_TERMS, INSTRUCTION_TERMS

REPORTS = REPOSITORY / "bench" / "reports"
QUOTING = ("README.md", "docs/device.md", "docs/scale.md")
BLOCK = re.compile(r"(<!-- (twin|scale|formula) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
MB = 1 << 20


def device_table(report: Mapping[str, Any]) -> str:
    """What the default model takes on the emulated board, as Markdown."""
    latency, memory = report["latency_modelled"], report["memory"]
    token, cold = latency["token"], latency["cold_start"]
    english = [row for row in latency["prefill"] if row["prompt"].startswith("en-")]
    firsts = {row["prompt_tokens"]: row["modelled_ms"] for row in english}
    rows = [
        ("an answer of 20 tokens, p95", f"{report['p95_modelled_ms']:.1f} ms, modelled"),
        (
            f"the same x {report['cost_model']['margin']}, which the gate takes",
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
    head = [
        f"| Raspberry Pi Zero 2 W, emulated; int8, one thread | modelled: +-{ERROR_PERCENT} % |",
        "|---|---|",
    ]
    return "\n".join([*head, *(f"| {name} | {value} |" for name, value in rows)])


def formula_table(formula: Mapping[str, Any]) -> str:
    """The coefficients with what they are of, and how far off the formula is, as Markdown."""
    rows = [
        (name, terms[name], f"{value:,.3g}" if value < 1000 else f"{value:,.0f}", unit)
        for figure, terms, unit in (
            ("instructions", INSTRUCTION_TERMS, "instructions"),
            ("dram_fills", FILL_TERMS, "lines from DRAM"),
            ("peak_bytes", HOLDINGS, "bytes at the peak"),
        )
        for name, value in formula[figure].items()
    ]
    head = ["| each of | is | costs | |", "|---|---|---|---|"]
    lines = [f"| {name} | {what} | {value} | {unit} |" for name, what, value, unit in rows]
    return "\n".join([*head, *lines, "", *error_rows(formula["source"]["errors_percent"])])


def error_rows(errors: Mapping[str, Any]) -> Iterator[str]:
    """How far the formula is off what was counted and booted."""
    yield "| off the twin, %: mean, worst | p95 | any answer | peak memory |"
    yield "|---|---|---|---|"
    for kind, label in (("fitted", "shapes it was fitted on"), ("held_out", "shapes that were held out")):
        cells = [
            f"{found['mean']:.1f}, {found['worst']:+.1f} (of {found['n']})"
            for found in (errors[kind][figure] for figure in ("p95", "response", "peak_rss"))
        ]
        yield f"| {label} | {' | '.join(cells)} |"


def tables() -> dict[str, str]:
    """What belongs between which marks."""
    made: dict[str, tuple[Path, str, Callable[[Mapping[str, Any]], str]]] = {
        "twin": (REPORTS / "twin-pi-zero-2w.json", TWIN_SCHEMA, device_table),
        "scale": (REPORTS / "scale-pi-zero-2w.json", SCALE_SCHEMA, scale_table),
        "formula": (cost_model.FOLDER / f"{TARGET}.json", cost_model.SCHEMA, formula_table),
    }
    return {
        kind: make(files.read_json(path, schema, TwinError)) for kind, (path, schema, make) in made.items()
    }


def quoted(text: str, wanted: Mapping[str, str]) -> str:
    """A document with its tables as the reports have them."""
    return BLOCK.sub(lambda block: f"{block[1]}{wanted[block[2]]}\n{block[4]}", text)


def bring_up_to_date() -> list[Path]:
    """Writes them into the documents that quote; those that changed."""
    wanted, changed = tables(), []
    for path in (REPOSITORY / name for name in QUOTING):
        text = path.read_text(encoding="utf-8")
        if (new := quoted(text, wanted)) != text:
            files.write_text(path, new)
            changed.append(path)
    return changed
