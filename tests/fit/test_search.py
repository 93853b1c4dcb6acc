"""What is suggested: shapes that fit, none smaller than it could be, and a reason where none fits."""

import pytest

from tinyedge.core.config import ModelConfig
from tinyedge.core.errors import FitError, UsageError
from tinyedge.fit.cost_model import CostModel, load
from tinyedge.fit.search import Budget, FitResult, search, shapes
from tinyedge.fit.workload import parameters_of_blocks


@pytest.fixture(scope="module")
def model() -> CostModel:
    return load("pi-zero-2w")


@pytest.fixture(scope="module")
def answer(model: CostModel) -> FitResult:
    return search(model, Budget())


def test_every_suggestion_keeps_the_budget_with_the_margin(model: CostModel, answer: FitResult) -> None:
    assert 1 <= len(answer.shapes) <= 4
    for one in answer.shapes:
        assert one.fits
        assert one.bound_ms == pytest.approx(model.margin * model.p95_ms(one.config, 20))
        assert one.bound_ms <= 250
        assert one.peak_rss <= 400 << 20


def test_the_largest_has_the_most_weights_in_its_blocks(model: CostModel, answer: FitResult) -> None:
    largest = answer.shapes[0]
    assert largest.name.startswith("largest")
    for config in shapes(Budget(max_seq_length=largest.config.max_seq_length)):
        if config.num_layers > 1 and parameters_of_blocks(config) > largest.block_parameters:
            assert model.margin * model.p95_ms(config, 20) > 250, config


def test_suggestions_differ_and_each_is_the_best_at_something(answer: FitResult) -> None:
    assert len({one.config for one in answer.shapes}) == len(answer.shapes)
    best = {kind: one for one in answer.shapes for kind in one.name.split(", ")}
    assert set(best) == {"largest", "deep", "wide", "long context"}
    assert best["deep"].config.num_layers == max(one.config.num_layers for one in answer.shapes)
    assert best["wide"].config.d_model == max(one.config.d_model for one in answer.shapes)
    long = best["long context"]
    assert long.full_ms is not None
    assert 1.4 * long.full_ms <= 250


def test_presets_are_judged_too(answer: FitResult) -> None:
    assert {one.name: one.fits for one in answer.presets} == {"tiny": True, "small": True, "base": False}


def test_flags_make_the_shape_again(answer: FitResult) -> None:
    for one in answer.shapes:
        words = one.flags.split()
        given = {
            flag[2:].replace("-", "_"): int(value)
            for flag, value in zip(words[::2], words[1::2], strict=True)
        }
        assert ModelConfig(**given) == one.config
    assert [one.flags for one in answer.presets] == ["--preset tiny", "--preset small", "--preset base"]


def test_what_the_user_chose_is_kept(model: CostModel) -> None:
    found = search(model, Budget(vocab_size=2000, max_seq_length=300))
    for one in (*found.shapes, *found.presets):
        assert (one.config.vocab_size, one.config.max_seq_length) == (2000, 300)
    assert "long context" not in ", ".join(one.name for one in found.shapes)
    assert found.presets[1].flags == "--preset small --vocab-size 2000 --max-seq-length 300"


def test_a_single_layer_only_where_nothing_else_fits(model: CostModel) -> None:
    tight = 1.4 * model.p95_ms(ModelConfig(d_model=64, num_layers=2, dim_feedforward=128), 20) - 0.1
    assert {one.config.num_layers for one in search(model, Budget(max_p95_ms=tight)).shapes} == {1}


def test_time_that_no_shape_keeps(model: CostModel) -> None:
    with pytest.raises(FitError, match=r"--max-p95-ms 20 is too small by \d+\.\d: the closest") as failure:
        search(model, Budget(max_p95_ms=20))
    enough = int(failure.value.hint.split()[2].rstrip(","))
    assert search(model, Budget(max_p95_ms=enough)).shapes


def test_memory_that_no_shape_keeps(model: CostModel) -> None:
    with pytest.raises(FitError, match=r"--max-rss-mb 40 is too small by \d+\.\d: the closest") as failure:
        search(model, Budget(max_rss_mb=40))
    enough = int(failure.value.hint.split()[2])
    assert search(model, Budget(max_rss_mb=enough)).shapes


def test_two_limits_that_no_shape_keeps(model: CostModel) -> None:
    with pytest.raises(FitError, match="--max-p95-ms 20 is too small"):
        search(model, Budget(max_p95_ms=20, max_rss_mb=40))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"max_p95_ms": float("nan")}, "--max-p95-ms nan is not a positive number"),
        ({"max_p95_ms": 0.0}, "--max-p95-ms 0 is not a positive number"),
        ({"max_rss_mb": float("inf")}, "--max-rss-mb inf is not a positive number"),
        ({"max_tokens": 0}, "--max-tokens 0 is outside 1-1000"),
        ({"max_seq_length": 16}, "--max-seq-length 16 is outside 32-512"),
        ({"vocab_size": 50}, "--vocab-size 50 is outside 1000-32000"),
    ],
)
def test_a_budget_that_cannot_be(given: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Budget(**given)  # type: ignore[arg-type]
