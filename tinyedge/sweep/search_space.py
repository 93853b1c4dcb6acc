"""What a sweep varies: flags of `tinyedge train`, each with the values that it may take.

Knows no torch and no search; a point of the space is a mapping from field to value.
"""

import dataclasses
import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from tinyedge.core.config import MODEL_RANGES, PRESETS, ModelConfig, flag, resolve_shape
from tinyedge.core.errors import UsageError
from tinyedge.train.recipe import RECIPES, TRAIN_RANGES, TrainConfig, resolve

Value = int | float | str
Point = Mapping[str, Value]

NAMES = {"recipe": tuple(RECIPES), "preset": tuple(PRESETS)}
NOT_VARIED = ("vocab_size", "epochs")  # trials share one tokenizer, and are compared epoch by epoch
WHOLE = {
    field.name
    for kind in (ModelConfig, TrainConfig)
    for field in dataclasses.fields(kind)
    if field.type is int
}
EXAMPLE = "for example --vary learning-rate=0.001..0.01 batch-size=16,32 recipe=fast"


@dataclass(frozen=True)
class Categorical:
    """One of these values."""

    values: tuple[Value, ...]

    def __str__(self) -> str:
        return ",".join(map(str, self.values))


@dataclass(frozen=True)
class Range:
    """Any number from low to high; on a scale of logarithms where low is above 0."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.low:g}..{self.high:g}"


Space = dict[str, Categorical | Range]

# The guide's grid search (its chapter 9), with 10 epochs a trial.
GUIDE_GRID: Space = {
    "recipe": Categorical(("guide",)),
    "learning_rate": Categorical((1e-4, 3e-4, 1e-3)),
    "batch_size": Categorical((16, 32, 64)),
}
# Around what the recipes use.
DEFAULT: Space = {
    "recipe": Categorical(("fast", "guide")),
    "learning_rate": Range(3e-4, 3e-2),
    "batch_size": Categorical((16, 32, 64)),
}


def parse_space(words: Sequence[str], flags: Collection[str]) -> Space:
    """`--vary` as typed: FLAG=a,b,c or FLAG=low..high, each flag one of the fields `flags`.

    Raises UsageError where a flag is unknown or given twice, or a value is outside the field's range.
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
                f"--vary {word}: {key!r} is not a flag that a sweep varies", f"choose from: {names}"
            )
        if name in space:
            raise UsageError(
                f"--vary {key} is given twice", "give all its values at once, with commas between"
            )
        space[name] = _parse_values(word, name, values)
    return space


def _parse_values(word: str, name: str, text: str) -> Categorical | Range:
    low, dots, high = text.partition("..")
    if dots and name not in NAMES:
        ends = Range(*(float(_parse_value(word, name, end)) for end in (low, high)))
        if ends.low < ends.high:
            return ends
        raise UsageError(f"--vary {word}: {low} is not below {high}", EXAMPLE)
    return Categorical(tuple(dict.fromkeys(_parse_value(word, name, value) for value in text.split(","))))


def _parse_value(word: str, name: str, text: str) -> Value:
    if name in NAMES:
        if text not in NAMES[name]:
            raise UsageError(f"--vary {word}: {text!r} is unknown", f"choose from: {', '.join(NAMES[name])}")
        return text
    try:
        value = int(text) if name in WHOLE else float(text)
    except ValueError:
        kind = "whole number" if name in WHOLE else "number"
        raise UsageError(f"--vary {word}: {text!r} is not a {kind}", EXAMPLE) from None
    low, high = (MODEL_RANGES | TRAIN_RANGES)[name]
    if not low <= value <= high:
        raise UsageError(f"--vary {word}: {text} is outside {low}-{high}")
    return value


def varied(space: Space) -> list[str]:
    """The fields that have more than one value."""
    return [name for name, axis in space.items() if isinstance(axis, Range) or len(axis.values) > 1]


def grid(space: Space) -> list[Point]:
    """Every combination, the last flag fastest. Raises UsageError where a flag has a range."""
    columns = []
    for name, axis in space.items():
        if isinstance(axis, Range):
            raise UsageError(
                f"--vary {flag(name)[2:]}={axis} is a range, a grid needs values",
                "list them with commas between, or pass --search tpe",
            )
        columns.append(axis.values)
    return [dict(zip(space, values, strict=True)) for values in itertools.product(*columns)]


def configure(point: Point, vocab_size: int, epochs: int) -> tuple[ModelConfig, TrainConfig]:
    """What a point of the space trains. Raises UsageError where its values do not go together."""
    shape = {name: value for name, value in point.items() if name in MODEL_RANGES}
    rest = {name: value for name, value in point.items() if name in TRAIN_RANGES}
    model = resolve_shape(str(point.get("preset", "tiny")), {**shape, "vocab_size": vocab_size})  # type: ignore
    return model, resolve(str(point.get("recipe", "fast")), {**rest, "epochs": epochs})


def describe(point: Point, names: Collection[str]) -> str:
    """Those fields of the point, for a person."""
    return ", ".join(f"{flag(name)[2:]} {point[name]}" for name in names)


def flags_of(point: Point) -> list[str]:
    """The point as words of a command line."""
    return [word for name, value in point.items() for word in (flag(name), str(value))]
