"""JSON values to a tree of frozen dataclasses, checked against their type hints.

In: a dataclass and a JSON object. Out: an instance, or a DecodeError that names the field. Knows no board.
"""

import dataclasses
import json
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

SHOWN = 60  # characters of an invalid value in a message
NOUNS = {str: "a text", int: "an integer", float: "a number"}

T = TypeVar("T")


class DecodeError(ValueError):
    """A field that is missing, unknown or of another type."""


def parse_object(raw: bytes) -> dict[str, Any]:
    """Parse a JSON object; a field that appears twice, NaN and infinity are errors.

    Raises:
        DecodeError: A field appears twice, or the value is not an object.
        ValueError: The bytes are not JSON.
        RecursionError: The nesting is too deep.
    """
    value = json.loads(raw, object_pairs_hook=_refuse_duplicates, parse_constant=_refuse_constant)
    if not isinstance(value, dict):
        raise mismatch("the file", value, "an object")
    return value


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise DecodeError(f"the field {_show(name)} appears twice")
        found[name] = value
    return found


def _refuse_constant(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def decode(cls: type[T], value: object, where: str = "") -> T:
    """Make a dataclass from a JSON object.

    A field with a default may be left out; an unknown field is an error.

    Args:
        cls: A dataclass whose fields are texts, numbers, tuples and mappings of them, or dataclasses.
        value: As `json.loads` returns it.
        where: Dotted path of the object, for the message.

    Raises:
        DecodeError: For the first field that is not as declared.
    """
    if not isinstance(value, dict):
        raise mismatch(where or "the file", value, "an object")
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    prefix = f"{where}." if where else ""
    for name in value:
        if name not in fields:
            raise DecodeError(f"{prefix}{_show(name)} is unknown, expected one of {', '.join(fields)}")
    missing = [
        name
        for name, field in fields.items()
        if name not in value and field.default is field.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise DecodeError(f"{prefix}{missing[0]} is missing")
    return cls(**{name: _convert(hints[name], part, f"{prefix}{name}") for name, part in value.items()})


def _convert(hint: Any, value: object, where: str) -> Any:
    """The value as the type hint declares it."""
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return decode(hint, value, where)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):  # X | None
        return None if value is None else _convert(arguments[0], value, where)
    if origin is tuple:
        if not isinstance(value, list):
            raise mismatch(where, value, "a list")
        return tuple(_convert(arguments[0], part, f"{where}[{at}]") for at, part in enumerate(value))
    if origin is Mapping:
        if not isinstance(value, dict):
            raise mismatch(where, value, "an object")
        return {
            name: _convert(arguments[1], part, f"{where}.{show_key(name)}") for name, part in value.items()
        }
    kinds = (int, float) if hint is float else hint  # an int stays one: 400 is not printed as 400.0
    if isinstance(value, bool) or not isinstance(value, kinds):
        raise mismatch(where, value, NOUNS[hint])
    if isinstance(value, int | float) and not _is_finite(value):
        raise mismatch(where, value, NOUNS[hint])
    return value


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond the floats
        return False


def mismatch(where: str, value: object, expected: str) -> DecodeError:
    """Return the error of a field with an invalid value."""
    return DecodeError(f"{where} is {_show(value)}, expected {expected}")


def _show(value: object) -> str:
    text = "an object" if isinstance(value, dict) and value else ascii(value)
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."


def show_key(name: str) -> str:
    """A key of a mapping, quoted and shortened unless it is a plain word."""
    return name if name.isascii() and name.isidentifier() and len(name) <= SHOWN else _show(name)
