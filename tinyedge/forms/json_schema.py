"""JSON Schema as forms: a documented subset, which covers what pydantic and OpenAI's clients write.

Every value that a form allows is valid, but not every valid value is allowed: members stand in the order of
`properties`, and an object with `properties` has no others. A keyword that is not supported is an error.
"""

import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from tinyedge.core.errors import UsageError
from tinyedge.forms import json_text as text
from tinyedge.forms.decimals import between, smallest_step
from tinyedge.forms.grammar import Either, Node, Rule, series
from tinyedge.forms.regex import parse_regex, parse_search
from tinyedge.forms.schema_comparison import MAX_COMPARED, SchemaComparison

ANNOTATIONS = frozenset(
    {"title", "description", "default", "examples", "example", "deprecated", "readOnly", "writeOnly",
     "discriminator", "externalDocs", "xml", "$schema", "$id", "$comment", "$anchor", "$defs", "definitions"}
)  # fmt: skip
TYPE_KEYWORDS = {
    "object": frozenset({"properties", "required", "additionalProperties"}),
    "array": frozenset({"items", "prefixItems", "minItems", "maxItems"}),
    "string": frozenset({"minLength", "maxLength", "pattern", "format"}),
    "integer": frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}),
    "number": frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}),
    "boolean": frozenset[str](),
    "null": frozenset[str](),
}
# Limits, so that no schema takes seconds.
MAX_DEPTH = 64  # schemas inside each other, also those that $ref names
MAX_CHARACTERS = 65_536  # of all patterns and values of enum and const
COMBINATIONS = ("anyOf", "oneOf", "allOf")
KNOWN = frozenset({"type", "enum", "const", "nullable", "$ref", *COMBINATIONS}).union(*TYPE_KEYWORDS.values())
DATE = (
    r"(?:19|20)[0-9]{2}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])"
    r"|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))"
)
HOUR_AND_MINUTE = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]"
TIME = rf"{HOUR_AND_MINUTE}:[0-5][0-9](?:\.[0-9]{{1,6}})?(?:Z|[+-]{HOUR_AND_MINUTE})"
BYTE = r"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
FORMATS = {
    "date": DATE,
    "time": TIME,
    "date-time": f"{DATE}T{TIME}",
    "uuid": r"[0-9a-f]{8}-[0-9a-f]{4}-[1-5][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}",
    "ipv4": rf"(?:{BYTE}\.){{3}}{BYTE}",
    "email": r"[a-z0-9]{1,32}(?:[._-][a-z0-9]{1,16}){0,3}@(?:[a-z0-9]{1,32}\.){1,3}[a-z]{2,6}",
}
"""Patterns of formats. Each is a subset: days exist in every year, and so on."""

Schema = Any  # JSON: an object, true or false


def parse_schema(schema: Schema, name: str = "json_schema") -> Node:
    """Return the JSON texts that a schema allows.

    Args:
        schema: The schema, parsed.
        name: Name of the parameter in errors.

    Raises:
        UsageError: The schema is invalid, or has a keyword that is not supported; names it and where it is.
    """
    return _Reader(schema, name).read(schema, ())


class _Reader:
    """Reads one schema; keeps the rule of each reference, which may be recursive."""

    def __init__(self, root: Schema, name: str) -> None:
        self._root = root
        self._name = name
        self._rules: dict[str, Rule] = {}
        self._depth = 0
        self._characters = 0
        self._comparison = SchemaComparison()

    def read(self, schema: Schema, path: tuple[str, ...]) -> Node:
        """Return the form of a schema inside the root.

        Args:
            schema: The schema.
            path: Where it is.
        """
        if self._depth == MAX_DEPTH:
            raise self._refuse(
                (), f"has schemas nested more than {MAX_DEPTH} levels deep, with those of $ref"
            )
        self._depth += 1
        node = self._read_schema(schema, path)
        self._depth -= 1
        return node

    def _read_schema(self, schema: Schema, path: tuple[str, ...]) -> Node:
        if schema is True or schema == {}:
            return text.any_value()
        if not isinstance(schema, dict):
            raise self._refuse(path, "is false, which no value is" if schema is False else "is not an object")
        keywords = {key: value for key, value in schema.items()
                    if key not in ANNOTATIONS and not key.startswith("x-")}  # fmt: skip
        for key in keywords:
            if key not in KNOWN:
                raise self._refuse(path, f"has the keyword {key!r}, which is not supported")
        is_nullable = keywords.pop("nullable", False) is True
        node = self._read_keywords(keywords, path) if keywords else text.any_value()
        return Either((node, text.NULL)) if is_nullable else node

    def _read_keywords(self, keywords: dict[str, Any], path: tuple[str, ...]) -> Node:
        for key in ("$ref", *COMBINATIONS):
            if key in keywords:
                others = [other for other in keywords if other not in (key, "type")]
                if others or (key == "$ref" and "type" in keywords):
                    other = others[0] if others else "type"
                    raise self._refuse(path, f"has {key!r} next to {other!r}, which is not supported")
                return self._read_combination(key, keywords[key], keywords.get("type"), path)
        if "const" in keywords or "enum" in keywords:
            return self._read_values(keywords, path)
        kinds = self._find_kinds(keywords, path)
        options = [self._read_kind(kind, keywords, path) for kind in kinds]
        return options[0] if len(options) == 1 else Either(tuple(options))

    def _find_kinds(self, keywords: Mapping[str, Any], path: tuple[str, ...]) -> list[str]:
        found = keywords.get("type")
        if found is None:  # the keywords tell
            found = [
                kind for kind, known in TYPE_KEYWORDS.items() if kind != "integer" and known & keywords.keys()
            ]
        kinds = [found] if isinstance(found, str) else found
        if not isinstance(kinds, list) or not kinds:
            raise self._refuse(path, f"has the type {json.dumps(found)}, which is not a type")
        for kind in kinds:
            if not isinstance(kind, str) or kind not in TYPE_KEYWORDS:
                raise self._refuse(path, f"has the type {json.dumps(kind)}, which is not supported")
        return kinds

    def _read_kind(self, kind: str, keywords: Mapping[str, Any], path: tuple[str, ...]) -> Node:
        if kind == "object":
            return self._read_object(keywords, path)
        if kind == "array":
            return self._read_array(keywords, path)
        if kind == "string":
            return self._read_string(keywords, path)
        if kind in ("integer", "number"):
            return self._read_number(keywords, path, kind == "integer")
        return text.BOOLEAN if kind == "boolean" else text.NULL

    def _read_object(self, keywords: Mapping[str, Any], path: tuple[str, ...]) -> Node:
        members = keywords.get("properties", {})
        required = keywords.get("required", [])
        others = keywords.get("additionalProperties", True)
        if not isinstance(members, dict):
            raise self._refuse((*path, "properties"), "is not an object")
        if not isinstance(required, list) or not all(isinstance(one, str) for one in required):
            raise self._refuse((*path, "required"), "is not a list of names")
        if "properties" not in keywords and not required:
            if others is False:
                return series("{}")
            return text.mapping(self.read(others, (*path, "additionalProperties")))
        missing = [one for one in required if one not in members]
        if missing and others is False:
            raise self._refuse(path, f"requires {missing[0]!r}, which it does not allow")
        listed = [(name, self.read(value, (*path, "properties", name)), name in required)
                  for name, value in members.items()]  # fmt: skip
        listed += [(name, self.read(others, (*path, "additionalProperties")), True) for name in missing]
        return text.record(listed)

    def _read_array(self, keywords: Mapping[str, Any], path: tuple[str, ...]) -> Node:
        least, most = self._read_range(keywords, "minItems", "maxItems", path)
        first = keywords.get("prefixItems", [])
        if not isinstance(first, list):
            raise self._refuse((*path, "prefixItems"), "is not a list")
        begun = [self.read(one, (*path, "prefixItems", str(at))) for at, one in enumerate(first)]
        item = keywords.get("items", True)
        if item is False and least <= len(begun):
            most = min(len(begun), len(begun) if most is None else most)
        if most is not None and most < len(begun):
            begun = begun[:most]
        after = text.NULL if most == len(begun) else self.read(item, (*path, "items"))
        return text.array(after, least, most, tuple(begun))

    def _read_string(self, keywords: Mapping[str, Any], path: tuple[str, ...]) -> Node:
        shape = [key for key in ("pattern", "format") if key in keywords]
        limits = [key for key in ("minLength", "maxLength") if key in keywords]
        if len(shape) > 1 or (shape and limits):
            second = (*shape, *limits)[1]
            raise self._refuse(path, f"has {shape[0]!r} next to {second!r}, which is not supported")
        if not shape:
            return text.string(*self._read_range(keywords, "minLength", "maxLength", path))
        value = keywords[shape[0]]
        where = self._locate((*path, shape[0]))
        if not isinstance(value, str):
            raise self._refuse((*path, shape[0]), "is not a text")
        if shape == ["pattern"]:
            self._count(value)
            return series('"', text.escape(parse_search(value, where)), '"')
        if value not in FORMATS:
            listed = ", ".join(FORMATS)
            raise self._refuse(
                path, f"has the format {value!r}, which is not supported", f"use one of: {listed}"
            )
        return series('"', text.escape(parse_regex(FORMATS[value], where)), '"')

    def _read_number(self, keywords: Mapping[str, Any], path: tuple[str, ...], is_integer: bool) -> Node:
        given = {key: self._read_bound(keywords, key, path) for key in sorted(TYPE_KEYWORDS["number"])}
        if not any(bound is not None for bound in given.values()):
            return text.INTEGER if is_integer else text.NUMBER
        step = smallest_step(tuple(given.values()), is_integer)
        low, above = given["minimum"], given["exclusiveMinimum"]
        high, below = given["maximum"], given["exclusiveMaximum"]
        if is_integer:  # the whole numbers inside the bounds
            above = None if above is None else above.to_integral_value("ROUND_FLOOR")
            below = None if below is None else below.to_integral_value("ROUND_CEILING")
        lows = [bound for bound in (low, None if above is None else above + step) if bound is not None]
        highs = [bound for bound in (high, None if below is None else below - step) if bound is not None]
        node = between(max(lows, default=None), min(highs, default=None), is_integer)
        if node is None:
            raise self._refuse(path, "has bounds between which there is no number")
        return node

    def _read_bound(self, keywords: Mapping[str, Any], key: str, path: tuple[str, ...]) -> Decimal | None:
        value = keywords.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= 1e300:
            raise self._refuse((*path, key), "is not a number")
        return Decimal(repr(value))

    def _read_range(
        self, keywords: Mapping[str, Any], low: str, high: str, path: tuple[str, ...]
    ) -> tuple[int, int | None]:
        least, most = keywords.get(low, 0), keywords.get(high)
        for key, value in ((low, least), (high, most)):
            if value is not None and (type(value) is not int or value < 0):
                raise self._refuse((*path, key), "is not a whole number from 0 on")
        if most is not None and most < least:
            raise self._refuse(path, f"has a {high} that is less than its {low}")
        return least, most

    def _read_values(self, keywords: Mapping[str, Any], path: tuple[str, ...]) -> Node:
        values = [keywords["const"]] if "const" in keywords else keywords["enum"]
        for listed in (values, keywords.get("enum", values)):
            if not isinstance(listed, list) or not listed:
                raise self._refuse((*path, "enum"), "is not a list of values")
        for key in keywords:
            if key not in ("type", "enum", "const"):
                raise self._refuse(path, f"has 'enum' or 'const' next to {key!r}, which is not supported")
        if "const" in keywords:
            self._count(self._dump(keywords["const"], (*path, "const")))
        if "enum" in keywords:
            # As texts, because in Python, True equals 1.
            known = [self._dump(value, (*path, "enum")) for value in keywords["enum"]]
            self._count("".join(known))
            same = set(known)
            values = [value for value in values if json.dumps(value) in same]
        if "type" in keywords:
            kinds = self._find_kinds(keywords, path)
            values = [value for value in values if any(_is_kind(value, kind) for kind in kinds)]
        if not values:
            raise self._refuse(path, "has no value that is allowed")
        return Either(tuple(map(text.literal, values)))

    def _dump(self, value: Any, path: tuple[str, ...]) -> str:
        try:
            return json.dumps(value, allow_nan=False)
        except ValueError:
            raise self._refuse(path, "has a number that is too large or not a number") from None

    def _count(self, value: str) -> None:
        self._characters += len(value)
        if self._characters > MAX_CHARACTERS:
            raise self._refuse(
                (),
                f"has patterns and values of enum and const of more than {MAX_CHARACTERS} characters in all",
            )

    def _read_combination(self, key: str, value: Any, kind: Any, path: tuple[str, ...]) -> Node:
        if key == "$ref":
            return self._resolve(value, path)
        if not isinstance(value, list) or not value:
            raise self._refuse((*path, key), "is not a list of schemas")
        if key == "allOf" and len(value) > 1:
            raise self._refuse(path, "has 'allOf' with several schemas, which is not supported")
        if kind is not None:  # it applies to each of them
            for one in value:
                if isinstance(one, dict) and one.get("type", kind) != kind:
                    raise self._refuse(path, f"has {key!r} next to another 'type', which is not supported")
            value = [
                {"type": kind, **one} if isinstance(one, dict) and "$ref" not in one else one for one in value
            ]
        if key == "oneOf" and not self._comparison.are_disjoint(
            [self._dereference(one, path) for one in value]
        ):
            if self._comparison.left < 0:
                raise self._refuse(
                    path, f"has 'oneOf' that takes more than {MAX_COMPARED} comparisons", "use anyOf"
                )
            raise self._refuse(
                path,
                "has 'oneOf' whose schemas may be valid at the same time, which is not supported",
                "use anyOf, or give each of them a required member with a const of its own",
            )
        return Either(tuple(self.read(one, (*path, key, str(at))) for at, one in enumerate(value)))

    def _resolve(self, reference: Any, path: tuple[str, ...]) -> Node:
        if not isinstance(reference, str) or reference not in self._rules:
            target = self._find(reference, path)
            rule = self._rules[reference] = Rule()
            rule.body = self.read(target, (str(reference),))
        return self._rules[reference]

    def _find(self, reference: Any, path: tuple[str, ...]) -> Schema:
        if not isinstance(reference, str) or not reference.startswith("#"):
            raise self._refuse(path, f"has the $ref {json.dumps(reference)}, which is not inside the schema")
        found = self._root
        for part in reference[1:].split("/")[1:]:
            name = part.replace("~1", "/").replace("~0", "~")
            if isinstance(found, list) and name.isdecimal() and int(name) < len(found):
                found = found[int(name)]
            elif isinstance(found, dict) and name in found:
                found = found[name]
            else:
                raise self._refuse(path, f"has the $ref {json.dumps(reference)}, which does not exist")
        return found

    def _dereference(self, schema: Schema, path: tuple[str, ...]) -> Schema:
        for _ in range(8):  # of one to the next
            if not isinstance(schema, dict) or "$ref" not in schema:
                break
            schema = self._find(schema["$ref"], path)
        return schema

    def _locate(self, path: tuple[str, ...]) -> str:
        return f"{self._name}: {'.'.join(path)}" if path else self._name

    def _refuse(self, path: tuple[str, ...], message: str, hint: str = "") -> UsageError:
        where = self._locate(path)
        return UsageError(
            f"{where} {message}", hint or "docs/forms.md lists what is supported", (self._name,)
        )


def _is_kind(value: Any, kind: str) -> bool:
    checks: dict[str, Callable[[Any], bool]] = {
        "object": lambda one: isinstance(one, dict),
        "array": lambda one: isinstance(one, list),
        "string": lambda one: isinstance(one, str),
        "integer": lambda one: type(one) is int,
        "number": lambda one: isinstance(one, int | float) and not isinstance(one, bool),
        "boolean": lambda one: isinstance(one, bool),
        "null": lambda one: one is None,
    }
    return checks[kind](value)
