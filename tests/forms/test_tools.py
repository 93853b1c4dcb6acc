"""Calls of tools as forms."""

import json

import pytest

from tests.forms.conftest import Draw
from tinyedge.core.errors import UsageError
from tinyedge.forms.form import Form
from tinyedge.forms.tool import Tool

LIGHT = Tool("light", {"type": "object", "properties": {"on": {"type": "boolean"}}, "required": ["on"]})
STOP = Tool("stop", None)


def draw_texts(draw: Draw, form: Form, count: int = 30) -> list[str]:
    return [text for seed in range(count) if (text := draw(form, seed)) is not None]


@pytest.mark.parametrize("is_parallel", [True, False])
def test_a_required_call_names_a_tool_with_its_arguments(draw_text: Draw, is_parallel: bool) -> None:
    names, lists = set(), 0
    for text in draw_texts(draw_text, Form.tools([LIGHT, STOP], is_required=True, is_parallel=is_parallel)):
        found = json.loads(text)
        lists += isinstance(found, list)
        for call in found if isinstance(found, list) else [found]:
            assert list(call) == ["name", "arguments"]
            names.add(call["name"])
            assert (list(call["arguments"]) == ["on"]) == (call["name"] == "light")
    assert names == {"light", "stop"}
    assert (lists > 0) == is_parallel


def test_an_optional_call_may_be_any_text_that_does_not_look_like_one(draw_text: Draw) -> None:
    texts = draw_texts(draw_text, Form.tools([STOP], is_required=False, is_parallel=True), 60)
    others = [text for text in texts if text[:1] not in ("{", "[")]
    assert others
    for text in set(texts) - set(others):
        json.loads(text)


def test_an_unsupported_schema_names_its_tool() -> None:
    tool = Tool("light", {"type": "object", "properties": {"a": {"not": {}}}})
    with pytest.raises(UsageError, match=r"tools: light: parameters: properties\.a has the keyword 'not'"):
        Form.tools([STOP, tool], is_required=True, is_parallel=False)
