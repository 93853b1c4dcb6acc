"""The sweep over shapes: what it counts, how its formula is fitted, and that the docs quote the reports."""

import importlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tinyedge.core.config import PRESETS, ModelConfig
from tinyedge.fit.workload import answer

ROOT = Path(__file__).parents[2]
TWIN = ROOT / "bench" / "twin"


MODULES = ("shapes", "shape_sweep", "fit_cost_model", "scale_report", "quoted_tables", "counts", "layout")


@pytest.fixture(scope="module")
def twin() -> SimpleNamespace:
    """The modules of bench/twin, by name."""
    return SimpleNamespace(**{name: importlib.import_module(f"bench.twin.{name}") for name in MODULES})


def test_shapes_differ_and_half_or_more_is_held_out(twin: SimpleNamespace) -> None:
    shapes = twin.shapes.shapes()
    assert len({shape.name for shape in shapes}) == len({shape.config for shape in shapes}) == len(shapes)
    held_out = [shape for shape in shapes if shape.held_out]
    assert len(shapes) / 2 <= len(held_out) <= 2 * len(shapes) / 3
    assert {shape.name for shape in shapes} >= twin.shapes.BOOTED | set(PRESETS)
    assert any(shape.booted for shape in held_out)


def test_the_ends_of_each_range_are_fitted_and_what_is_between_is_held_out(twin: SimpleNamespace) -> None:
    for field, (fitted, held_out) in twin.shapes.AXES.items():
        reached = {*fitted, getattr(twin.shapes.TINY, field)}
        assert all(min(reached) < value < max(reached) for value in held_out)


def test_prompts_are_the_bench_s_and_the_longest_that_leaves_room(twin: SimpleNamespace) -> None:
    by_name = {shape.name: shape for shape in twin.shapes.shapes()}
    assert twin.shape_sweep.lengths(by_name["tiny"]) == (7, 20, 85, 108)
    assert twin.shape_sweep.lengths(by_name["max_seq_length 32"]) == (7, 12, 20, 85)


def test_the_best_coefficients_that_are_not_below_zero(twin: SimpleNamespace) -> None:
    work = [{"a": a, "b": b, "c": a + b * b} for a in (1, 2, 5) for b in (1, 3, 4)]
    exact = twin.fit_cost_model.nonnegative_least_squares(work, [2 * row["a"] + 3 * row["b"] for row in work])
    assert exact == {"a": 2.0, "b": 3.0, "c": 0.0}
    below = twin.fit_cost_model.nonnegative_least_squares(
        work, [5 * row["a"] - 0.5 * row["b"] for row in work]
    )
    assert below["b"] == 0.0
    assert below["a"] > 0


def row(name: str, config: ModelConfig, held_out: bool) -> dict[str, Any]:
    """A counted shape whose answers cost what they should by passes, layers, and lines of weights."""

    def figures(works: list[Any]) -> dict[str, float]:
        instructions = sum(1e6 * work["passes"] + 1e3 * work["layers"] for work in works)
        fills = sum(work["weight_lines"] + 1e3 * work["passes"] for work in works)
        ms = (1.39 * instructions + 42.5 * fills) / 1e6
        return {"instructions": instructions, "dram_fills": fills, "modelled_ms": ms}

    responses = []
    for tokens in (7, 20, 85):
        works = answer(config, tokens, 20)
        responses.append(
            {
                "prompt_tokens": tokens,
                "first": figures(works[:1]),
                "token": figures(works[1:2]),
                "response": figures(works),
            }
        )
    memory = {"peak_rss": 50e6 + 3.0 * 2 * config.vocab_size * config.d_model}
    return {
        "name": name, "model": config.to_dict(), "parameters": config.parameters, "held_out": held_out,
        "responses": responses, "memory": memory,
    }  # fmt: skip


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    fitted = [ModelConfig(d_model=d, num_layers=n, vocab_size=v) for d, n, v in ((64, 1, 1000), (128, 2, 8000), (256, 4, 2000), (128, 6, 32000))]  # fmt: skip # noqa: E501
    return [
        *(row(f"fitted {number}", config, False) for number, config in enumerate(fitted)),
        row("other", ModelConfig(d_model=320, nhead=8, num_layers=3), True),
    ]


def test_a_formula_that_is_right_is_found_and_its_errors_are_told(
    twin: SimpleNamespace, rows: list[dict[str, Any]]
) -> None:
    formula = twin.fit_cost_model.fit(rows, {"created": "today", "versions": {}})
    assert formula["instructions"]["passes"] == pytest.approx(1e6, rel=0.01)
    assert formula["dram_fills"]["weight_lines"] == pytest.approx(1, rel=0.02)
    source = formula["source"]
    assert source["fitted_on"] == [f"fitted {number}" for number in range(4)]
    assert source["held_out"] == ["other"]
    assert abs(source["errors_percent"]["held_out"]["p95"]["worst"]) < 1
    assert source["errors_percent"]["held_out"]["response"]["n"] == 3


def test_a_shape_that_costs_more_than_the_formula_says_is_the_worst(
    twin: SimpleNamespace, rows: list[dict[str, Any]]
) -> None:
    slow = row("slow", ModelConfig(d_model=448, nhead=8), True)
    for response in slow["responses"]:
        response["response"]["modelled_ms"] *= 2
    errors = twin.fit_cost_model.fit([*rows, slow], {})["source"]["errors_percent"]["held_out"]["p95"]
    assert errors["worst_of"] == "slow"
    assert errors["worst"] == pytest.approx(-50, abs=1)


def test_a_report_and_its_table(twin: SimpleNamespace, rows: list[dict[str, Any]]) -> None:
    formula = twin.fit_cost_model.fit(rows, {"created": "today", "versions": {}})
    report = twin.scale_report.compose(rows, formula)
    assert report["schema"] == "tinyedge.scale/1"
    shape = report["shapes"][-1]
    assert shape["p95_bound_ms"] == pytest.approx(1.4 * shape["p95_modelled_ms"], abs=1e-3)
    lines = twin.scale_report.table(report).splitlines()
    assert len(lines) == 2 + len(rows)
    assert len({line.count("|") for line in lines}) == 1
    assert "(held out)" in lines[-1]


def test_tables_are_put_between_their_marks(twin: SimpleNamespace) -> None:
    text = "a\n<!-- twin -->\nold\n<!-- end -->\nb\n<!-- scale -->\n<!-- end -->\n"
    new = twin.quoted_tables.quoted(text, {"twin": "T", "scale": "S"})
    assert new == "a\n<!-- twin -->\nT\n<!-- end -->\nb\n<!-- scale -->\nS\n<!-- end -->\n"
    assert twin.quoted_tables.quoted(new, {"twin": "T", "scale": "S"}) == new


@pytest.mark.parametrize("name", ["README.md", "docs/device.md", "docs/scale.md"])
def test_the_documents_quote_the_reports(twin: SimpleNamespace, name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    if name == "README.md" and "<!-- twin -->" not in text:
        pytest.skip("the README has no table of the device yet")
    assert twin.quoted_tables.BLOCK.search(text)
    assert twin.quoted_tables.quoted(text, twin.quoted_tables.tables()) == text, (
        "run: python -m bench.twin quote"
    )
