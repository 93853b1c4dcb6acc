"""JSON Schema: every text is JSON that the schema allows, as the package `jsonschema` judges it."""

import datetime
import ipaddress
import json
import re
import uuid
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.forms.conftest import Draw
from tinyedge.core.errors import UsageError
from tinyedge.forms.automaton import Automaton, FormState
from tinyedge.forms.form import Form
from tinyedge.forms.grammar import CONSTANTS
from tinyedge.forms.json_schema import parse_schema
from tinyedge.forms.vocabulary import Vocabulary

jsonschema = pytest.importorskip("jsonschema", reason="it judges the texts; it is in the extra `dev`")

TREE = {
    "$defs": {
        "node": {
            "type": "object",
            "properties": {"v": {"type": "integer", "minimum": 0, "maximum": 9},
                           "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}},
            "required": ["v", "next"],
            "additionalProperties": False,
        }
    },
    "$ref": "#/$defs/node",
}  # fmt: skip
SCHEMAS: list[Any] = [
    True,
    TREE,
    {"type": "object", "properties": {"a": {"type": "boolean"}, "b": {"type": "null"}, "c": {"const": "x"}}},
    {"type": "object", "additionalProperties": {"type": "integer", "maximum": 5}},
    {"type": "object", "additionalProperties": False},
    {"type": "object", "required": ["a"], "additionalProperties": {"type": "boolean"}},
    {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "boolean"}], "items": False},
    {"type": "array", "prefixItems": [{"type": "boolean"}], "items": {"type": "null"}, "minItems": 2,
     "maxItems": 4},
    {"type": "array", "items": {"enum": [1, 1.0, True, "a\"b\\c", [1, {"k": None}], {}]}, "minItems": 1,
     "maxItems": 3},
    {"type": "array", "maxItems": 0},
    {"type": "string", "minLength": 2, "maxLength": 3},
    {"type": "string", "pattern": "^[a-c]+[\"\\\\]$"},
    {"type": ["string", "integer"], "maxLength": 2, "minimum": 3},
    {"properties": {"x": {"minimum": -2.5, "maximum": 2}}},
    {"oneOf": [{"type": "object", "properties": {"k": {"const": "a"}, "n": {"type": "integer"}},
                "required": ["k", "n"]},
               {"type": "object", "properties": {"k": {"const": "b"}}, "required": ["k"]}]},
    {"allOf": [{"type": "boolean"}], "title": "one"},
    {"type": "string", "anyOf": [{"enum": ["a"]}, {"maxLength": 1}]},
    {"type": "integer", "enum": [1, 2, "3"]},
]  # fmt: skip
SCALARS = st.one_of(
    st.sampled_from(
        [{"type": "boolean"}, {"type": "null"}, {"const": "süd"}, {"enum": ["on", 3, None, -0.5]}]
    ),
    st.tuples(st.integers(-300, 300), st.integers(0, 400)).map(
        lambda pair: {"type": "integer", "minimum": pair[0], "maximum": pair[0] + pair[1]}
    ),
    st.tuples(st.integers(-300, 300), st.integers(1, 400), st.sampled_from([1, 10, 1000])).map(
        lambda three: {
            "type": "number",
            "exclusiveMinimum": three[0] / three[2],
            "maximum": (three[0] + three[1]) / three[2],
        }
    ),
    st.tuples(st.integers(0, 3), st.integers(0, 4)).map(
        lambda pair: {"type": "string", "minLength": pair[0], "maxLength": sum(pair)}
    ),
)
RANDOM_SCHEMAS = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.tuples(inner, st.integers(0, 2), st.integers(0, 2)).map(
            lambda three: {
                "type": "array",
                "items": three[0],
                "minItems": three[1],
                "maxItems": three[1] + three[2],
            }
        ),
        st.tuples(
            st.dictionaries(st.sampled_from(["a", "b", "c", "d"]), inner, max_size=3),
            st.sets(st.sampled_from("abcd")),
        ).map(
            lambda pair: {
                "type": "object",
                "properties": pair[0],
                "required": sorted(pair[1] & pair[0].keys()),
                "additionalProperties": False,
            }
        ),
        st.lists(inner, min_size=1, max_size=2).map(lambda options: {"anyOf": options}),
    ),
    max_leaves=5,
)


def check(schema: Any, text: str) -> Any:
    value = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    jsonschema.validate(value, schema, cls=jsonschema.Draft202012Validator)
    return value


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: json.dumps(schema)[:60])
def test_texts_are_valid(schema: Any, draw_text: Draw) -> None:
    texts = [text for seed in range(8) if (text := draw_text(Form.json_schema(schema), seed)) is not None]
    assert texts
    for text in texts:
        check(schema, text)


@given(schema=RANDOM_SCHEMAS, seed=st.integers(0, 1000))
@settings(max_examples=60)
def test_texts_of_random_schemas_are_valid(schema: Any, seed: int, draw_text: Draw) -> None:
    text = draw_text(Form.json_schema(schema), seed)
    if text is not None:
        check(schema, text)


def test_white_space_is_one_space_after_a_comma_or_a_colon(draw_text: Draw) -> None:
    nulls = {"type": "array", "items": {"type": "null"}, "minItems": 2, "maxItems": 3}
    schema = {"type": "object", "properties": {"a": nulls, "b": nulls}, "required": ["a", "b"]}
    strings = re.compile(r'"(?:[^"\\]|\\.)*"')
    drawn = [draw_text(Form.json_schema(schema), seed) for seed in range(30)]
    outside = [strings.sub("", text) for text in drawn if text is not None]
    assert any(" " in text for text in outside)
    assert all(re.fullmatch(r"(?:[:,] |\S)*", text) for text in outside)


def test_objects_of_json_mode_are_objects(draw_text: Draw) -> None:
    texts = [text for seed in range(20) if (text := draw_text(Form.json_object(), seed)) is not None]
    assert texts
    assert all(isinstance(json.loads(text), dict) for text in texts)


def test_members_stand_in_the_order_of_the_schema(draw_text: Draw) -> None:
    names = ["z", "a", "m"]
    schema = {"type": "object", "properties": {name: {"type": "null"} for name in names}}
    found = set()
    for seed in range(40):
        members = list(json.loads(draw_text(Form.json_schema(schema), seed) or "{}"))
        assert members == [name for name in names if name in members]
        found.add(tuple(members))
    assert len(found) > 3  # each of them may be absent


@pytest.mark.parametrize(
    ("low", "high"), [(0, 0), (-5, 5), (7, 1234), (-1000, -99), (99, 101), (0, 10**15 - 1), (-1, 0)]
)
def test_whole_numbers_reach_both_bounds(low: int, high: int) -> None:
    automaton = build({"type": "integer", "minimum": low, "maximum": high})
    inside = {low, high, (low + high) // 2, min(high, low + 1), max(low, high - 1)}
    assert [number for number in inside if not accepts(automaton, str(number))] == []
    texts = {str(low - 1), str(high + 1), "", "-", "00", "+1", "-0", f"{high}.0"}
    assert [text for text in texts if accepts(automaton, text)] == []
    for number in range(max(low, -150) - 2, min(high, 150) + 2):
        assert accepts(automaton, str(number)) == (low <= number <= high)


@pytest.mark.parametrize(
    ("schema", "inside", "outside"),
    [
        ({"minimum": 0, "maximum": 1}, "0 1 0.5 0.000001 1.0 1.000000", "1.000001 -0.1 2 0. .5 01 1e0"),
        ({"minimum": 0.5, "exclusiveMaximum": 0.75}, "0.5 0.749999 0.50", "0.49 0.75 0 1"),
        ({"exclusiveMinimum": -1.5, "maximum": -1.25}, "-1.25 -1.499999 -1.3", "-1.5 -1.2 1.3 -1"),
        ({"minimum": 10}, "10 999 10.5 123456789012345", "9 9.99 -10 1234567890123456"),
        ({"maximum": -3}, "-3 -3.5 -44", "-2 3 0 -2.9"),
        ({}, "0 -0 -0.5 12.25 1e9 2E-7 1.5e+10", "1e999 01 +1 .5 1. 1234567890123456 --1 NaN"),
    ],
)
def test_numbers_have_the_bounds_of_their_schema(schema: dict[str, float], inside: str, outside: str) -> None:
    automaton = build({"type": "number", **schema})
    assert [text for text in inside.split() if not accepts(automaton, text)] == []
    assert [text for text in outside.split() if accepts(automaton, text)] == []


class AsciiTokens:
    """A tokenizer whose pieces are the characters of ASCII."""

    def list_texts(self) -> list[str]:
        return [chr(code) for code in range(0x80)]


def build(schema: Any) -> Automaton:
    return Automaton(parse_schema(schema), Vocabulary(AsciiTokens()))  # type: ignore[arg-type]


def accepts(automaton: Automaton, text: str) -> bool:
    """Whether a form has a text, character by character."""
    state: FormState | None = automaton.start
    for char in text:
        state = automaton.step(state, char) if state else None
    return state is not None and state.accepts


def test_a_pattern_may_stand_anywhere_in_a_string() -> None:
    for pattern, inside, outside in (
        ("b\\d", "b1 xb1 b1x xxb12", "b x1 1b"),
        ("^b\\d", "b1 b1x", "xb1"),
        ("b\\d$", "b1 xb1", "b1x"),
        ("^b|d$", "b xd bx", "x db"),
    ):
        automaton = build({"type": "string", "pattern": pattern})
        assert [text for text in inside.split() if not accepts(automaton, f'"{text}"')] == []
        assert [text for text in outside.split() if accepts(automaton, f'"{text}"')] == []


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("date", datetime.date.fromisoformat),
        ("time", datetime.time.fromisoformat),
        ("date-time", datetime.datetime.fromisoformat),
        ("uuid", uuid.UUID),
        ("ipv4", ipaddress.IPv4Address),
    ],
)
def test_formats_can_be_read(name: str, read: Any, draw_text: Draw) -> None:
    for seed in range(15):
        text = draw_text(Form.json_schema({"type": "string", "format": name}), seed)
        if text is not None:
            read(json.loads(text))


def test_texts_of_pydantics_schemas_are_its_models(draw_text: Draw) -> None:
    pydantic = pytest.importorskip("pydantic")
    from typing import Literal

    class Lamp(pydantic.BaseModel):  # type: ignore[misc, name-defined]
        kind: Literal["lamp"]
        level: int = pydantic.Field(ge=0, le=100)

    class Blind(pydantic.BaseModel):  # type: ignore[misc, name-defined]
        kind: Literal["blind"]
        note: str | None = None

    class Command(pydantic.BaseModel):  # type: ignore[misc, name-defined]
        """What to do."""

        device: Lamp | Blind = pydantic.Field(discriminator="kind")
        when: datetime.date
        place: tuple[float, float]
        extra: dict[str, int] = pydantic.Field(default_factory=dict)
        inner: list["Command"] = pydantic.Field(max_length=1)

    form = Form.json_schema(Command.model_json_schema())
    texts = [text for seed in range(25) if (text := draw_text(form, seed)) is not None]
    assert texts
    for text in texts:
        Command.model_validate_json(text)


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        (False, "json_schema is false, which no value is"),
        ([], "json_schema is not an object"),
        ({"not": {}}, "json_schema has the keyword 'not', which is not supported"),
        ({"properties": {"a": {"multipleOf": 2}}}, "json_schema: properties.a has the keyword 'multipleOf'"),
        ({"items": {"uniqueItems": True}}, "json_schema: items has the keyword 'uniqueItems'"),
        ({"type": "strange"}, "has the type \"strange\""),
        ({"type": "string", "format": "iri"}, "has the format 'iri'"),
        ({"type": "string", "pattern": "("}, "json_schema: pattern is not a regular expression"),
        ({"type": "string", "pattern": "a", "maxLength": 3}, "has 'pattern' next to 'maxLength'"),
        ({"type": "integer", "minimum": 3, "maximum": 2}, "has bounds between which there is no number"),
        ({"type": "integer", "minimum": True}, "minimum is not a number"),
        ({"type": "array", "minItems": 3, "maxItems": 2}, "has a maxItems that is less than its minItems"),
        ({"enum": []}, "enum is not a list of values"),
        ({"const": 1, "enum": 1}, "enum is not a list of values"),
        ({"$ref": []}, "has the $ref [], which is not inside the schema"),
        ({"type": "string", "enum": [1]}, "has no value that is allowed"),
        ({"$ref": "other.json"}, "which is not inside the schema"),
        ({"$ref": "#/$defs/x"}, "which does not exist"),
        ({"$ref": "#/$defs/x", "minimum": 1}, "has '$ref' next to 'minimum'"),
        ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, "may be valid at the same time"),
        ({"oneOf": [{"required": 1}, {"type": 1, "properties": 1}]}, "may be valid at the same time"),
        ({"oneOf": [{"required": ["a"], "properties": {"a": {"const": at}}} for at in range(400)]},
         "json_schema has 'oneOf' that takes more than 100000 comparisons"),
        ({"allOf": [{}, {}]}, "has 'allOf' with several schemas"),
        ({"required": ["a"], "properties": {}, "additionalProperties": False}, "requires 'a'"),
        ({"type": "object", "patternProperties": {}}, "'patternProperties'"),
    ],
)  # fmt: skip
def test_what_is_not_supported_is_an_error_that_names_it(schema: Any, reason: str) -> None:
    with pytest.raises(UsageError, match=re.escape(reason)) as failure:
        Form.json_schema(schema)
    assert failure.value.message.startswith("json_schema")
    assert failure.value.hint


def link(count: int, wrap: bool) -> dict[str, Any]:
    """Definitions of which each names the next, alone or as a member."""
    links: list[dict[str, Any]] = [{"$ref": f"#/$defs/d{number + 1}"} for number in range(count)]
    if wrap:
        links = [{"type": "object", "properties": {"a": one}} for one in links]
    return {"$ref": "#/$defs/d0", "$defs": dict(enumerate_names([*links, {"type": "null"}]))}


def enumerate_names(schemas: list[dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    return [(f"d{number}", schema) for number, schema in enumerate(schemas)]


def nest(count: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "null"}
    for _ in range(count):
        schema = {"type": "array", "items": schema}
    return schema


@pytest.mark.parametrize("schema", [link(400, False), link(600, True), nest(64), nest(200)])
def test_schemas_inside_each_other_have_a_limit(schema: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"^json_schema has schemas nested more than 64 levels deep"):
        Form.json_schema(schema)


def test_schemas_inside_each_other_are_read_up_to_the_limit(vocabulary: Vocabulary) -> None:
    for schema in (link(62, False), link(20, True), nest(63)):
        Automaton(Form.json_schema(schema).build(), vocabulary)


def test_many_schemas_side_by_side_are_no_depth(vocabulary: Vocabulary) -> None:
    names = [f"n{number}" for number in range(200)]
    properties: dict[str, Any] = {name: {"type": "null"} for name in names}
    Automaton(parse_schema({"type": "object", "properties": properties}), vocabulary)


def test_what_makes_a_wide_object_impossible_is_found() -> None:
    """Each optional member is one level more in the form."""
    properties = {f"n{number}": {"type": "null"} for number in range(600)}
    spelled = type("Spelled", (), {"has_all_bytes": False, "characters": frozenset("n0123456789")})()
    spelled.constants = len(CONSTANTS), frozenset()
    spelled.has_piece = spelled.can_spell = spelled.characters.__contains__
    with pytest.raises(UsageError, match="json_schema: the form needs characters that the tokenizer cannot"):
        Automaton(parse_schema({"type": "object", "properties": properties}), spelled, "json_schema")


@pytest.mark.parametrize(
    "schema",
    [
        {"enum": ["a" * 70_000]},
        {"const": "a" * 70_000},
        {"enum": [f"{number:06}" for number in range(9000)]},
        {"properties": {"a": {"enum": ["a" * 40_000]}, "b": {"enum": ["b" * 40_000]}}},
        {"properties": {f"n{number}": {"pattern": "a" * 4000} for number in range(20)}},
    ],
    ids=["one", "const", "many", "two", "patterns"],
)
def test_texts_of_a_schema_have_a_limit_in_all(schema: dict[str, Any]) -> None:
    expected = "^json_schema has patterns and values of enum and const of more than 65536 characters in all"
    with pytest.raises(UsageError, match=expected):
        Form.json_schema(schema)


def test_values_that_are_nested_too_deeply_are_one_error() -> None:
    value: Any = None
    for _ in range(3000):
        value = [value]
    with pytest.raises(UsageError, match=r"^json_schema is nested too deeply"):
        Form.json_schema({"const": value})


@pytest.mark.parametrize(
    "schema", [{"const": float("inf")}, {"enum": [1, float("-inf")]}, {"const": {"a": [float("nan")]}}]
)
def test_a_value_that_json_cannot_have_is_refused(schema: Any) -> None:
    """Python reads 1e400 as infinity."""
    with pytest.raises(UsageError, match=r"(const|enum).* has a number that is too large"):
        parse_schema(schema)


@pytest.mark.parametrize("bound", [float("nan"), float("inf")])
def test_a_bound_that_json_cannot_have_is_refused(bound: float) -> None:
    with pytest.raises(UsageError, match=r"minimum is not a number"):
        parse_schema({"type": "number", "minimum": bound})
