"""Settings: one dataclass field declares the help, range, choices, default and flag of a value.

In: dataclasses whose fields come from `setting`. Out: a UsageError that names the parameter, for a value that
its declaration does not allow. Does not know the command line: `tinyedge.cli._options` turns the same
declarations into options.
"""

import dataclasses
from types import UnionType
from typing import Any, get_args

from tinyedge.core.errors import UsageError


def setting(
    default: Any = dataclasses.MISSING,
    *,
    default_factory: Any = dataclasses.MISSING,
    help: str,  # noqa: A002 # what `--help` shows
    low: float | None = None,
    high: float | None = None,
    exclusive: bool = False,
    unit: str = "",
    choices: tuple[str, ...] = (),
    none: str = "",
    section: str = "",
    flag: str | None = "",
) -> Any:
    """Declare a dataclass field that `check_settings` validates and the command line offers as an option.

    Args:
        default: Value of the field; without one the field is required.
        default_factory: Function that returns the default, where it is not known at import.
        help: Sentence for `--help`, without default and range, which are appended.
        low: Smallest number allowed; given together with `high`.
        high: Largest number allowed.
        exclusive: Whether `low` itself is not allowed.
        unit: Unit of the range, in words, for the error message.
        choices: The only strings allowed; empty for any.
        none: What a value that is not given means, in words; the help shows it before the default.
        section: Heading of the command's help that lists the option.
        flag: Command-line flag, where it is not `--` and the field's name with hyphens; None for a field
            that no command offers.
    """
    declared = {
        "help": help,
        "low": low,
        "high": high,
        "exclusive": exclusive,
        "unit": unit,
        "choices": choices,
        "none": none,
        "section": section,
        "flag": flag,
    }
    if default_factory is not dataclasses.MISSING:
        return dataclasses.field(default_factory=default_factory, metadata=declared)
    return dataclasses.field(default=default, metadata=declared)


def check_settings(config: Any) -> None:
    """Check every field of a dataclass that `setting` declared; call it in `__post_init__`.

    Raises:
        UsageError: A field has a wrong type, range or choice; the message names the first such field. None is
            valid where the annotation allows it; True is not a number, and NaN is in no range. A number that
            declares no range is not checked.
    """
    for field in dataclasses.fields(config):
        if not field.metadata:
            continue
        declared, kinds = field.metadata, _kinds(field.type)
        value = getattr(config, field.name)
        if value is None and type(None) in kinds:
            continue
        if declared["low"] is not None:
            require_range(
                field.name,
                value,
                declared["low"],
                declared["high"],
                whole=float not in kinds,
                exclusive=declared["exclusive"],
                unit=declared["unit"],
            )
        elif declared["choices"]:
            require_choice(field.name, value, declared["choices"])
        # A non-empty string is true: without this check it would switch a bool setting on.
        elif bool in kinds and not isinstance(value, bool):
            raise UsageError(f"{field.name} {value!r} is not True or False", parameters=(field.name,))
        elif str in kinds and not isinstance(value, str):
            raise UsageError(f"{field.name} {value!r} is not a string", parameters=(field.name,))


def require_range(
    name: str,
    value: object,
    low: float,
    high: float,
    *,
    whole: bool = False,
    exclusive: bool = False,
    unit: str = "",
) -> None:
    """Raise UsageError, naming the parameter `name`, unless `value` is a number from `low` to `high`.

    Args:
        name: The parameter as the caller of the library knows it.
        value: Anything; True and False are not numbers here.
        low: Smallest number allowed.
        high: Largest number allowed.
        whole: Whether it must be an int.
        exclusive: Whether `low` itself is not allowed.
        unit: Unit of the range, in words.
    """
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
        raise UsageError(f"{name} {value!r} is not a {'whole ' if whole else ''}number", parameters=(name,))
    if not low <= value <= high or (exclusive and value == low):
        allowed = " ".join(filter(None, (format_range(low, high), unit)))
        allowed += f", {low:g} excluded" if exclusive else ""
        raise UsageError(f"{name} {value} is outside {allowed}", parameters=(name,))


def require_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    """Raise UsageError, naming the parameter `name`, unless `value` is one of `choices`."""
    if value not in choices:
        raise UsageError(f"{name} {value} is unknown", f"choose one of: {', '.join(choices)}", (name,))


def format_range(low: float, high: float) -> str:
    """Format both ends of a range for display: `0-1`, `1e-06-1`, `0-2147483647`."""
    return "-".join(f"{end:g}" if isinstance(end, float) else str(end) for end in (low, high))


def get_ranges(kind: type) -> dict[str, tuple[Any, Any]]:
    """Return (low, high) of each field of a dataclass that declares a range, by name."""
    return {
        field.name: (field.metadata["low"], field.metadata["high"])
        for field in dataclasses.fields(kind)
        if field.metadata and field.metadata["low"] is not None
    }


def _kinds(annotation: Any) -> tuple[Any, ...]:
    """Return the types that an annotation allows: for `int | None`, both."""
    return get_args(annotation) if isinstance(annotation, UnionType) else (annotation,)


def flag(name: str) -> str:
    """Return the command-line flag of a parameter: `--d-model` of `d_model`."""
    return "--" + name.replace("_", "-")
