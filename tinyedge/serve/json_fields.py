"""Fields of a JSON object, read strictly: a type and a range each, and nothing that nobody asked for.

null is the same as absent, as in OpenAI's API.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from tinyedge.serve.errors import ApiError

LONE_SURROGATE = re.compile("[\ud800-\udfff]")  # in a str they are always lone
SHOWN = 40  # characters of a bad value that its error repeats


def parse_object(body: bytes) -> dict[str, Any]:
    """A request's body as a JSON object. Raises ApiError."""
    try:
        value = json.loads(body.decode(), object_pairs_hook=_unique, parse_constant=_no_constant)
    except RecursionError:
        raise ApiError(400, "the body is nested too deeply", code="invalid_json") from None
    except ValueError as failure:  # not UTF-8, not JSON, a number of 5,000 digits
        reason = "it is not UTF-8" if isinstance(failure, UnicodeDecodeError) else str(failure)
        raise ApiError(400, f"the body is not valid JSON: {reason}", code="invalid_json") from None
    if not isinstance(value, dict):
        raise ApiError(400, f"the body is {show(value)}, a JSON object is needed", code="invalid_json")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("an object has the same key twice")
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def show(value: object) -> str:
    """A value as an error repeats it: short, ASCII, on one line."""
    text = json.dumps(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


class Fields:
    """The fields of one object, each taken once; `path` is put before their names in errors."""

    def __init__(self, given: Mapping[str, Any], path: str = "") -> None:
        self._left = dict(given)
        self._path = path

    def take(self, name: str) -> Any:
        """A field as it is, None where it is absent."""
        return self._left.pop(name, None)

    def finish(self) -> None:
        """Raises ApiError where a field is left that nobody took."""
        if self._left:
            name = next(iter(self._left))
            raise self.bad(
                name, f"unrecognized request argument supplied: {name[:SHOWN]}", "unknown_parameter"
            )

    def number(self, name: str, low: float, high: float, default: float) -> float:
        """A number from `low` to `high`."""
        value = self.take(name)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise self.bad(name, f"{name} must be a number from {low:g} to {high:g}, not {show(value)}")
        return float(value)

    def whole(self, name: str, low: int, high: int, default: int | None = None) -> int | None:
        """A whole number from `low` to `high`."""
        value = self.take(name)
        if value is None:
            return default
        if type(value) is not int or not low <= value <= high:
            raise self.bad(name, f"{name} must be a whole number from {low} to {high}, not {show(value)}")
        return value

    def boolean(self, name: str) -> bool:
        """True or false; false where it is absent."""
        value = self.take(name)
        if value is None:
            return False
        if not isinstance(value, bool):
            raise self.bad(name, f"{name} must be true or false, not {show(value)}")
        return value

    def text(self, name: str, value: object) -> str:
        """`value`, if it is text that can be sent back."""
        if not isinstance(value, str):
            raise self.bad(name, f"{name} must be text, not {show(value)}")
        if LONE_SURROGATE.search(value):
            raise self.bad(name, f"{name} holds half of a surrogate pair, which is no character")
        return value

    def texts(self, name: str, most: int) -> tuple[str, ...]:
        """One text, or a list of up to `most`; none where it is absent."""
        value = self.take(name)
        if value is None:
            return ()
        values = value if isinstance(value, list) else [value]
        if len(values) > most:
            raise self.bad(name, f"{name} has {len(values)} texts, at most {most} are possible")
        return tuple(self.text(name, one) for one in values)

    def only(self, name: str, *neutral: object) -> None:
        """A field that does nothing here: it must be absent, or ask for nothing."""
        value = self.take(name)
        if value is not None and not any(type(value) is type(one) and value == one for one in neutral):
            raise self.bad(name, f"{name} {show(value)} is not supported: leave it out", "unsupported_value")

    def bad(self, name: str, message: str, code: str = "invalid_value") -> ApiError:
        """What to raise about a field."""
        return ApiError(400, message, code=code, param=f"{self._path}{name[:SHOWN]}")
