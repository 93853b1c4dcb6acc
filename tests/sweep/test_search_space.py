"""The search space: parsed from flags, validated, and converted to the settings of a run."""

import pytest

from tinyedge.core.errors import UsageError
from tinyedge.sweep.search_space import (
    DEFAULT,
    GUIDE_GRID,
    Categorical,
    Range,
    configure,
    format_flags,
    list_grid,
    list_varied,
    parse_space,
)

FLAGS = (
    "recipe",
    "preset",
    "learning_rate",
    "batch_size",
    "d_model",
    "nhead",
    "vocab_size",
    "epochs",
    "seed",
)


def test_lists_ranges_and_single_values() -> None:
    words = ["learning-rate=1e-3..0.01", "batch-size=32,16,32", "recipe=fast,guide", "d-model=64"]
    space = parse_space(words, FLAGS)
    assert space == {
        "learning_rate": Range(0.001, 0.01),
        "batch_size": Categorical((32, 16)),
        "recipe": Categorical(("fast", "guide")),
        "d_model": Categorical((64,)),
    }
    assert list_varied(space) == ["learning_rate", "batch_size", "recipe"]
    assert [str(axis) for axis in space.values()] == ["0.001..0.01", "32,16", "fast,guide", "64"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["learning-rate"], "'' is not a number"),
        (["learning-rate=high"], "'high' is not a number"),
        (["learning-rate=nan"], "nan is outside"),
        (["learning-rate=2"], "learning_rate 2.0 is outside 1e-06-1"),
        (["learning-rate=0.01..0.001"], "0.01 is not below 0.001"),
        (["learning-rate=0.01.."], "'' is not a number"),
        (["batch-size=16,32.5"], "'32.5' is not a whole number"),
        (["d-model=1000"], "1000 is outside 64-512"),
        (["recipe=fastest"], "'fastest' is unknown"),
        (["preset=tiny..base"], "'tiny..base' is unknown"),
        (["vocab-size=4000"], "not a flag that a sweep varies"),
        (["epochs=1,2"], "not a flag that a sweep varies"),
        (["replay=0,0.5"], "not a flag that a sweep varies"),
        (["beta2=0.9"], "not a flag that a sweep varies"),  # a field, but train has no flag for it
        (["seed=1", "seed=2"], "given twice"),
    ],
)
def test_an_invalid_space_is_refused(words: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_space(words, FLAGS)
    assert message in caught.value.message
    assert caught.value.message.startswith("vary ")
    assert "vary" in caught.value.parameters


def test_the_guides_grid_in_the_guides_order() -> None:
    pairs = [(point["learning_rate"], point["batch_size"]) for point in list_grid(GUIDE_GRID)]
    assert pairs == [(rate, size) for rate in (0.0001, 0.0003, 0.001) for size in (16, 32, 64)]


def test_a_grid_has_no_ranges() -> None:
    with pytest.raises(UsageError, match=r"learning-rate=0\.0003\.\.0\.03 is a range"):
        list_grid(DEFAULT)


def test_a_point_trains_what_the_same_flags_train() -> None:
    point: dict[str, int | float | str] = {
        "recipe": "guide",
        "learning_rate": 0.002,
        "preset": "small",
        "nhead": 8,
    }
    model, training = configure(point, 1000, 7)
    assert (model.vocab_size, model.d_model, model.nhead) == (1000, 256, 8)
    assert (training.recipe, training.learning_rate, training.epochs) == ("guide", 0.002, 7)
    assert training.schedule == "cosine"
    words = ["--recipe", "guide", "--learning-rate", "0.002", "--preset", "small", "--nhead", "8"]
    assert format_flags(point) == words
    with pytest.raises(UsageError, match="nhead 3 does not divide"):
        configure({"nhead": 3}, 1000, 7)
