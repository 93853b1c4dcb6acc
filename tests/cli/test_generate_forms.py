"""`tinyedge generate` with a form: the answer alone, or one error."""

import json
from pathlib import Path

import pytest

from tests.support.program import assert_refused, tinyedge

PROMPT = ("--prompt", "The captain", "--seed", "1")
SCHEMA = {"type": "object", "properties": {"on": {"type": "boolean"}}, "required": ["on"]}


@pytest.fixture
def schema(tmp_path: Path) -> Path:
    file = tmp_path / "schema.json"
    file.write_text(json.dumps(SCHEMA))
    return file


def test_the_output_is_the_answer_alone(json_bundle: Path, schema: Path) -> None:
    done = tinyedge("generate", json_bundle, *PROMPT, "--json-schema", schema)
    assert (done.returncode, done.stderr) == (0, "")
    assert set(json.loads(done.stdout)) == {"on"}
    assert done.stdout.startswith("{")
    again = tinyedge("generate", json_bundle, *PROMPT, "--json-schema", schema, "--json")
    found = json.loads(again.stdout)
    assert (found["text"] + "\n", found["finish_reason"]) == (done.stdout, "stop")


@pytest.mark.parametrize("choices", ["yes, no", '["yes", "no"]'])
def test_choices_are_separated_by_commas_or_a_list_in_json(json_bundle: Path, choices: str) -> None:
    assert tinyedge("generate", json_bundle, *PROMPT, "--choices", choices).stdout in ("yes\n", "no\n")


def test_an_answer_that_max_tokens_cuts_is_an_error_and_is_not_shown(
    json_bundle: Path, tmp_path: Path
) -> None:
    flags = (*PROMPT, "--regex", "[a-z]{40}", "--max-tokens", "2")
    error = assert_refused(tinyedge("generate", json_bundle, *flags), 1)
    assert error == "error: the answer is not complete after --max-tokens 2"
    file = tmp_path / "out.json"
    done = tinyedge("generate", json_bundle, *flags, "--json", file)
    assert assert_refused(done, 1) == error
    assert json.loads(file.read_text())["finish_reason"] == "length"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--regex", "a(?=b)"), "--regex cannot be used: look-ahead and look-behind are not supported"),
        (("--regex", "a", "--choices", "a"), "--regex and --choices are mutually exclusive"),
        (("--choices", "a,,b"), "--choices has a text that is empty"),
        (("--choices", "a,a"), "--choices has 'a' twice"),
        (("--choices", "[1, 2]"), "--choices has what is not a text: 1"),
        (("--choices", "a," + "b" * 70_000), "--choices has more than 65536 characters in all"),
        (("--regex", "a" * 5000), "--regex has more than 4096 characters"),
        (("--regex", "a{2000}"), "--regex repeats a part more than 1000 times"),
        (("--regex", "(a" * 300 + ")?" * 300), "--regex has groups and repetitions nested more than 64"),
        (("--regex", "((a?){1000}){1000}"), "--regex: the form is too complex"),
        (("--regex", "[☃☂]"), "--regex: no text that the tokenizer can spell has the form"),
        (("--choices", "[1"), "--choices is not a list in JSON"),
        (("--choices", "☃"), "--choices: the form needs characters that the tokenizer cannot spell: '☃'"),
        (("--regex", "a", "--stop", "b"), "--stop cannot be used with a form"),
        (("--json-schema", "none.json"), "--json-schema none.json cannot be read"),
    ],
)
def test_what_cannot_be_done_is_one_error(json_bundle: Path, flags: tuple[str, ...], message: str) -> None:
    error = assert_refused(tinyedge("generate", json_bundle, *PROMPT, *flags), 2)
    assert error.startswith(f"error: {message}")


def test_an_unsupported_keyword_is_named_with_its_place(json_bundle: Path, schema: Path) -> None:
    schema.write_text(json.dumps({"properties": {"a": {"type": "integer", "multipleOf": 5}}}))
    done = tinyedge("generate", json_bundle, *PROMPT, "--json-schema", schema)
    expected = "error: --json-schema: properties.a has the keyword 'multipleOf', which is not supported"
    assert assert_refused(done, 2) == expected
    schema.write_text("{")
    done = tinyedge("generate", json_bundle, *PROMPT, "--json-schema", schema)
    assert "is not JSON" in assert_refused(done, 2)
    schema.write_text('{"type": "number", "minimum": NaN}')
    done = tinyedge("generate", json_bundle, *PROMPT, "--json-schema", schema)
    assert "NaN is not a JSON number" in assert_refused(done, 2)


def test_schemas_that_are_nested_too_deeply_are_one_error(json_bundle: Path, schema: Path) -> None:
    links = {f"d{number}": {"$ref": f"#/$defs/d{number + 1}"} for number in range(400)}
    expected = "error: --json-schema has schemas nested more than 64 levels deep, with those of $ref"
    for text in (
        json.dumps({"$ref": "#/$defs/d0", "$defs": links}),
        '{"type": "array", "items": ' * 300 + "{}" + "}" * 300,
    ):
        schema.write_text(text)
        done = tinyedge("generate", json_bundle, *PROMPT, "--json-schema", schema)
        assert assert_refused(done, 2) == expected
    schema.write_text("[" * 100_000 + "]" * 100_000)
    done = tinyedge("generate", json_bundle, *PROMPT, "--json-schema", schema)
    assert assert_refused(done, 2) == f"error: --json-schema {schema} is nested too deeply"
