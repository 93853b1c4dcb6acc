"""Strict reading of a JSON object: each field has a type and a range, and unknown fields are errors.

In: the body of a request. Out: values, or ApiError with the name of the field. null is the same as an absent
field, as in OpenAI's API.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from tinyedge.serve.errors import ApiError

LONE_SURROGATE = re.compile("[\ud800-\udfff]")  # a str never contains pairs of them
MAX_SHOWN = 40  # characters of an invalid value that its error message quotes
# Objects and lists inside each other: no field needs more than 5. Python's own limit is 1,000 function calls,
# which a value that can be parsed may exceed when it is compared or formatted.
MAX_DEPTH = 32


def parse_object(body: bytes) -> dict[str, Any]:
    """Parse the body of a request as a JSON object.

    Raises:
        ApiError: The body is not UTF-8 or not a JSON object, or an object in it has a duplicate key.
    """
    try:
        value = json.loads(
            body.decode(), object_pairs_hook=_require_unique_keys, parse_constant=_reject_constant
        )
    except RecursionError:
        raise _make_depth_error() from None
    except ValueError as failure:  # not UTF-8, not JSON, or a number of 5,000 digits
        reason = "it is not UTF-8" if isinstance(failure, UnicodeDecodeError) else str(failure)
        raise ApiError(400, f"the body is not valid JSON: {reason}", code="invalid_json") from None
    if _exceeds_depth(value):
        raise _make_depth_error()
    if not isinstance(value, dict):
        raise ApiError(
            400, f"the body is {format_value(value)}, but must be a JSON object", code="invalid_json"
        )
    return value


def _make_depth_error() -> ApiError:
    return ApiError(
        400, f"the body is nested too deeply: at most {MAX_DEPTH} levels are allowed", code="invalid_json"
    )


def _exceeds_depth(value: object) -> bool:
    """Whether objects and lists are nested more than MAX_DEPTH levels deep; without recursion."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True


def _require_unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("an object has the same key twice")
    return found


def _reject_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def format_value(value: object) -> str:
    """Format a value for an error message: short, ASCII, on one line."""
    text = json.dumps(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."


class JsonFields:
    """The fields of one object; each is taken once, and fields that remain are unknown."""

    def __init__(self, fields: Mapping[str, Any], path: str = "") -> None:
        """Start reading an object.

        Args:
            fields: The object.
            path: Prefix of the field names in errors.
        """
        self._remaining = dict(fields)
        self._path = path

    def take(self, name: str) -> Any:
        """Take a field without a check; None if it is absent."""
        return self._remaining.pop(name, None)

    def reject_unknown(self) -> None:
        """Raise ApiError if a field remains."""
        if self._remaining:
            name = next(iter(self._remaining))
            raise self.make_error(
                name, f"unrecognized request argument supplied: {name[:MAX_SHOWN]}", "unknown_parameter"
            )

    def take_number(self, name: str, low: float, high: float, default: float) -> float:
        """Take a number from `low` to `high`."""
        value = self.take(name)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise self.make_error(
                name, f"{name} must be a number from {low:g} to {high:g}, not {format_value(value)}"
            )
        return float(value)

    def take_integer(self, name: str, low: int, high: int | None, default: int | None = None) -> int | None:
        """Take a whole number from `low` to `high`; None as `high` is no upper limit."""
        value = self.take(name)
        if value is None:
            return default
        if type(value) is not int or value < low or (high is not None and value > high):
            range_text = f"from {low} to {high}" if high is not None else f"of at least {low}"
            raise self.make_error(
                name, f"{name} must be a whole number {range_text}, not {format_value(value)}"
            )
        return value

    def take_boolean(self, name: str) -> bool:
        """Take true or false; false if it is absent."""
        value = self.take(name)
        if value is None:
            return False
        if not isinstance(value, bool):
            raise self.make_error(name, f"{name} must be true or false, not {format_value(value)}")
        return value

    def require_text(self, name: str, value: object) -> str:
        """Return `value` if it is text that can be encoded as UTF-8; otherwise raise ApiError."""
        if not isinstance(value, str):
            raise self.make_error(name, f"{name} must be text, not {format_value(value)}")
        if LONE_SURROGATE.search(value):
            raise self.make_error(name, f"{name} contains half of a surrogate pair, which is not a character")
        return value

    def take_texts(self, name: str, max_count: int) -> tuple[str, ...]:
        """Take one text or a list of at most `max_count`; an empty tuple if it is absent."""
        value = self.take(name)
        if value is None:
            return ()
        values = value if isinstance(value, list) else [value]
        if len(values) > max_count:
            raise self.make_error(name, f"{name} has {len(values)} texts, at most {max_count} are allowed")
        return tuple(self.require_text(name, one) for one in values)

    def require_neutral(self, name: str, *neutral: object) -> None:
        """Take an unsupported field, which must be absent or have one of the `neutral` values."""
        value = self.take(name)
        if value is not None and not any(type(value) is type(one) and value == one for one in neutral):
            raise self.make_error(
                name, f"{name} {format_value(value)} is not supported: omit it", "unsupported_value"
            )

    def make_error(self, name: str, message: str, code: str = "invalid_value") -> ApiError:
        """Create the error about a field."""
        return ApiError(400, message, code=code, param=f"{self._path}{name[:MAX_SHOWN]}")
