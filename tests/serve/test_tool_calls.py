"""Calls of tools in a text that arrives in parts, however it is split."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyedge.serve.tool_calls import ToolCallReader

ARGUMENTS = ["{}", '{"a": "}]\\"{", "b": [1, {"c": []}]}', '{"x":"\\\\"}']
TEXTS = [
    f'{{"name": "first", "arguments": {ARGUMENTS[1]}}}',
    f'[{{"name":"first","arguments":{ARGUMENTS[1]}}}, {{"name": "a b", "arguments": {ARGUMENTS[2]}}}]',
    f'[{{"name": "x", "arguments": {ARGUMENTS[0]}}}]',
    "Plain text, {not} a call",
    "",
]


def split(text: str, cuts: list[int]) -> list[str]:
    at = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    return [text[start:end] for start, end in itertools.pairwise(at)]


@given(text=st.sampled_from(TEXTS), cuts=st.lists(st.integers(0, 200), max_size=12))
def test_calls_do_not_depend_on_the_parts(text: str, cuts: list[int]) -> None:
    reader = ToolCallReader(has_tools=True)
    deltas = [delta for part in split(text, cuts) for delta in reader.push(part)] + reader.flush()
    if text[:1] in ("{", "["):
        value = json.loads(text)
        expected = [
            (call["name"], call["arguments"]) for call in (value if isinstance(value, list) else [value])
        ]
        assert [(call.name, json.loads(call.arguments)) for call in reader.calls] == expected
        assert not any(call.arguments.startswith(" ") for call in reader.calls)
        assert reader.content == ""
    else:
        assert (reader.content, reader.calls) == (text, [])
    for number, call in enumerate(reader.calls):
        own = [delta for delta in deltas if delta.call == number]
        assert (own[0].name, own[0].call_id, own[0].text) == (call.name, call.call_id, "")
        assert "".join(delta.text for delta in own) == call.arguments
    assert "".join(delta.text for delta in deltas if delta.call is None) == reader.content


@pytest.mark.parametrize("text", TEXTS)
def test_without_tools_everything_is_text(text: str) -> None:
    reader = ToolCallReader(has_tools=False)
    assert "".join(delta.text for delta in reader.push(text)) == reader.content == text
    assert reader.calls == []


def test_a_call_that_is_cut_before_its_name_is_text_and_later_a_call() -> None:
    reader = ToolCallReader(has_tools=True)
    assert reader.push('{"name": "li') == []
    assert [delta.text for delta in reader.flush()] == ['{"name": "li'] == [reader.content]
    reader = ToolCallReader(has_tools=True)
    reader.push('{"name": "light", "arguments": {"on": tr')
    assert reader.flush() == []
    assert [(call.name, call.arguments) for call in reader.calls] == [("light", '{"on": tr')]
