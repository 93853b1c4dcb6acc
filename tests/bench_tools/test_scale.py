"""The sweep over shapes: what it counts, how its formula is fitted, and that the docs quote the reports."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from bench.quoted_blocks import fill_blocks
from bench.twin.fit_cost_model import fit_costs, nonnegative_least_squares, write_cost_model
from bench.twin.layout import LATENCY
from bench.twin.quoted_tables import DOCUMENTS, make_tables
from bench.twin.scale_report import compose_report, render_table
from bench.twin.shape_sweep import prompt_lengths
from bench.twin.shapes import AXES, BOOTED, TINY, list_shapes
from tinyedge.boards.load import board_file, load_board
from tinyedge.core.config import PRESETS, ModelConfig
from tinyedge.fit.cost_model import require_cost_data
from tinyedge.fit.workload import answer_work

ROOT = Path(__file__).parents[2]


def test_shapes_differ_and_half_or_more_is_held_out() -> None:
    shapes = list_shapes()
    assert len({shape.name for shape in shapes}) == len({shape.config for shape in shapes}) == len(shapes)
    held_out = [shape for shape in shapes if shape.held_out]
    assert len(shapes) / 2 <= len(held_out) <= 2 * len(shapes) / 3
    assert {shape.name for shape in shapes} >= BOOTED | set(PRESETS)
    assert any(shape.booted for shape in held_out)


def test_the_ends_of_each_range_are_fitted_and_values_in_between_are_held_out() -> None:
    for field, (fitted, held_out) in AXES.items():
        reached = {*fitted, getattr(TINY, field)}
        assert all(min(reached) < value < max(reached) for value in held_out)


def test_prompts_are_those_of_the_benchmark_and_the_longest_with_room() -> None:
    by_name = {shape.name: shape for shape in list_shapes()}
    assert prompt_lengths(by_name["tiny"]) == (7, 20, 85, 108)
    assert prompt_lengths(by_name["max_seq_length 32"]) == (7, 12, 20, 85)


def test_the_best_coefficients_without_negative_ones_are_found() -> None:
    work = [{"a": a, "b": b, "c": a + b * b} for a in (1, 2, 5) for b in (1, 3, 4)]
    exact = nonnegative_least_squares(work, [2 * row["a"] + 3 * row["b"] for row in work])
    assert exact == {"a": 2.0, "b": 3.0, "c": 0.0}
    below = nonnegative_least_squares(work, [5 * row["a"] - 0.5 * row["b"] for row in work])
    assert below["b"] == 0.0
    assert below["a"] > 0


def row(name: str, config: ModelConfig, held_out: bool) -> dict[str, Any]:
    """A counted shape whose answers cost what they should by passes, the output, and lines of weights."""

    def figures(works: list[Any]) -> dict[str, float]:
        cycles = sum(1e6 * work["passes"] + work["output_products"] for work in works)
        waiting = sum(25 * work["weight_lines"] + 2e5 * work["passes"] for work in works)
        ms = LATENCY.milliseconds(cycles, waiting)
        return {"core_cycles": cycles, "memory_ns": waiting, "modelled_ms": ms}

    responses = []
    for tokens in (7, 20, 85):
        works = answer_work(config, tokens, 20)
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


def test_a_correct_formula_is_found_and_its_errors_are_small(rows: list[dict[str, Any]]) -> None:
    costs = fit_costs(rows, "today", {})
    assert costs.core_cycles["passes"] == pytest.approx(1e6, rel=0.01)
    assert costs.memory_ns["weight_lines"] == pytest.approx(25, rel=0.02)
    assert costs.latency_model == LATENCY
    source = costs.source
    assert source.fitted_on == tuple(f"fitted {number}" for number in range(4))
    assert source.held_out == ("other",)
    assert abs(source.errors_percent.held_out.p95.worst) < 1
    assert source.errors_percent.held_out.response.n == 3


def test_a_shape_that_costs_more_than_modelled_is_the_worst(rows: list[dict[str, Any]]) -> None:
    slow = row("slow", ModelConfig(d_model=448, nhead=8), True)
    for response in slow["responses"]:
        response["response"]["modelled_ms"] *= 2
    errors = fit_costs([*rows, slow], "today", {}).source.errors_percent.held_out.p95
    assert errors.worst_of == "slow"
    assert errors.worst == pytest.approx(-50, abs=1)


def test_a_report_and_its_table(rows: list[dict[str, Any]]) -> None:
    costs = fit_costs(rows, "today", {})
    report = compose_report(rows, costs)
    assert report["schema"] == "tinyedge.scale/1"
    shape = report["shapes"][-1]
    assert shape["p95_bound_ms"] == pytest.approx(LATENCY.margin * shape["p95_modelled_ms"], abs=1e-3)
    lines = render_table(report).splitlines()
    assert len(lines) == 2 + len(rows)
    assert len({line.count("|") for line in lines}) == 1
    assert "(held out)" in lines[-1]


def test_the_cost_model_is_written_to_the_file_of_its_board_and_the_rest_stays(
    rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    path = Path(shutil.copy(board_file("pi-zero-2w"), tmp_path / "copy.json"))
    before = json.loads(path.read_text())
    write_cost_model(path, require_cost_data(load_board("pi-zero-2w")))
    assert path.read_bytes() == board_file("pi-zero-2w").read_bytes()
    costs = fit_costs(rows, "today", {})
    write_cost_model(path, costs)
    assert load_board(str(path)) == dataclasses.replace(load_board("pi-zero-2w"), cost_model=costs)
    after = json.loads(path.read_text())
    assert after.pop("cost_model") != before.pop("cost_model")
    assert after == before


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_the_documents_quote_the_reports(path: Path) -> None:
    text, tables = path.read_text(encoding="utf-8"), make_tables()
    assert fill_blocks(text, dict.fromkeys(tables, "")) != text, "quotes nothing"
    assert fill_blocks(text, tables) == text, "run: python -m bench.twin quote"
