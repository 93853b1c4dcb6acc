"""The result of a search as text for a terminal, and as the object that `--json` shows.

In: a `FitResult`. Out: text, or a JSON object. Derives no figures.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from tinyedge.boards.board import ErrorSummary, FormulaErrors
from tinyedge.boards.latency import format_threads
from tinyedge.core.columns import fill_lines, format_columns, wrap_words
from tinyedge.fit.search import MB, FitResult, SizedShape

SCHEMA = "tinyedge.fit/1"
TEXT_WIDTH = 100  # columns of the sentences, where there is no terminal
COLUMNS = (
    *("pieces", "layers", "d_model", "feedforward", "context"),
    *("weights", "blocks", "p95", "bound", "full", "peak"),
)
SIZES = ("vocab_size", "num_layers", "d_model", "dim_feedforward", "max_seq_length")
UNITS = ("", "", "", "", "", "M", "M", "ms", "ms", "ms", "MB")


def render(result: FitResult, errors: FormulaErrors, width: int | None = None, note: str = "") -> str:
    """The complete screen, without a line break at its end.

    Args:
        result: What the search found.
        errors: Errors of the cost model that it used.
        width: Columns of the terminal; None for any.
        note: A sentence about the model, to stand below those about the times.
    """
    model, budget = result.model, result.budget
    named = [(shape.name, shape) for shape in result.shapes]
    named += [(f"--preset {shape.name}", shape) for shape in result.presets]
    rows = [["", *COLUMNS, ""], ["", *UNITS, ""]]
    rows += [[name, *_cells(shape), "fits" if shape.fits else "does not fit"] for name, shape in named]
    lines = [
        f"{model.board}, int8, {format_threads(model.threads)}: {budget.max_tokens} tokens"
        f" in {budget.max_p95_ms:g} ms at p95, in {budget.max_rss_mb:g} MB.",
        f"Times are modelled, +-{model.latency.error_percent:g}%."
        f" The bound, {model.latency.margin:g} times the p95, must fit. The p95 is that of"
        f" the benchmark's prompts, of up to {max(model.prompt_tokens)} tokens; full is the time for a prompt"
        " that fills the context except for the answer.",
        f"A table of n-grams of {budget.ngram_mb:g} MB is included; --ngram-mb 0 for none."
        if budget.ngram_mb
        else "Without a table of n-grams.",
        *([note] if note else []),
        "",
        format_columns(rows, (0, len(COLUMNS) + 1), width),
        "",
        *(f"{shape.name}:\n  {_format_command(shape, width)}" for shape in result.shapes),
        "",
        f"Error of the formula{' without n-grams' if budget.ngram_mb else ''}, compared with"
        " the emulated board on shapes that it was not fitted to:",
        f"p95 {_describe_errors(errors.held_out.p95)}; peak {_describe_errors(errors.held_out.peak_rss)}.",
        "Closer to a limit than that, run `make twin`. Its figures of many shapes: docs/scale.md.",
    ]
    return "\n".join(
        part
        for line in lines
        for part in ([line] if "\n" in line else wrap_words(line, width or TEXT_WIDTH, indent=0))
    )


def _format_command(shape: SizedShape, width: int | None) -> str:
    """The command that trains a shape, as a shell reads it in lines of `width` columns."""
    words = f"tinyedge train {shape.flags}".split()
    return " \\\n    ".join(fill_lines(words, width - 6)) if width else " ".join(words)


def _cells(shape: SizedShape) -> tuple[str, ...]:
    """Figures of a shape, in the columns' order."""
    config = shape.config
    sizes = config.to_dict()
    full = "-" if shape.full_ms is None else f"{shape.full_ms:.0f}"
    return (
        *(str(sizes[name]) for name in SIZES),
        *(f"{config.parameters / 1e6:.2f}", f"{shape.block_parameters / 1e6:.2f}"),
        *(f"{shape.p95_ms:.0f}", f"{shape.bound_ms:.0f}", full),
        f"{shape.peak_rss / MB:.0f}",
    )


def _describe_errors(errors: ErrorSummary) -> str:
    """Mean and largest error of the formula."""
    return f"{errors.mean:.1f}% on average of {errors.n}, at most {abs(errors.worst):.1f}%"


def to_dict(
    result: FitResult, errors: FormulaErrors, calibration: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The JSON object, schema tinyedge.fit/1.

    Args:
        result: As in `render`.
        errors: As in `render`.
        calibration: What was measured and put in place of the board's figures, by name; None for nothing.
    """
    model, budget = result.model, result.budget
    return {
        "schema": SCHEMA,
        "target": model.board,
        "precision": "int8",
        "budget": {
            "max_p95_ms": budget.max_p95_ms,
            "max_rss_mb": budget.max_rss_mb,
            "max_tokens": budget.max_tokens,
            "max_seq_length": budget.max_seq_length,
            "vocab_size": budget.vocab_size,
            "ngram_mb": budget.ngram_mb,
        },
        "latency_model": {
            "error_percent": model.latency.error_percent,
            "margin": model.latency.margin,
            "threads": model.threads,
        },
        "calibration": calibration,
        "formula": {"errors_percent": asdict(errors)},
        "shapes": [_describe(shape) for shape in result.shapes],
        "presets": [_describe(shape) for shape in result.presets],
    }


def _describe(shape: SizedShape) -> dict[str, Any]:
    """A shape as JSON."""
    return {
        "name": shape.name,
        "model": shape.config.to_dict(),
        "parameters": shape.config.parameters,
        "block_parameters": shape.block_parameters,
        "p95_modelled_ms": round(shape.p95_ms, 2),
        "p95_bound_ms": round(shape.bound_ms, 2),
        "full_context_modelled_ms": None if shape.full_ms is None else round(shape.full_ms, 2),
        "peak_rss_bytes": round(shape.peak_rss),
        "fits": shape.fits,
        "flags": shape.flags,
    }
