"""Recipes: their values, the learning-rate schedule, and invalid values."""

import itertools
import math

import pytest

from tinyedge.core.errors import UsageError
from tinyedge.train.recipe import FAST, GUIDE, RECIPES, SMALL_STEPS, TrainConfig, list_unset, resolve


def test_recipe_guide_has_the_values_of_the_guide() -> None:
    assert (GUIDE.learning_rate, GUIDE.weight_decay, GUIDE.batch_size, GUIDE.epochs) == (3e-4, 0.01, 32, 20)
    assert (GUIDE.beta1, GUIDE.beta2, GUIDE.matrix_learning_rate, GUIDE.init_std) == (0.9, 0.999, 0.0, 0.0)


@pytest.mark.parametrize(("epoch", "share"), [(0, 1.0), (5, (1 + math.cos(math.pi / 4)) / 2), (10, 0.5)])
def test_the_cosine_schedule_of_the_guide_steps_once_an_epoch(epoch: int, share: float) -> None:
    for step in (0, 99):
        assert GUIDE.rate_factor(100 * epoch + step, 100) == pytest.approx(share)


def test_fast_warms_up_then_falls_to_zero() -> None:
    total = FAST.epochs * 200
    factors = [FAST.rate_factor(step, 200) for step in range(total)]
    assert factors[0] == pytest.approx(1 / FAST.warmup_steps)
    assert factors[FAST.warmup_steps - 1] == 1.0
    assert factors[-1] == pytest.approx(1 / (total - FAST.warmup_steps))
    assert all(a < b for a, b in itertools.pairwise(factors[:100]))
    assert all(a > b for a, b in itertools.pairwise(factors[100:]))


def test_a_run_shorter_than_the_warm_up_still_reaches_the_peak() -> None:
    factors = [FAST.rate_factor(step, 2) for step in range(2 * FAST.epochs)]
    assert max(factors) == 1.0
    assert min(factors) > 0


def test_values_replace_those_of_the_recipe() -> None:
    assert resolve("guide", {"epochs": 3, "seed": None}).epochs == 3
    assert resolve("guide", {"epochs": None}) == RECIPES["guide"]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"epochs": 0}, "^epochs 0 is outside 1-10000"),
        ({"learning_rate": float("nan")}, "^learning_rate nan"),
        ({"batch_size": -1}, "^batch_size -1"),
        ({"seed": -1}, "^seed -1"),
    ],
)
def test_an_invalid_value_names_the_parameter(flags: dict[str, float], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        resolve("fast", flags)


def test_an_unknown_recipe_is_refused() -> None:
    with pytest.raises(UsageError, match="recipe fastest is unknown"):
        resolve("fastest", {})


@pytest.mark.parametrize("recipe", [FAST, GUIDE])
def test_a_time_limit_scales_the_schedule_so_that_both_end_together(recipe: TrainConfig) -> None:
    total = recipe.epochs * 200
    for step in range(recipe.warmup_steps, total, 50):  # half of the time is used: the schedule stays
        epoch_began = step // 200 * 200
        factor = recipe.rate_factor(step, 200, elapsed=epoch_began / total / 2)
        assert factor == recipe.rate_factor(step, 200)
    step = total // 5
    factors = [recipe.rate_factor(step, 200, elapsed=share) for share in (0.1, 0.3, 0.6, 0.9, 1.0, 1.5)]
    assert factors[0] == recipe.rate_factor(step, 200)
    assert all(a > b for a, b in itertools.pairwise(factors[:5]))
    assert factors[4] == factors[5] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("recipe", ["fast", "best"])
def test_pairs_are_learned_with_smaller_steps(recipe: str) -> None:
    text = resolve(recipe, {"epochs": 3})
    pairs = text.take_small_steps(list_unset({"epochs": 3}))
    changed = {name for name, value in pairs.to_dict().items() if value != text.to_dict()[name]}
    assert changed == {"learning_rate", "matrix_learning_rate"}
    assert pairs.learning_rate < text.learning_rate
    assert pairs.matrix_learning_rate < text.matrix_learning_rate


def test_a_rate_that_the_user_chose_is_kept() -> None:
    given = {"learning_rate": FAST.learning_rate, "seed": None}
    pairs = resolve("fast", given).take_small_steps(list_unset(given))
    assert pairs.learning_rate == FAST.learning_rate
    assert pairs.matrix_learning_rate == SMALL_STEPS["matrix_learning_rate"]


def test_the_guides_recipe_and_a_run_from_a_model_keep_their_rates_for_pairs() -> None:
    for settings in (GUIDE, resolve("fast", {}, init_from="abc")):
        assert settings.take_small_steps(list_unset({})) == settings


@pytest.mark.parametrize(("context", "windows"), [(32, 16), (128, 16), (256, 8), (300, 6), (512, 4)])
def test_a_step_has_fewer_windows_if_they_are_longer(context: int, windows: int) -> None:
    assert resolve("fast", {}, context=context).batch_size == windows
    assert resolve("fast", {}, init_from="abc", context=context).batch_size == windows
    assert resolve("fast", {"batch_size": 16}, context=context).batch_size == 16
    assert resolve("guide", {}, context=context).batch_size == GUIDE.batch_size
