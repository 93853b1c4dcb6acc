"""Fits the cost formula to a sweep, and tells how far off it is on shapes it was fitted on and on others.

In: the sweep's rows. Out: a target's data file as a mapping, which `tinyedge.fit.cost_model` reads.
"""

import itertools
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.twin.counts import ERROR_PERCENT, MARGIN, NS_PER_FILL, NS_PER_INSTRUCTION
from bench.twin.measure import MAX_TOKENS
from bench.twin.shape_sweep import PROMPT_TOKENS
from tinyedge.core.config import ModelConfig
from tinyedge.fit.cost_model import SCHEMA, CostModel, holdings, parse
from tinyedge.fit.workload import FILL_TERMS, INSTRUCTION_TERMS, Work, answer

Row = Mapping[str, Any]
TARGET = "pi-zero-2w"
MB = 1 << 20


def nonnegative_least_squares(work: Sequence[Work], observed: Sequence[float]) -> dict[str, float]:
    """Coefficients >= 0 with the least sum of squared relative errors, by trying every set of terms.

    The best solution with none below zero is the least squares of some set of terms, and there are few terms.
    """
    names = list(work[0])
    matrix = np.array([[row[name] for name in names] for row in work]) / np.array(observed)[:, None]
    scale = matrix.max(axis=0)
    best: tuple[float, dict[str, float]] = (float("inf"), {})
    for count in range(1, len(names) + 1):
        for chosen in map(list, itertools.combinations(range(len(names)), count)):
            part: npt.NDArray[np.float64] = matrix[:, chosen] / scale[chosen]
            found = np.linalg.lstsq(part, np.ones(len(observed)), rcond=None)[0]
            error = float(((part @ found - 1) ** 2).sum())
            if (found >= 0).all() and error < best[0]:
                best = error, dict(zip((names[at] for at in chosen), found / scale[chosen], strict=True))
    return {
        name: float(f"{best[1].get(name, 0.0):.5g}") for name in names
    }  # 5 digits are read, and are enough


def parts(row: Row) -> list[tuple[Work, Row]]:
    """Of each answer of a shape: the work and the counts of its first pass, and of all others together."""
    found = []
    for response in row["responses"]:
        first, *others = answer(ModelConfig(**row["model"]), response["prompt_tokens"], MAX_TOKENS)
        rest = {name: response["response"][name] - response["first"][name] for name in response["first"]}
        found += [
            (first, response["first"]),
            ({name: sum(other[name] for other in others) for name in first}, rest),
        ]
    return found


def fit(rows: Sequence[Row], origin: Mapping[str, Any]) -> dict[str, Any]:
    """The data file. origin: date and versions, for its `source`."""
    fitted = [row for row in rows if not row["held_out"]]
    counted = [part for row in fitted for part in parts(row)]
    booted = [row for row in fitted if row["memory"]]

    def coefficients(terms: Mapping[str, str], figure: str) -> dict[str, float]:
        work = [{term: amounts[term] for term in terms} for amounts, _ in counted]
        return nonnegative_least_squares(work, [counts[figure] for _, counts in counted])

    value: dict[str, Any] = {
        "schema": SCHEMA,
        "target": TARGET,
        "latency_model": {
            "ns_per_instruction": NS_PER_INSTRUCTION,
            "ns_per_dram_fill": NS_PER_FILL,
            "error_percent": ERROR_PERCENT,
            "margin": MARGIN,
        },
        "prompt_tokens": list(PROMPT_TOKENS),
        "instructions": coefficients(INSTRUCTION_TERMS, "instructions"),
        "dram_fills": coefficients(FILL_TERMS, "dram_fills"),
        "peak_bytes": nonnegative_least_squares(
            [holdings(ModelConfig(**row["model"])) for row in booted],
            [row["memory"]["peak_rss"] for row in booted],
        ),
    }
    value["source"] = {
        **origin,
        "made_by": "python -m bench.twin scale",
        "fitted_on": [row["name"] for row in fitted],
        "held_out": [row["name"] for row in rows if row["held_out"]],
        "errors_percent": {},
    }
    model = parse(value)
    value["source"]["errors_percent"] = {
        kind: errors(model, [row for row in rows if row["held_out"] == held_out])
        for kind, held_out in (("fitted", False), ("held_out", True))
    }
    return value


def errors(model: CostModel, rows: Sequence[Row]) -> dict[str, Any]:
    """How far the formula is off the counts, and off the booted memory, in percent: mean and worst.

    response: whole answers to each prompt. p95: of the bench's prompts, a figure a shape. peak_rss: of those
    that were booted.
    """
    answers = [
        (f"{row['name']}, {response['prompt_tokens']} tokens", row, response)
        for row in rows
        for response in row["responses"]
    ]
    return {
        "response": spread(
            (name, config_ms(model, row, response["prompt_tokens"]), response["response"]["modelled_ms"])
            for name, row, response in answers
        ),
        "p95": spread((row["name"], predicted_p95(model, row), counted_p95(row)) for row in rows),
        "peak_rss": spread(
            (row["name"], model.peak_rss(ModelConfig(**row["model"])), row["memory"]["peak_rss"])
            for row in rows
            if row["memory"]
        ),
    }


def config_ms(model: CostModel, row: Row, prompt_tokens: int) -> float:
    """Of an answer of the sweep, by the formula."""
    return model.response_ms(ModelConfig(**row["model"]), prompt_tokens, MAX_TOKENS)


def predicted_p95(model: CostModel, row: Row) -> float:
    """Of the bench's prompts, by the formula."""
    return model.p95_ms(ModelConfig(**row["model"]), MAX_TOKENS)


def counted_p95(row: Row) -> float:
    """Of the bench's prompts, by the counts."""
    return max(
        float(response["response"]["modelled_ms"])
        for response in row["responses"]
        if response["prompt_tokens"] in PROMPT_TOKENS
    )


def spread(found: Iterable[tuple[str, float, float]]) -> dict[str, Any]:
    """Mean of the absolute errors, and the worst with its name; found: (name, by the formula, counted)."""
    off = {name: 100 * (ours / theirs - 1) for name, ours, theirs in found}
    worst = max(off, key=lambda name: abs(off[name]))
    return {
        "mean": round(statistics.fmean(map(abs, off.values())), 2),
        "worst": round(off[worst], 2),
        "worst_of": worst,
        "n": len(off),
    }
