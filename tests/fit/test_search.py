"""Suggested shapes fit and are as large as possible; if none fits, the error tells why."""

from typing import Any

import pytest

from tinyedge.boards.load import default_board
from tinyedge.core.config import ModelConfig
from tinyedge.core.errors import FitError, UsageError
from tinyedge.fit.cost_model import CostModel, require_cost_data
from tinyedge.fit.search import MB, FitBudget, FitResult, list_shapes, search, size_shape
from tinyedge.ngram import DEFAULT_NGRAM_MB


@pytest.fixture(scope="module")
def model() -> CostModel:
    return CostModel.from_data("pi-zero-2w", require_cost_data(default_board()))


def budget(**given: Any) -> FitBudget:
    """The default board's budget, except for what is given."""
    return FitBudget.from_board(default_board(), **given)


@pytest.fixture(scope="module")
def result(model: CostModel) -> FitResult:
    return search(model, budget())


def test_every_suggestion_meets_the_budget_with_the_margin(model: CostModel, result: FitResult) -> None:
    assert 1 <= len(result.shapes) <= 4
    for shape in result.shapes:
        assert shape.fits
        p95 = model.p95_ms(shape.config, 20, is_mixed=True)
        assert shape.bound_ms == pytest.approx(model.latency.margin * p95)
        assert shape.peak_rss == model.peak_rss(shape.config, DEFAULT_NGRAM_MB * MB)
        assert shape.bound_ms <= 250
        assert shape.peak_rss <= 400 << 20


def test_the_largest_has_the_most_weights_in_its_blocks(model: CostModel, result: FitResult) -> None:
    largest = result.shapes[0]
    assert largest.name.startswith("largest")
    for config in list_shapes(budget(max_seq_length=largest.config.max_seq_length)):
        if config.num_layers > 1 and config.block_parameters > largest.block_parameters:
            assert model.latency.margin * model.p95_ms(config, 20, is_mixed=True) > 250, config


def test_suggestions_differ_and_each_is_the_best_at_something(model: CostModel, result: FitResult) -> None:
    assert len({shape.config for shape in result.shapes}) == len(result.shapes)
    best = {kind: shape for shape in result.shapes for kind in shape.name.split(", ")}
    assert set(best) == {"largest", "deep", "wide", "long context"}
    assert best["deep"].config.num_layers == max(shape.config.num_layers for shape in result.shapes)
    assert best["wide"].config.d_model == max(shape.config.d_model for shape in result.shapes)
    long = best["long context"]
    assert long.full_ms is not None
    assert model.latency.margin * long.full_ms <= 250


def test_presets_are_sized_too(result: FitResult) -> None:
    assert {shape.name: shape.fits for shape in result.presets} == {
        "tiny": True,
        "small": True,
        "base": True,
    }


def test_flags_give_the_same_shape(result: FitResult) -> None:
    for shape in result.shapes:
        words = shape.flags.split()
        given = {
            flag[2:].replace("-", "_"): int(value)
            for flag, value in zip(words[::2], words[1::2], strict=True)
        }
        assert ModelConfig(**given) == shape.config
    assert [shape.flags for shape in result.presets] == ["--preset tiny", "--preset small", "--preset base"]


def test_sizes_that_the_user_chose_are_used(model: CostModel) -> None:
    found = search(model, budget(vocab_size=2000, max_seq_length=300))
    for shape in (*found.shapes, *found.presets):
        assert (shape.config.vocab_size, shape.config.max_seq_length) == (2000, 300)
    assert "long context" not in ", ".join(shape.name for shape in found.shapes)
    assert found.presets[1].flags == "--preset small --vocab-size 2000 --max-seq-length 300"


def test_a_single_layer_only_where_nothing_else_fits(model: CostModel) -> None:
    two_layers = ModelConfig(d_model=64, num_layers=2, dim_feedforward=128)
    tight = model.latency.margin * model.p95_ms(two_layers, 20, is_mixed=True) - 0.1
    assert {shape.config.num_layers for shape in search(model, budget(max_p95_ms=tight)).shapes} == {1}


def test_time_that_no_shape_meets(model: CostModel) -> None:
    with pytest.raises(FitError, match=r"--max-p95-ms 2 is too small by \d+\.\d: the closest") as failure:
        search(model, budget(max_p95_ms=2))
    enough = int(failure.value.hint.split()[2].rstrip(","))
    assert search(model, budget(max_p95_ms=enough)).shapes


def test_memory_that_no_shape_meets(model: CostModel) -> None:
    with pytest.raises(FitError, match=r"--max-rss-mb 40 is too small by \d+\.\d: the closest") as failure:
        search(model, budget(max_rss_mb=40))
    enough = int(failure.value.hint.split()[2])
    assert search(model, budget(max_rss_mb=enough)).shapes


def test_two_limits_that_no_shape_meets(model: CostModel) -> None:
    with pytest.raises(FitError, match="--max-p95-ms 2 is too small"):
        search(model, budget(max_p95_ms=2, max_rss_mb=40))


def test_without_a_table_of_ngrams_larger_shapes_fit(model: CostModel, result: FitResult) -> None:
    without = search(model, budget(ngram_mb=0))
    assert without.shapes[0].block_parameters >= result.shapes[0].block_parameters
    tight = result.shapes[0].bound_ms - 0.1
    assert search(model, budget(ngram_mb=0, max_p95_ms=tight)).shapes[0].config == result.shapes[0].config
    for preset, mixed in zip(without.presets, result.presets, strict=True):
        assert preset.p95_ms == model.p95_ms(preset.config, 20) < mixed.p95_ms
        assert preset.full_ms is not None
        assert mixed.full_ms is not None
        assert preset.full_ms < mixed.full_ms
        assert preset.peak_rss + DEFAULT_NGRAM_MB * MB == pytest.approx(mixed.peak_rss)


def test_a_larger_table_costs_memory_only(model: CostModel) -> None:
    small, large = (size_shape(model, budget(ngram_mb=mb), "", ModelConfig()) for mb in (1, 64))
    assert large.p95_ms == small.p95_ms
    assert large.peak_rss - small.peak_rss == pytest.approx(63 * MB)


def test_a_budget_that_is_too_small_names_the_way_without_ngrams(model: CostModel) -> None:
    for given in ({"max_p95_ms": 2}, {"max_rss_mb": 40}):
        for ngram_mb in (16, 0):
            with pytest.raises(FitError) as failure:
                search(model, budget(ngram_mb=ngram_mb, **given))
            assert ("--ngram-mb 0 for no n-grams" in failure.value.hint) == (ngram_mb == 16)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"max_p95_ms": float("nan")}, "max_p95_ms nan is not a positive number"),
        ({"max_p95_ms": 0.0}, "max_p95_ms 0 is not a positive number"),
        ({"max_rss_mb": float("inf")}, "max_rss_mb inf is not a positive number"),
        ({"max_tokens": 0}, "max_tokens 0 is outside 1-1000"),
        ({"max_seq_length": 16}, "max_seq_length 16 is outside 32-512"),
        ({"vocab_size": 50}, "vocab_size 50 is outside 1000-32000"),
        ({"ngram_mb": -1}, "ngram_mb -1 is outside 0-256 MB"),
        ({"ngram_mb": 257.0}, r"ngram_mb 257\.0 is outside 0-256 MB"),
    ],
)
def test_invalid_budgets(given: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        budget(**given)
