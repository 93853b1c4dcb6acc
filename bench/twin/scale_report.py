"""The report of a sweep over shapes: what was counted, what was measured, and what the formula says of both.

In: the sweep's rows and the fitted formula. Out: the report as a mapping, and as a table for people.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from bench.twin.counts import ERROR_PERCENT, MARGIN, NS_PER_FILL, NS_PER_INSTRUCTION
from bench.twin.fit_cost_model import MB, counted_p95, predicted_p95
from bench.twin.layout import Twin
from bench.twin.measure import MAX_TOKENS
from bench.twin.report import versions
from bench.twin.shape_sweep import PROMPT_TOKENS
from tinyedge.core.config import ModelConfig
from tinyedge.fit.cost_model import parse

SCHEMA = "tinyedge.scale/1"


def origin(twin: Twin) -> dict[str, Any]:
    """When, and with which versions; without a kernel's, which only the memory depends on."""
    found = {name: version for name, version in versions(twin, "").items() if version}
    return {"created": datetime.now(UTC).isoformat(timespec="seconds"), "versions": found}


def compose(rows: Sequence[Mapping[str, Any]], formula: Mapping[str, Any]) -> dict[str, Any]:
    """The report. formula: the target's data file."""
    model = parse(formula)
    source = formula["source"]
    return {
        "schema": SCHEMA,
        "created": source["created"],
        "device": "Raspberry Pi Zero 2 W, emulated; latency is modelled, memory measured where it was booted",
        "cost_model": {
            "ns_per_instruction": NS_PER_INSTRUCTION, "ns_per_dram_fill": NS_PER_FILL,
            "error_percent": ERROR_PERCENT, "margin": MARGIN, "threads": 1,
        },
        "work": {"precision": "int8", "max_tokens": MAX_TOKENS, "p95_of_prompts": list(PROMPT_TOKENS)},
        "versions": source["versions"],
        "formula_errors_percent": source["errors_percent"],
        "shapes": [
            {
                **row,
                "p95_modelled_ms": round(counted_p95(row), 4),
                "p95_bound_ms": round(MARGIN * counted_p95(row), 4),
                "formula": {
                    "p95_modelled_ms": round(predicted_p95(model, row), 4),
                    "peak_rss_bytes": round(model.peak_rss(ModelConfig(**row["model"]))),
                },
            }
            for row in rows
        ],
    }  # fmt: skip


def table(report: Mapping[str, Any]) -> str:
    """A line a shape, as Markdown: the docs show it too."""
    head = (
        "| shape | weights | a token | first of 7 / 20 / 85 | p95 | by the formula | p95 x 1.4 | peak, MB |",
        "|---|---|---|---|---|---|---|---|",
    )
    return "\n".join([*head, *map(line, report["shapes"])])


def line(row: Mapping[str, Any]) -> str:
    """One shape. What was held out is marked."""
    by_prompt = {response["prompt_tokens"]: response for response in row["responses"]}
    firsts = " / ".join(f"{by_prompt[tokens]['first']['modelled_ms']:.1f}" for tokens in PROMPT_TOKENS)
    peak = f"{row['memory']['peak_rss'] / MB:.1f}" if row["memory"] else ""
    return (
        f"| {described(row)} | {row['parameters']:,} | {by_prompt[20]['token']['modelled_ms']:.2f} | {firsts}"
        f" | {row['p95_modelled_ms']:.1f} | {row['formula']['p95_modelled_ms']:.1f}"
        f"{' (held out)' if row['held_out'] else ''} | {row['p95_bound_ms']:.0f} | {peak} |"
    )


def described(row: Mapping[str, Any]) -> str:
    """A shape's name; of a mixture all its dimensions."""
    if not row["name"].startswith(("mixture", "suggested", "drawn")):
        return str(row["name"])
    model = row["model"]
    return " / ".join(str(model[name]) for name in ModelConfig.__dataclass_fields__)
