"""The search space of a sweep: flags of `tinyedge train`, each with the values to try.

In: the values of `--vary`. Out: a space, and what a point of it trains. Does not know torch or a search
method. A point of the space maps a field of ModelConfig or TrainConfig, "preset" or "recipe" to a value.
"""

import dataclasses
import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from tinyedge.core.config import MODEL_RANGES, PRESETS, ModelConfig, resolve_shape
from tinyedge.core.errors import UsageError
from tinyedge.core.settings import flag, require_range
from tinyedge.train.recipe import RECIPES, TRAIN_RANGES, TrainConfig, resolve

Value = int | float | str
Point = Mapping[str, Value]

NAMES = {"recipe": tuple(RECIPES), "preset": tuple(PRESETS)}
# Trials share one tokenizer, are compared epoch by epoch, and begin with random weights.
NOT_VARIED = ("vocab_size", "epochs", "replay")
WHOLE_NUMBERS = {
    field.name
    for kind in (ModelConfig, TrainConfig)
    for field in dataclasses.fields(kind)
    if field.type is int
}
EXAMPLE = "for example --vary learning-rate=0.001..0.01 batch-size=16,32 recipe=fast"


@dataclass(frozen=True)
class Categorical:
    """A list of values."""

    values: tuple[Value, ...]
    """The values, without duplicates."""

    def __str__(self) -> str:
        return ",".join(map(str, self.values))


@dataclass(frozen=True)
class Range:
    """Any number from low to high; sampled on a logarithmic scale where low is above 0."""

    low: float
    """The smallest value."""
    high: float
    """The largest value."""

    def __str__(self) -> str:
        return f"{self.low:g}..{self.high:g}"


Space = dict[str, Categorical | Range]

# The guide's grid search (its chapter 9), with 10 epochs a trial.
GUIDE_GRID: Space = {
    "recipe": Categorical(("guide",)),
    "learning_rate": Categorical((1e-4, 3e-4, 1e-3)),
    "batch_size": Categorical((16, 32, 64)),
}
# Values around those of the recipes.
DEFAULT: Space = {
    "recipe": Categorical(("fast", "guide")),
    "learning_rate": Range(3e-4, 3e-2),
    "batch_size": Categorical((16, 32, 64)),
}


def parse_space(words: Sequence[str], flags: Collection[str]) -> Space:
    """Parse the values of `--vary`.

    Args:
        words: FLAG=a,b,c or FLAG=low..high each.
        flags: Fields that `tinyedge train` has flags for.

    Raises:
        UsageError: A flag is unknown or given twice, or a value is outside the field's range.
    """
    space: Space = {}
    known = [
        name for name in (*NAMES, *MODEL_RANGES, *TRAIN_RANGES) if name in flags and name not in NOT_VARIED
    ]
    for word in words:
        key, _, values = word.partition("=")
        name = key.replace("-", "_")
        if name not in known:
            names = ", ".join(flag(name)[2:] for name in known)
            raise UsageError(
                f"vary {word}: {key!r} is not a flag that a sweep varies", f"choose from: {names}", ("vary",)
            )
        if name in space:
            raise UsageError(
                f"vary {key} is given twice", "list all its values at once, separated by commas", ("vary",)
            )
        space[name] = _parse_values(word, name, values)
    return space


def _parse_values(word: str, name: str, text: str) -> Categorical | Range:
    low, dots, high = text.partition("..")
    if dots and name not in NAMES:
        ends = Range(*(float(_parse_value(word, name, end)) for end in (low, high)))
        if ends.low < ends.high:
            return ends
        raise UsageError(f"vary {word}: {low} is not below {high}", EXAMPLE, ("vary",))
    return Categorical(tuple(dict.fromkeys(_parse_value(word, name, value) for value in text.split(","))))


def _parse_value(word: str, name: str, text: str) -> Value:
    if name in NAMES:
        if text not in NAMES[name]:
            raise UsageError(
                f"vary {word}: {text!r} is unknown", f"choose from: {', '.join(NAMES[name])}", ("vary",)
            )
        return text
    try:
        value = int(text) if name in WHOLE_NUMBERS else float(text)
    except ValueError:
        kind = "whole number" if name in WHOLE_NUMBERS else "number"
        raise UsageError(f"vary {word}: {text!r} is not a {kind}", EXAMPLE, ("vary",)) from None
    low, high = (MODEL_RANGES | TRAIN_RANGES)[name]
    try:
        require_range(name, value, low, high)
    except UsageError as failure:
        raise UsageError(f"vary {word}: {failure.message}", EXAMPLE, ("vary", name)) from None
    return value


def list_varied(space: Space) -> list[str]:
    """Return the fields that have more than one value."""
    return [name for name, axis in space.items() if isinstance(axis, Range) or len(axis.values) > 1]


def list_grid(space: Space) -> list[Point]:
    """Return every combination of values; the last field changes fastest.

    Raises:
        UsageError: A field has a range.
    """
    columns = []
    for name, axis in space.items():
        if isinstance(axis, Range):
            raise UsageError(
                f"vary {flag(name)[2:]}={axis} is a range, a grid needs values",
                "list them separated by commas, or pass --search tpe",
                ("vary",),
            )
        columns.append(axis.values)
    return [dict(zip(space, values, strict=True)) for values in itertools.product(*columns)]


def configure(point: Point, vocab_size: int, epochs: int) -> tuple[ModelConfig, TrainConfig]:
    """Return the model and the training of a point.

    Raises:
        UsageError: The point's values do not fit together.
    """
    shape = {name: value for name, value in point.items() if name in MODEL_RANGES}
    rest = {name: value for name, value in point.items() if name in TRAIN_RANGES}
    model = resolve_shape(str(point.get("preset", "tiny")), {**shape, "vocab_size": vocab_size})  # type: ignore
    recipe = str(point.get("recipe", "fast"))
    return model, resolve(recipe, {**rest, "epochs": epochs}, context=model.max_seq_length)


def describe_point(point: Point, names: Collection[str]) -> str:
    """Return the named fields of a point, for a person."""
    return ", ".join(f"{flag(name)[2:]} {point[name]}" for name in names)


def format_flags(point: Point) -> list[str]:
    """Return the point as arguments of a command line."""
    return [word for name, value in point.items() for word in (flag(name), str(value))]
