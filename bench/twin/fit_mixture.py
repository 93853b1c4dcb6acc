"""Fit of what a table of n-grams costs: to answers of shapes that were counted with one and without.

In: the rows of two sweeps, and the cost model without a table. Out: the cost model with it, the report of the
sweep, and its table for people.

The costs are fitted to the tokens after the first of each answer. A first one may begin a few tokens earlier,
in a word that may be unfinished, and a table changes where. Every prompt was answered once before, so the
first one reads no block of the table for the first time: all that an answer reads belong to the later tokens.

What the other terms of the formula cost less with a table than without is taken from the formula; all else is
taken from the counts without a table. So errors of the formula that both have do not end up in the new terms.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from bench.twin.fit_cost_model import Row, nonnegative_least_squares, summarize_errors
from bench.twin.layout import BOARD, LATENCY, MB, TwinError
from bench.twin.measure import MAX_TOKENS
from tinyedge.boards.board import CostData, ErrorSummary
from tinyedge.bundle.manifest import NGRAMS_FILE
from tinyedge.core.config import ModelConfig
from tinyedge.fit.cost_model import CostModel, dot_product
from tinyedge.fit.workload import MIXTURE_CORE_TERMS, MIXTURE_DRAM_TERMS, answer_work

SCHEMA = "tinyedge.scale-ngrams/1"
COMMAND = "python -m bench.twin scale --only-ngrams"


def fit_mixture(mixed_rows: Sequence[Row], rows: Sequence[Row], costs: CostData) -> CostData:
    """Return the cost model with the terms of a mixture fitted anew.

    Args:
        mixed_rows: Shapes with a table; those that are held out are not used.
        rows: The same shapes, and perhaps others, without one.
        costs: The cost model whose other terms stay.

    Raises:
        TwinError: A shape was not counted without a table.
    """
    by_name = {row["name"]: row for row in rows}
    if missing := [row["name"] for row in mixed_rows if row["name"] not in by_name]:
        raise TwinError(f"{', '.join(missing)}: not counted without n-grams", "run the complete `scale`")
    pairs = [(row, by_name[row["name"]]) for row in mixed_rows if not row["held_out"]]

    def fit_terms(known: Mapping[str, float], terms: Mapping[str, str], figure: str) -> dict[str, float]:
        others = {term: value for term, value in known.items() if term not in terms}
        work, observed, totals = [], [], []
        for mixed_row, row in pairs:
            config = ModelConfig(**row["model"])
            for mixed, alone in zip(mixed_row["responses"], row["responses"], strict=True):
                tokens = mixed["prompt_tokens"]
                amounts = sum_later_work(config, tokens, is_mixed=True)
                amounts["ngram_blocks"] = mixed.get("fresh_blocks", 0)
                less = dot_product(others, sum_later_work(config, tokens)) - dot_product(others, amounts)
                cost, cost_alone = (one["response"][figure] - one["first"][figure] for one in (mixed, alone))
                work.append({term: amounts[term] for term in terms})
                observed.append(cost - cost_alone + less)
                totals.append(cost)
        return {**others, **nonnegative_least_squares(work, observed, totals)}

    return replace(
        costs,
        core_cycles=fit_terms(costs.core_cycles, MIXTURE_CORE_TERMS, "core_cycles"),
        memory_ns=fit_terms(costs.memory_ns, MIXTURE_DRAM_TERMS, "memory_ns"),
        # A file that is mapped counts as far as it was read, and in the end all of it was.
        peak_bytes={**costs.peak_bytes, "table_bytes": 1.0},
    )


def sum_later_work(config: ModelConfig, prompt_tokens: int, *, is_mixed: bool = False) -> dict[str, float]:
    """Sum the work of all passes of an answer after the first."""
    _, *passes = answer_work(config, prompt_tokens, MAX_TOKENS, is_mixed=is_mixed)
    return {term: sum(work[term] for work in passes) for term in passes[0]}


def predict_token_ms(model: CostModel, row: Row, response: Row) -> float:
    """The mean time of the later tokens of a counted answer by the formula, in ms.

    Args:
        model: The formula.
        row: The shape.
        response: An answer of a bundle with a table, whose counted blocks are used.
    """
    work = sum_later_work(ModelConfig(**row["model"]), response["prompt_tokens"], is_mixed=True)
    work["ngram_blocks"] = response.get("fresh_blocks", 0)
    return model.modelled_ms(work) / (MAX_TOKENS - 1)


def compose_mixture_report(
    mixed_rows: Sequence[Row],
    rows: Sequence[Row],
    costs: CostData,
    created: str,
    versions: Mapping[str, str],
) -> dict[str, Any]:
    """Compose the report of the sweep with tables.

    Args:
        mixed_rows: As in `fit_mixture`.
        rows: As in `fit_mixture`.
        costs: What it returned.
        created: Time in UTC.
        versions: Versions of everything that ran.
    """
    model = CostModel.from_data(BOARD.name, costs)
    by_name = {row["name"]: row for row in rows}
    return {
        "schema": SCHEMA,
        "created": created,
        "made_by": COMMAND,
        "device": f"{BOARD.title}, emulated; latency is modelled, memory measured where it was booted",
        "cost_model": {**asdict(LATENCY), "threads": 1},
        "work": {"precision": "int8", "max_tokens": MAX_TOKENS},
        "versions": dict(versions),
        "token_errors_percent": {
            kind: asdict(_summarize([row for row in mixed_rows if row["held_out"] == is_held_out], model))
            for kind, is_held_out in (("fitted", False), ("held_out", True))
        },
        "shapes": [
            {
                **row,
                "token_ms_without": round(_mean_token_ms(by_name[row["name"]]), 4),
                "token_ms": round(_mean_token_ms(row), 4),
                "formula": {
                    "token_ms": round(
                        statistics.fmean(predict_token_ms(model, row, one) for one in row["responses"]), 4
                    ),
                    "peak_rss_bytes": round(
                        model.peak_rss(ModelConfig(**row["model"]), row["bundle_bytes"][NGRAMS_FILE])
                    ),
                },
            }
            for row in mixed_rows
        ],
    }


def _mean_token_ms(row: Row) -> float:
    """Mean time of a token after the first, over the answers."""
    return statistics.fmean(response["token"]["modelled_ms"] for response in row["responses"])


def _summarize(rows: Sequence[Row], model: CostModel) -> ErrorSummary:
    """Compare the formula with the counts of the tokens after the first."""
    return summarize_errors(
        (
            f"{row['name']}, {response['prompt_tokens']} tokens",
            predict_token_ms(model, row, response),
            response["token"]["modelled_ms"],
        )
        for row in rows
        for response in row["responses"]
    )


def mixture_table(report: Mapping[str, Any]) -> str:
    """One line for each shape, as Markdown, and the errors of the formula."""
    lines = [
        f"| ms, modelled, +-{LATENCY.error_percent:g}%: shape | a token without a table | with one"
        " | by the formula | new blocks a token | table, MB | peak, MB |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in report["shapes"]:
        held_out = " (held out)" if row["held_out"] else ""
        peak = f"{row['memory']['peak_rss'] / MB:.1f}" if row["memory"] else ""
        blocks = statistics.fmean(one.get("fresh_blocks", 0) for one in row["responses"]) / (MAX_TOKENS - 1)
        lines.append(
            f"| {row['name']} | {row['token_ms_without']:.2f} | {row['token_ms']:.2f}"
            f" | {row['formula']['token_ms']:.2f}{held_out} | {blocks:.1f}"
            f" | {row['bundle_bytes'][NGRAMS_FILE] / MB:.1f} | {peak} |"
        )
    errors = report["token_errors_percent"]
    described = (
        f"{kind} {part['mean']:.1f}% on average, {part['worst']:+.1f}% at worst ({part['worst_of']})"
        for kind, part in (
            ("shapes it was fitted to", errors["fitted"]),
            ("held-out shapes", errors["held_out"]),
        )
    )
    return "\n".join([*lines, "", f"Errors of the formula for a token: {'; '.join(described)}."])
