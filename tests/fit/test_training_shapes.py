"""`train --budget` chooses among shapes that the board runs within its budgets, by their size."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from tinyedge.boards.load import board_file
from tinyedge.core.config import PRESETS, ModelConfig
from tinyedge.core.errors import FitError, UsageError
from tinyedge.fit.search import FitBudget
from tinyedge.fit.training_shapes import BoardShapes


@pytest.fixture(scope="module")
def shapes() -> BoardShapes:
    return BoardShapes.from_board("pi-zero-2w")


def test_every_shape_keeps_the_budgets_with_the_margin(shapes: BoardShapes) -> None:
    for config in shapes.list_shapes(8000):
        sized = shapes.size(config)
        assert sized.bound_ms == pytest.approx(1.15 * sized.p95_ms)
        assert sized.bound_ms <= 250
        assert sized.peak_rss <= 400 << 20


def test_the_smallest_comes_first_and_all_have_usual_proportions(shapes: BoardShapes) -> None:
    listed = shapes.list_shapes(8000)
    assert len(listed) > 10
    weights = [config.block_parameters for config in listed]
    assert weights == sorted(weights)
    for config in listed:
        assert config.dim_feedforward == 2 * config.d_model
        assert 40 <= config.d_model / config.num_layers <= 96
        assert config.max_seq_length == 256


def test_the_next_larger_usual_shapes_exceed_a_budget(shapes: BoardShapes) -> None:
    assert not shapes.size(ModelConfig(8000, 384, 8, 5, 768, 128)).fits
    assert not shapes.size(ModelConfig(8000, 512, 8, 6, 1024, 128)).fits


def test_the_preset_base_is_the_largest_shape(shapes: BoardShapes) -> None:
    base = PRESETS["base"]
    assert shapes.list_shapes(8000)[-1] == base
    assert shapes.size(base).fits
    assert 0.4 < shapes.size(PRESETS["small"]).bound_ms / 250 < 0.6


def test_a_larger_vocabulary_leaves_smaller_shapes(shapes: BoardShapes) -> None:
    largest = {size: shapes.list_shapes(size)[-1].block_parameters for size in (1000, 8000, 32000)}
    assert largest[1000] >= largest[8000] > largest[32000]


def test_the_context_is_the_users() -> None:
    assert {shape.max_seq_length for shape in BoardShapes.from_board("pi-zero-2w", 64).list_shapes(8000)} == {
        64
    }


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (FitBudget(2, 400), "--max-p95-ms 2 is too small by"),
        (FitBudget(250, 20), "--max-rss-mb 20 is too small by"),
    ],
)
def test_a_board_that_runs_no_shape_is_an_error(shapes: BoardShapes, limits: FitBudget, words: str) -> None:
    with pytest.raises(FitError, match=words):
        dataclasses.replace(shapes, budget=limits).list_shapes(8000)


def test_a_board_that_runs_only_unusual_shapes_is_an_error_that_names_fit() -> None:
    shapes = BoardShapes.from_board("pi-zero-2w")
    smallest = min(shapes.size(config).bound_ms for config in shapes.list_shapes(8000))
    budget = dataclasses.replace(shapes.budget, max_p95_ms=smallest - 0.1)
    with pytest.raises(FitError, match="usual proportions") as caught:
        dataclasses.replace(shapes, budget=budget).list_shapes(8000)
    assert "tinyedge fit" in str(caught.value.hint)


def test_a_board_without_costs_is_an_error(tmp_path: Path) -> None:
    value: dict[str, Any] = json.loads(board_file("pi-zero-2w").read_text())
    value["name"] = "mine"
    del value["cost_model"]
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(value))
    with pytest.raises(UsageError, match="budget mine has no cost model"):
        BoardShapes.from_board(str(path))
    with pytest.raises(UsageError, match="budget nowhere is unknown"):
        BoardShapes.from_board("nowhere")
    with pytest.raises(UsageError, match="max_seq_length"):
        BoardShapes.from_board("pi-zero-2w", 100_000)
