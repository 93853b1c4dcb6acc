"""The JSON of the checklist: its JSON Schema, its page, and what `tinyedge check` really prints agree."""

import copy
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.program import tinyedge

jsonschema = pytest.importorskip("jsonschema", reason="needs the extra `dev`")

DOCS = Path(__file__).parents[2] / "docs"
SCHEMA: dict[str, Any] = json.loads((DOCS / "schemas" / "check.schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


@pytest.fixture(scope="module")
def printed(micro_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `tinyedge check --json` prints, with a text."""
    text = tmp_path_factory.mktemp("text") / "a.txt"
    text.write_text("The teacher found a silver key near the river for Marina.\n" * 20)
    done = tinyedge("check", micro_bundle, "--text", f"en={text}", "--json")
    value: dict[str, Any] = json.loads(done.stdout)
    return value


def list_fields(schema: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield path and description of each field, as docs/check.md writes them."""
    for name, field in schema.get("properties", {}).items():
        yield prefix + name, field["description"]
        yield from list_fields(field, f"{prefix}{name}.")
        yield from list_fields(field.get("items", {}), f"{prefix}{name}[].")


def list_objects(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield each object with fixed fields."""
    if "properties" in schema:
        yield schema
    for field in schema.get("properties", {}).values():
        yield from list_objects(field)
        yield from list_objects(field.get("items", {}))


def test_the_schema_is_valid_and_allows_no_other_field() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    for described in list_objects(SCHEMA):
        assert described["additionalProperties"] is False
        assert described["required"] == list(described["properties"])


def test_the_page_lists_exactly_the_fields_of_the_schema() -> None:
    section = (DOCS / "check.md").read_text().partition("\n## The JSON\n")[2]
    assert re.findall(r"^\| `([^`]+)` \| (.*) \|$", section, re.MULTILINE) == list(list_fields(SCHEMA))


def test_what_the_command_prints_is_valid(printed: dict[str, Any]) -> None:
    VALIDATOR.validate(printed)
    assert [len(printed[name]) > 0 for name in ("lines", "quality", "gates", "samples")] == [True] * 4


@pytest.mark.parametrize(
    "change",
    [
        lambda value: value.update(verdict="maybe"),
        lambda value: value.update(schema="tinyedge.check/2"),
        lambda value: value.update(extra=1),
        lambda value: value["bundle"].pop("sha256"),
        lambda value: value["bundle"].update(model_id="F1A845E8080A"),
        lambda value: value["lines"][0].update(mark="unknown"),
        lambda value: value["quality"][0].update(unknown_bytes=5),
        lambda value: value["gates"][0].update(unit="GB"),
        lambda value: value["samples"][0].update(seed=None),
    ],
)
def test_a_wrong_value_is_not_valid(printed: dict[str, Any], change: Callable[[dict[str, Any]], Any]) -> None:
    value = copy.deepcopy(printed)
    change(value)
    assert not VALIDATOR.is_valid(value)
