"""Answers in a form over HTTP: `response_format`, `tools` and `tool_choice`, complete and as streams."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.serve.loopback import HttpAnswer, Server, parse_events
from tinyedge.serve.json_fields import JsonFields
from tinyedge.serve.messages import parse_messages
from tinyedge.text.tokenizer import Tokenizer

CHATS, RESPONSES = "/v1/chat/completions", "/v1/responses"
USER = {"role": "user", "content": "Turn on the lamp"}
SCHEMA = {"type": "object", "properties": {"on": {"type": "boolean"}}, "required": ["on"]}
LIGHT = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 6}, "level": {"type": "integer", "maximum": 100}},
    "required": ["name"],
}
FUNCTIONS: list[dict[str, Any]] = [
    {"name": "light", "description": "Switch a lamp", "parameters": LIGHT, "strict": True},
    {"name": "list_all"},
]
TOOLS = [{"type": "function", "function": function} for function in FUNCTIONS]
FLAT_TOOLS = [{"type": "function", **function} for function in FUNCTIONS]
FORMAT = {"type": "json_schema", "json_schema": {"name": "lamp", "schema": SCHEMA, "strict": True}}


@pytest.fixture(scope="module")
def server(json_bundle: Path) -> Iterator[Server]:
    for package in ("h11", "prometheus_client"):
        pytest.importorskip(package, reason="the server needs the extra `serve`")
    with Server(json_bundle, "--max-tokens", 1000, "--no-filter") as process:
        yield process
        server_exit = process.stop()
    assert (server_exit.code, server_exit.stderr) == (0, "")


def chat(server: Server, **fields: Any) -> HttpAnswer:
    return server.post(CHATS, {"messages": [USER], "max_tokens": 900, "seed": 1, **fields})


def choice(server: Server, **fields: Any) -> dict[str, Any]:
    answer = chat(server, **fields)
    assert answer.status == 200, answer.body
    (found,) = answer.json()["choices"]
    return dict(found)


def collect(events: list[Any]) -> tuple[str, list[dict[str, Any]], str]:
    """Join the deltas of a stream as OpenAI's clients do: text, calls, and the reason of the end."""
    text, reasons = "", []
    calls: list[dict[str, Any]] = []
    for event in events:
        for one in event["choices"]:
            delta = one["delta"]
            text += delta.get("content") or ""
            for part in delta.get("tool_calls", []):
                if part["index"] == len(calls):
                    assert part["type"] == "function"
                    calls.append({"id": part["id"], "name": part["function"]["name"], "arguments": ""})
                assert part["index"] == len(calls) - 1
                calls[-1]["arguments"] += part["function"]["arguments"]
            if one["finish_reason"]:
                reasons.append(one["finish_reason"])
    (reason,) = reasons
    return text, calls, reason


def test_json_mode_answers_with_an_object(server: Server) -> None:
    for seed in range(3):
        found = choice(server, response_format={"type": "json_object"}, seed=seed)
        if found["finish_reason"] == "stop":
            assert isinstance(json.loads(found["message"]["content"]), dict)


def test_a_schema_is_followed_in_a_complete_answer_and_in_a_stream(server: Server) -> None:
    found = choice(server, response_format=FORMAT)
    assert set(json.loads(found["message"]["content"])) == {"on"}
    assert found["finish_reason"] == "stop"
    events = list(parse_events(chat(server, response_format=FORMAT, stream=True).body))
    assert collect(events) == (found["message"]["content"], [], "stop")
    assert events[0]["choices"][0]["delta"]["role"] == "assistant"


def test_a_text_format_changes_nothing(server: Server) -> None:
    plain = choice(server, max_tokens=8)
    neutral: list[dict[str, Any]] = [
        {"response_format": {"type": "text"}},
        {"tools": []},
        {"tools": TOOLS, "tool_choice": "none"},
    ]
    for fields in neutral:
        assert choice(server, max_tokens=8, **fields) == plain


@pytest.mark.parametrize("parallel", [True, False])
def test_required_tools_are_called(server: Server, parallel: bool) -> None:
    counts = set()
    for seed in range(8):
        fields = {"tools": TOOLS, "tool_choice": "required", "parallel_tool_calls": parallel, "seed": seed}
        found = choice(server, **fields)
        calls = found["message"]["tool_calls"]
        assert (found["finish_reason"], found["message"]["content"]) == ("tool_calls", None)
        assert len({call["id"] for call in calls}) == len(calls)
        for call in calls:
            arguments = json.loads(call["function"]["arguments"])
            assert call["type"] == "function"
            assert ("name" in arguments) == (call["function"]["name"] == "light")
        counts.add(len(calls))
        text, streamed, reason = collect(list(parse_events(chat(server, stream=True, **fields).body)))
        functions = [call["function"] for call in calls]
        assert [{key: call[key] for key in ("name", "arguments")} for call in streamed] == functions
        assert (text, reason) == ("", "tool_calls")
        assert all(call["id"].startswith("call_") for call in streamed)
    assert (max(counts) > 1) == parallel


def test_a_named_tool_is_called_once(server: Server) -> None:
    for seed in range(4):
        choose = {"type": "function", "function": {"name": "list_all"}}
        (call,) = choice(server, tools=TOOLS, tool_choice=choose, seed=seed)["message"]["tool_calls"]
        assert call["function"] == {"name": "list_all", "arguments": "{}"}


def test_auto_calls_a_tool_where_the_model_begins_with_a_bracket(server: Server, json_model: bytes) -> None:
    bracket = Tokenizer(json_model).list_texts().index("{")
    for bias, is_call in ((100, True), (-100, False)):
        fields = {"tools": TOOLS, "logit_bias": {str(bracket): bias}, "max_tokens": 100}
        fields["parallel_tool_calls"] = False
        for seed in range(3):
            found = choice(server, seed=seed, **fields)
            assert ("tool_calls" in found["message"]) == is_call
            text, calls, reason = collect(
                list(parse_events(chat(server, seed=seed, stream=True, **fields).body))
            )
            assert (bool(calls), reason) == (is_call, found["finish_reason"])
            assert text == (found["message"]["content"] or "")
            assert is_call or text[:1] not in ("{", "[")


def test_an_answer_that_is_cut_says_so_and_loses_nothing(server: Server) -> None:
    assert choice(server, response_format=FORMAT, max_tokens=2)["finish_reason"] == "length"
    early = choice(server, tools=TOOLS, tool_choice="required", max_tokens=2)
    assert early["finish_reason"] == "length"
    assert early["message"]["content"]  # no tool is named yet
    for count in (2, 20, 30):
        fields = {"tools": TOOLS, "tool_choice": "required", "max_tokens": count}
        found = choice(server, **fields)
        text, calls, reason = collect(list(parse_events(chat(server, stream=True, **fields).body)))
        assert reason == found["finish_reason"]
        assert text == (found["message"]["content"] or "")
        assert [call["arguments"] for call in calls] == [
            call["function"]["arguments"] for call in found["message"].get("tool_calls", [])
        ]


def test_calls_and_their_results_can_be_sent_back() -> None:
    """As the model writes calls itself, in both APIs."""
    functions = [{"name": "f", "arguments": '{"a": 1}'}, {"name": "g", "arguments": "{}"}]
    calls = [{"id": "call_1", "type": "function", "function": function} for function in functions]
    first = '{"name": "f", "arguments": {"a": 1}}'
    second = '{"name": "g", "arguments": {}}'
    chats = [
        {"role": "assistant", "content": None, "tool_calls": calls[:1]},
        {"role": "assistant", "content": "Now:", "tool_calls": calls},
        {"role": "tool", "tool_call_id": "call_1", "content": "on"},
    ]
    assert parse_messages(JsonFields({"messages": chats}), "messages") == [
        ("assistant", first),
        ("assistant", f"Now: [{first}, {second}]"),
        ("tool", "on"),
    ]
    items = [
        {"type": "function_call", "call_id": "call_1", **functions[0]},
        {"type": "function_call_output", "call_id": "call_1", "output": "on"},
    ]
    assert parse_messages(JsonFields({"input": items}), "input") == [("assistant", first), ("tool", "on")]


@pytest.mark.parametrize(
    ("fields", "param", "message"),
    [
        ({"response_format": FORMAT, "tools": TOOLS}, "response_format", "cannot be used together"),
        ({"response_format": FORMAT, "stop": ["x"]}, "stop", "cannot be used with a form"),
        ({"tools": TOOLS, "ignore_eos": True}, "ignore_eos", "cannot be used with a form"),
        ({"tools": TOOLS, "min_tokens": 1}, "min_tokens", "cannot be used with a form"),
        ({"tool_choice": "required"}, "tool_choice", "requires tools"),
        (
            {"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "x"}}},
            "tool_choice",
            'no tool has the name "x"',
        ),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "x", "schema": {"enum": ["☃"]}},
                }
            },
            "response_format",
            "cannot spell: '☃'",
        ),
        (
            {"tools": [{"type": "function", "function": {"name": "a", "parameters": {**LIGHT, "not": {}}}}]},
            "tools",
            "tools: a: parameters has the keyword 'not'",
        ),
    ],
)
def test_what_cannot_be_done_is_an_error_about_its_field(
    server: Server, fields: dict[str, Any], param: str, message: str
) -> None:
    answer = chat(server, **fields)
    assert (answer.status, answer.json()["error"]["param"]) == (400, param)
    assert message in answer.json()["error"]["message"]


def test_responses_follow_a_schema(server: Server) -> None:
    flat = {"type": "json_schema", "name": "lamp", "schema": SCHEMA, "strict": True}
    answer = server.post(RESPONSES, {"input": "x", "text": {"format": flat}, "seed": 1}).json()
    (item,) = answer["output"]
    assert set(json.loads(item["content"][0]["text"])) == {"on"}
    assert answer["text"] == {"format": flat}


def test_responses_call_tools(server: Server) -> None:
    fields = {
        "input": "x",
        "tools": FLAT_TOOLS,
        "tool_choice": "required",
        "max_output_tokens": 900,
        "seed": 3,
    }
    answer = server.post(RESPONSES, fields).json()
    assert answer["status"] == "completed"
    assert {item["type"] for item in answer["output"]} == {"function_call"}
    assert answer["tools"] == FLAT_TOOLS
    raw = server.post(RESPONSES, {**fields, "stream": True}).body.decode()
    events = [json.loads(part.partition("data: ")[2]) for part in raw.strip().split("\n\n")]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    done = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    for items in (done, events[-1]["response"]["output"]):
        assert [(one["name"], one["arguments"]) for one in items] == [
            (one["name"], one["arguments"]) for one in answer["output"]
        ]
    for item in done:
        deltas = [
            event["delta"]
            for event in events
            if event["type"] == "response.function_call_arguments.delta" and event["item_id"] == item["id"]
        ]
        assert "".join(deltas) == item["arguments"]


def make_format(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}


# Too complex only after its first character, which is known when a token is chosen.
LATER = {"type": "string", "pattern": "^x" + "(a?){1000}" * 5 + "$"}
AT_ONCE = {"type": "string", "pattern": "^((a?){1000}){1000}$"}
TOO_COMPLEX = "the form is too complex: a text can be read in more than 4000 ways"


@pytest.mark.parametrize("schema", [LATER, AT_ONCE])
@pytest.mark.parametrize("is_stream", [False, True])
def test_a_form_that_is_too_complex_is_an_error_about_its_field(
    server: Server, schema: dict[str, Any], is_stream: bool
) -> None:
    function = {"name": "a", "parameters": {"type": "object", "properties": {"b": schema}, "required": ["b"]}}
    tools = [{"type": "function", "function": function}]
    requests: list[tuple[str, dict[str, Any]]] = [
        ("response_format", {"response_format": make_format(schema)}),
        ("tools", {"tools": tools, "tool_choice": "required"}),
    ]
    for param, fields in requests:
        answer = chat(server, stream=is_stream, **fields)
        if answer.status == 200:  # the stream had begun
            assert is_stream
            last = answer.body.decode().rstrip().split("\n\n")[-1]
            error = json.loads(last.removeprefix("data: "))["error"]
        else:
            assert answer.status == 400
            error = answer.json()["error"]
        assert (error["param"], error["type"]) == (param, "invalid_request_error")
        assert f"{param}: {TOO_COMPLEX}" in error["message"]


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"type": "string", "pattern": "(a?){5000}(a?){5000}"}, "repeats a part more than 1000 times"),
        ({"type": "string", "pattern": "0x|" * 3900}, "has more than 4096 characters"),
        ({"enum": ["a" * 70_000]}, "of more than 65536 characters in all"),
        (
            {"$ref": "#/$defs/d0", "$defs": {f"d{at}": {"$ref": f"#/$defs/d{at + 1}"} for at in range(400)}},
            "nested more than 64 levels deep",
        ),
    ],
)
def test_the_limits_of_a_schema_are_named(server: Server, schema: dict[str, Any], message: str) -> None:
    answer = chat(server, response_format=make_format(schema))
    error = answer.json()["error"]
    assert (answer.status, error["code"]) == (400, "unsupported_value")
    assert error["param"].startswith("response_format")
    assert message in error["message"]


def test_what_the_tokenizer_cannot_spell_is_an_error_that_begins_with_the_field(server: Server) -> None:
    answer = chat(server, response_format=make_format({"enum": ["☃"]}))
    assert answer.json()["error"]["message"].startswith("response_format: the form needs characters")
    flat = {"type": "json_schema", "name": "x", "schema": {"enum": ["☃"]}}
    answer = server.post(RESPONSES, {"input": "x", "text": {"format": flat}})
    assert answer.json()["error"]["message"].startswith("text: the form needs characters")
