"""Fit of the cost formula to a sweep, and its errors on the fitted and on other shapes.

In: the sweep's rows. Out: a board's cost model as data, and the board's file with it.
"""

import itertools
import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.twin.layout import BOARD, LATENCY, TwinError, require
from bench.twin.measure import MAX_TOKENS
from bench.twin.shape_sweep import PROMPT_TOKENS
from tinyedge.boards.board import CostData, CostSource, ErrorSummary, FigureErrors, FormulaErrors
from tinyedge.boards.load import SCHEMA
from tinyedge.core import files
from tinyedge.core.config import ModelConfig
from tinyedge.fit.cost_model import MEMORY_TERMS, CostModel, memory_amounts
from tinyedge.fit.workload import (
    CORE_TERMS,
    DRAM_TERMS,
    MIXTURE_CORE_TERMS,
    MIXTURE_DRAM_TERMS,
    Work,
    answer_work,
)

Row = Mapping[str, Any]
COMMAND = "python -m bench.twin scale"


def nonnegative_least_squares(
    work: Sequence[Work], observed: Sequence[float], totals: Sequence[float] = ()
) -> dict[str, float]:
    """Find coefficients >= 0 with the least sum of squared relative errors, by trying every set of terms.

    The best solution without negative coefficients is the least-squares solution of some set of terms, and
    there are few terms.

    Args:
        work: Amounts by term, for each observation.
        observed: What that work cost.
        totals: What errors are relative to, if it is not what that work cost.

    Returns:
        A coefficient for each term, with five significant digits.
    """
    names = list(work[0])
    divisors = np.array(totals or observed)
    goal = np.array(observed) / divisors
    matrix = np.array([[row[name] for name in names] for row in work]) / divisors[:, None]
    scale = matrix.max(axis=0)
    scale[scale == 0] = 1  # a term that no observation has
    best: tuple[float, dict[str, float]] = (float("inf"), {})
    for count in range(1, len(names) + 1):
        for chosen in map(list, itertools.combinations(range(len(names)), count)):
            part: npt.NDArray[np.float64] = matrix[:, chosen] / scale[chosen]
            solution = np.linalg.lstsq(part, goal, rcond=None)[0]
            error = float(((part @ solution - goal) ** 2).sum())
            if (solution >= 0).all() and error < best[0]:
                terms = (names[index] for index in chosen)
                best = error, dict(zip(terms, solution / scale[chosen], strict=True))
    return {name: float(f"{best[1].get(name, 0.0):.5g}") for name in names}


def split_passes(row: Row) -> list[tuple[Work, Row]]:
    """Work and counts of each answer of a shape: of its first pass, and of its other passes together."""
    pairs: list[tuple[Work, Row]] = []
    for response in row["responses"]:
        first, *others = answer_work(ModelConfig(**row["model"]), response["prompt_tokens"], MAX_TOKENS)
        rest = {name: response["response"][name] - response["first"][name] for name in response["first"]}
        pairs += [
            (first, response["first"]),
            ({name: sum(other[name] for other in others) for name in first}, rest),
        ]
    return pairs


def fit_costs(rows: Sequence[Row], created: str, versions: Mapping[str, str]) -> CostData:
    """Fit the formula.

    Args:
        rows: The sweep's rows; those that are held out are used for the errors only.
        created: Time in UTC, for the source.
        versions: Versions of everything that ran, for the source.
    """
    fitted = [row for row in rows if not row["held_out"]]
    held_out = [row for row in rows if row["held_out"]]
    counted = [pair for row in fitted for pair in split_passes(row)]
    booted = [row for row in fitted if row["memory"]]

    def fit_terms(terms: Collection[str], figure: str) -> dict[str, float]:
        work = [{term: amounts[term] for term in terms} for amounts, _ in counted]
        return nonnegative_least_squares(work, [counts[figure] for _, counts in counted])

    known = require(BOARD.cost_model, BOARD, "cost_model")
    core_terms = [term for term in CORE_TERMS if term not in MIXTURE_CORE_TERMS]
    dram_terms = [term for term in DRAM_TERMS if term not in MIXTURE_DRAM_TERMS]
    memory_terms = [term for term in MEMORY_TERMS if term != "table_bytes"]
    memory = [memory_amounts(ModelConfig(**row["model"])) for row in booted]
    peak_bytes = nonnegative_least_squares(
        [{term: amounts[term] for term in memory_terms} for amounts in memory],
        [row["memory"]["peak_rss"] for row in booted],
    )
    model = CostModel(
        board=BOARD.name,
        # The terms of a table of n-grams are fitted to other counts: see `fit_mixture`.
        core_cycles={**known.core_cycles, **fit_terms(core_terms, "core_cycles")},
        memory_ns={**known.memory_ns, **fit_terms(dram_terms, "memory_ns")},
        peak_bytes={**known.peak_bytes, **peak_bytes},
        latency=LATENCY,
        prompt_tokens=PROMPT_TOKENS,
    )
    source = CostSource(
        board=BOARD.name,
        created=created,
        versions=versions,
        made_by=COMMAND,
        fitted_on=tuple(row["name"] for row in fitted),
        held_out=tuple(row["name"] for row in held_out),
        errors_percent=FormulaErrors(compute_errors(model, fitted), compute_errors(model, held_out)),
    )
    return CostData(
        latency_model=model.latency,
        prompt_tokens=model.prompt_tokens,
        core_cycles=model.core_cycles,
        memory_ns=model.memory_ns,
        peak_bytes=model.peak_bytes,
        source=source,
        threads=known.threads,  # fitted to other measurements
    )


def write_cost_model(path: Path, costs: CostData) -> None:
    """Replace the cost model in a board's file; the rest of the file stays."""
    board = files.read_json(path, SCHEMA, TwinError)
    files.write_json(path, {**board, "cost_model": asdict(costs)})


def compute_errors(model: CostModel, rows: Sequence[Row]) -> FigureErrors:
    """Compare the formula with the counts, and with the memory of the shapes that were booted."""
    return FigureErrors(
        response=summarize_errors(
            (
                f"{row['name']}, {response['prompt_tokens']} tokens",
                model.response_ms(ModelConfig(**row["model"]), response["prompt_tokens"], MAX_TOKENS),
                response["response"]["modelled_ms"],
            )
            for row in rows
            for response in row["responses"]
        ),
        p95=summarize_errors((row["name"], predict_p95(model, row), get_counted_p95(row)) for row in rows),
        peak_rss=summarize_errors(
            (row["name"], model.peak_rss(ModelConfig(**row["model"])), row["memory"]["peak_rss"])
            for row in rows
            if row["memory"]
        ),
    )


def predict_p95(model: CostModel, row: Row) -> float:
    """The p95 of the benchmark's prompts by the formula, in ms."""
    return model.p95_ms(ModelConfig(**row["model"]), MAX_TOKENS)


def get_counted_p95(row: Row) -> float:
    """The p95 of the benchmark's prompts by the counts, in ms."""
    return max(
        float(response["response"]["modelled_ms"])
        for response in row["responses"]
        if response["prompt_tokens"] in PROMPT_TOKENS
    )


def summarize_errors(figures: Iterable[tuple[str, float, float]]) -> ErrorSummary:
    """Summarize relative errors.

    Args:
        figures: Name, figure of the formula, figure that was counted or measured.
    """
    errors = {name: 100 * (formula / counted - 1) for name, formula, counted in figures}
    worst = max(errors, key=lambda name: abs(errors[name]))
    return ErrorSummary(
        mean=round(statistics.fmean(map(abs, errors.values())), 2),
        worst=round(errors[worst], 2),
        worst_of=worst,
        n=len(errors),
    )
