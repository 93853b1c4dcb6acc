"""The answer for a terminal, and as JSON. In: an Answer. Out: text. Derives no figures."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from tinyedge.fit.search import MB, FitResult, SizedShape

SCHEMA = "tinyedge.fit/1"
COLUMNS = (
    *(("pieces", 6), ("layers", 8), ("d_model", 9), ("feedforward", 13), ("context", 9)),
    *(("weights", 9), ("blocks", 8), ("p95", 6), ("bound", 7), ("full", 6), ("peak", 6)),
)
SIZES = ("vocab_size", "num_layers", "d_model", "dim_feedforward", "max_seq_length")
UNITS = ("", "", "", "", "", "M", "M", "ms", "ms", "ms", "MB")


def render(answer: FitResult) -> str:
    """The whole screen, without a line break at its end."""
    model, budget = answer.model, answer.budget
    held_out = model.source["errors_percent"]["held_out"]
    named = [(one.name, one) for one in answer.shapes]
    named += [(f"--preset {one.name}", one) for one in answer.presets]
    name_width = 2 + max(len(name) for name, _ in named)

    def row(name: str, cells: Iterable[str], end: str = "") -> str:
        figures = "".join(cell.rjust(width) for cell, (_, width) in zip(cells, COLUMNS, strict=True))
        return f"{name:<{name_width}}{figures}  {end}".rstrip()

    lines = [
        f"{model.target}, int8, one thread: {budget.max_tokens} tokens in {budget.max_p95_ms:g} ms at p95,"
        f" in {budget.max_rss_mb:g} MB.",
        f"Times are modelled, +-{model.error_percent:g} %. The bound, {model.margin:g} times the p95, has to"
        " fit. The p95 is that of",
        f"the bench's prompts, of up to {max(model.prompt_tokens)} tokens; full, that of one that fills the"
        " context but for the answer.",
        "",
        row("", [name for name, _ in COLUMNS]),
        row("", UNITS),
        *(row(name, cells(one), "fits" if one.fits else "does not fit") for name, one in named),
        "",
        *(f"{one.name}:\n  tinyedge train {one.flags}" for one in answer.shapes),
        "",
        "The formula, held against the emulated board on shapes that it was not fitted on:",
        f"p95 {off(held_out['p95'])}; peak {off(held_out['peak_rss'])}.",
        "Nearer to a limit than that, `make twin` decides; its own figures of many shapes: docs/scale.md.",
    ]
    return "\n".join(lines)


def cells(one: SizedShape) -> tuple[str, ...]:
    """A shape's figures, in the columns' order."""
    config = one.config
    sizes = config.to_dict()
    return (
        *(str(sizes[name]) for name in SIZES),
        *(f"{config.parameters / 1e6:.2f}", f"{one.block_parameters / 1e6:.2f}"),
        *(f"{one.p95_ms:.0f}", f"{one.bound_ms:.0f}", "-" if one.full_ms is None else f"{one.full_ms:.0f}"),
        f"{one.peak_rss / MB:.0f}",
    )


def off(errors: Mapping[str, Any]) -> str:
    """By how much the formula is off."""
    return f"{errors['mean']:.1f} % off on average of {errors['n']}, at worst {abs(errors['worst']):.1f} %"


def to_json(answer: FitResult) -> str:
    """One object, schema tinyedge.fit/1."""
    model, budget = answer.model, answer.budget
    value = {
        "schema": SCHEMA,
        "target": model.target,
        "precision": "int8",
        "budget": {
            "max_p95_ms": budget.max_p95_ms,
            "max_rss_mb": budget.max_rss_mb,
            "max_tokens": budget.max_tokens,
            "max_seq_length": budget.max_seq_length,
            "vocab_size": budget.vocab_size,
        },
        "latency_model": {"error_percent": model.error_percent, "margin": model.margin, "threads": 1},
        "formula": {"errors_percent": model.source["errors_percent"]},
        "shapes": [_described(one) for one in answer.shapes],
        "presets": [_described(one) for one in answer.presets],
    }
    return json.dumps(value, ensure_ascii=False)


def _described(one: SizedShape) -> dict[str, Any]:
    return {
        "name": one.name,
        "model": one.config.to_dict(),
        "parameters": one.config.parameters,
        "block_parameters": one.block_parameters,
        "p95_modelled_ms": round(one.p95_ms, 2),
        "p95_bound_ms": round(one.bound_ms, 2),
        "full_context_modelled_ms": None if one.full_ms is None else round(one.full_ms, 2),
        "peak_rss_bytes": round(one.peak_rss),
        "fits": one.fits,
        "flags": one.flags,
    }
