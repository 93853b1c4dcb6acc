"""The report of a sweep over shapes: counts, measured memory, and the formula's figures for both.

In: the sweep's rows and the fitted formula. Out: the report as a mapping, and as a table for people.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from bench.twin.fit_cost_model import Row, get_counted_p95, predict_p95
from bench.twin.layout import BOARD, LATENCY, MB
from bench.twin.measure import MAX_TOKENS
from bench.twin.shape_sweep import PROMPT_TOKENS
from tinyedge.boards.board import CostData
from tinyedge.core.config import ModelConfig
from tinyedge.fit.cost_model import CostModel

SCHEMA = "tinyedge.scale/1"


def compose_report(rows: Sequence[Row], costs: CostData) -> dict[str, Any]:
    """Compose the report.

    Args:
        rows: What was counted and measured of each shape.
        costs: The formula that was fitted to them.
    """
    model = CostModel.from_data(BOARD.name, costs)
    source = costs.source
    return {
        "schema": SCHEMA,
        "created": source.created,
        "device": f"{BOARD.title}, emulated; latency is modelled, memory measured where it was booted",
        "cost_model": {**asdict(LATENCY), "threads": 1},
        "work": {"precision": "int8", "max_tokens": MAX_TOKENS, "p95_of_prompts": list(PROMPT_TOKENS)},
        "versions": dict(source.versions),
        "formula_errors_percent": asdict(source.errors_percent),
        "shapes": [
            {
                **row,
                "p95_modelled_ms": round(get_counted_p95(row), 4),
                "p95_bound_ms": round(LATENCY.margin * get_counted_p95(row), 4),
                "formula": {
                    "p95_modelled_ms": round(predict_p95(model, row), 4),
                    "peak_rss_bytes": round(model.peak_rss(ModelConfig(**row["model"]))),
                },
            }
            for row in rows
        ],
    }  # fmt: skip


def render_table(report: Mapping[str, Any]) -> str:
    """One line for each shape, as Markdown: the docs show it too."""
    prompts = " / ".join(map(str, PROMPT_TOKENS))
    head = (
        f"| ms, modelled, +-{LATENCY.error_percent:g}%: shape | weights | a token | first of {prompts} | p95"
        f" | by the formula | p95 x {LATENCY.margin:g} | peak, MB |",
        "|---|---|---|---|---|---|---|---|",
    )
    return "\n".join([*head, *map(_format_row, report["shapes"])])


def _format_row(row: Row) -> str:
    """One shape; one that was held out is marked."""
    by_prompt = {response["prompt_tokens"]: response for response in row["responses"]}
    firsts = " / ".join(f"{by_prompt[tokens]['first']['modelled_ms']:.1f}" for tokens in PROMPT_TOKENS)
    peak = f"{row['memory']['peak_rss'] / MB:.1f}" if row["memory"] else ""
    token = by_prompt[20]["token"]["modelled_ms"]
    return (
        f"| {_describe_shape(row)} | {row['parameters']:,} | {token:.2f} | {firsts}"
        f" | {row['p95_modelled_ms']:.1f} | {row['formula']['p95_modelled_ms']:.1f}"
        f"{' (held out)' if row['held_out'] else ''} | {row['p95_bound_ms']:.0f} | {peak} |"
    )


def _describe_shape(row: Row) -> str:
    """The name of a shape; for a mixture, all its dimensions."""
    if not row["name"].startswith(("mixture", "suggested", "drawn")):
        return str(row["name"])
    model = row["model"]
    return " / ".join(str(model[name]) for name in ModelConfig.__dataclass_fields__)
