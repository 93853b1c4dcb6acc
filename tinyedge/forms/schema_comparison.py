"""Whether schemas of `oneOf` exclude each other.

In: JSON schemas. Out: whether it is certain that no value is valid in two of them. Knows no forms.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

MAX_COMPARED = 100_000  # types, values and names of the schemas of oneOf, each pair anew


class SchemaComparison:
    """Compares schemas, which takes as long as they are many and large, up to a limit."""

    def __init__(self) -> None:
        self.left = MAX_COMPARED

    def are_disjoint(self, schemas: Sequence[Any]) -> bool:
        """Whether it is certain that no value is valid in two of the schemas; at the limit, it is not."""
        return all(self._differ(one, other) for at, one in enumerate(schemas) for other in schemas[at + 1 :])

    def _differ(self, one: Any, other: Any) -> bool:
        if not isinstance(one, dict) or not isinstance(other, dict):
            return False
        self.left -= 1 + sum(
            len(_list_of(schema, key)) for schema in (one, other) for key in ("type", "enum", "required")
        )
        if self.left < 0:
            return False
        kinds = [_kinds_of(schema) for schema in (one, other)]
        if all(kinds) and not kinds[0] & kinds[1]:
            return True
        values = [_values_of(schema) for schema in (one, other)]
        if all(values) and not values[0] & values[1]:
            return True
        for name in sorted(_names_of(one) & _names_of(other)):
            members = [schema["properties"].get(name) for schema in (one, other)]
            if self._differ(*members):
                return True
        return False


def _list_of(schema: Mapping[str, Any], key: str) -> list[Any]:
    found = schema.get(key)
    return found if isinstance(found, list) else []


def _names_of(schema: Mapping[str, Any]) -> set[str]:
    """Return the required members of a schema that has properties."""
    if not isinstance(schema.get("properties"), dict):
        return set()
    return {name for name in _list_of(schema, "required") if isinstance(name, str)}


def _kinds_of(schema: Mapping[str, Any]) -> set[str]:
    kinds = schema.get("type")
    found = {kinds} if isinstance(kinds, str) else set(filter(_is_text, _list_of(schema, "type")))
    return found | {"integer"} if "number" in found else found


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _values_of(schema: Mapping[str, Any]) -> set[str]:
    values = [schema["const"]] if "const" in schema else _list_of(schema, "enum")
    return set(map(json.dumps, values))
