"""Requests as Home Assistant's integrations send them, against a server with `--home`.

The shapes are those of `local_openai` (chat completions as a stream) and of `openai_conversation` (the
response API as a stream), with the tools and the system message of Home Assistant's Assist.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.serve.loopback import HttpAnswer, Server, parse_events
from tests.support.command_bundle import LIGHT_ON
from tests.support.program import assert_refused, tinyedge
from tinyedge.core.sampling import COMMAND_TOKENS, DEFAULT_TOKENS
from tinyedge.corpus.commands.answer import Command
from tinyedge.corpus.commands.home import MAX_NAME, Home
from tinyedge.forms.tool import Tool
from tinyedge.serve.errors import ApiError
from tinyedge.serve.home_commands import (
    MAX_NAMES,
    SENTENCES,
    CommandReply,
    HomeCommands,
    fit_arguments,
    parse_static_context,
)
from tinyedge.serve.requests import RequestLimits, parse_chat

CHATS, RESPONSES = "/v1/chat/completions", "/v1/responses"
NAMES = {"type": "string"}
LIST = {"type": "array", "items": {"type": "string"}}
TARGET = {"name": NAMES, "area": NAMES, "floor": NAMES, "domain": LIST, "device_class": LIST}
LIGHT = {
    "color": NAMES,
    "temperature": {"type": "integer", "minimum": 0},
    "brightness": {
        "type": "integer",
        "minimum": 0,
        "maximum": 100,
        "description": "The brightness percentage",
    },
}


def make_tool(name: str, properties: dict[str, Any]) -> dict[str, Any]:
    """A tool as Home Assistant describes an intent; some schemas have keywords that forms do not support."""
    parameters = {
        "type": "object",
        "properties": properties,
        "required": [],
        "anyOf": [{"required": ["name"]}],
    }
    return {"name": name, "description": f"Executes {name}", "parameters": parameters}


FUNCTIONS = [
    make_tool("HassTurnOn", TARGET),
    make_tool("HassTurnOff", TARGET),
    make_tool("HassLightSet", {**TARGET, **LIGHT}),
    {
        "name": "GetDateTime",
        "description": "Provides the date",
        "parameters": {"type": "object", "properties": {}},
    },
]
TOOLS = [{"type": "function", "function": function} for function in FUNCTIONS]
FLAT_TOOLS = [{"type": "function", "strict": False, **function} for function in FUNCTIONS]
SYSTEM = """You are a voice assistant for Home Assistant.
Answer in plain text. Keep it simple and to the point.
When controlling Home Assistant always call the intent tools.
Static Context: An overview of the areas and the devices in this smart home:
- names: Bedroom Lamp, Nightlight
  domain: light
  areas: Bedroom
- names: 'Yes'
  domain: switch
- names: "Lámpara: cocina"
  domain: light
  areas: Cocina, Comedor
- names: A device whose long name does not fit into one line of the message and
    needs two
  domain: fan
"""


def reply(language: str = "en") -> CommandReply:
    tools = [Tool(function["name"], function["parameters"]) for function in FUNCTIONS]
    return CommandReply(tuple(tools), SENTENCES[language])


# --- without a server ---


def test_names_are_read_in_the_system_message() -> None:
    long = "A device whose long name does not fit into one line of the message and needs two"
    names = {"Bedroom Lamp": "light", "Nightlight": "light", "Yes": "switch"}
    names |= {"Lámpara: cocina": "light", long: "fan"}
    assert parse_static_context(SYSTEM) == Home(tuple(names.items()), ("Bedroom", "Cocina", "Comedor"))
    assert parse_static_context("You are a voice assistant.") == Home()


def test_a_name_that_is_too_long_for_a_home_is_left_out() -> None:
    names = [letter * length for letter, length in (("a", MAX_NAME), ("b", MAX_NAME + 1))]
    assert parse_static_context(f"- names: {', '.join(names)}\n") == Home(((names[0], ""),))


def test_a_request_with_too_many_names_is_refused() -> None:
    text = f"- names: {', '.join(f'Lamp {number}' for number in range(MAX_NAMES))}\n"
    assert len(parse_static_context(text).devices) == MAX_NAMES
    with pytest.raises(ApiError, match=f"lists {MAX_NAMES + 1} names, at most {MAX_NAMES} are allowed"):
        parse_static_context(f"{text}  areas: Kitchen\n")


def test_the_prompt_has_the_sentence_and_the_names_that_it_mentions() -> None:
    messages = [
        ("system", SYSTEM),
        ("user", "hello"),
        ("assistant", "Hi"),
        ("user", "turn on the nightlight"),
    ]
    assert HomeCommands(None).format_prompt(messages) == "light=Nightlight; turn on the nightlight"
    own = HomeCommands(Home((("Nightlight", "switch"),)))
    assert own.format_prompt(messages) == "switch=Nightlight; turn on the nightlight"


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (LIGHT_ON, ("HassTurnOn", {"name": "Bedroom Lamp"})),
        (
            Command("HassTurnOff", {"area": "Bedroom"}, "light"),
            ("HassTurnOff", {"domain": ["light"], "area": "Bedroom"}),
        ),
        (
            Command("HassLightSet", {"area": "Bedroom", "brightness": 50}, "light"),
            ("HassLightSet", {"domain": ["light"], "area": "Bedroom", "brightness": 50}),
        ),
    ],
)
def test_an_answer_becomes_a_call_that_the_tool_accepts(
    command: Command, expected: tuple[str, dict[str, Any]]
) -> None:
    call = json.loads(reply().translate(command.to_text()))
    assert (call["name"], call["arguments"]) == expected


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('{"intent":"unknown","slots":{}}', "unknown"),
        ('{"intent":"HassTurnOn","slots":{"na', "unknown"),  # cut
        ("hello", "unknown"),
        ('{"intent":"HassGetState","slots":{"name":"Bedroom Lamp"}}', "impossible"),  # no such tool
        ('{"intent":"HassTurnOn","slots":{"name":"Bedroom Lamp","volume_level":3}}', "impossible"),
        ('{"intent":"HassLightSet","slots":{"name":"Bedroom Lamp","brightness":"max"}}', "impossible"),
    ],
)
@pytest.mark.parametrize("language", ["en", "es"])
def test_what_is_no_call_is_a_sentence(text: str, sentence: str, language: str) -> None:
    assert reply(language).translate(text) == getattr(SENTENCES[language], sentence)


def test_a_slot_that_a_tool_does_not_have_is_never_left_out() -> None:
    """Without its area, the command would reach every light of the home."""
    command = Command("HassTurnOff", {"area": "Bedroom"}, "light")
    only_name = {"type": "object", "properties": {"name": NAMES}}
    assert fit_arguments(command, only_name) is None
    area = {"type": "object", "properties": {"area": NAMES}}
    assert fit_arguments(command, area) == {"area": "Bedroom"}  # the domain is only implied
    assert fit_arguments(Command("HassTurnOff", {"domain": "light"}), area) is None
    assert fit_arguments(Command("HassNevermind"), None) == {}


def test_tools_of_several_apis_have_a_namespace() -> None:
    tools = (Tool("assist__HassTurnOn", FUNCTIONS[0]["parameters"]),)
    call = json.loads(CommandReply(tools, SENTENCES["en"]).translate(LIGHT_ON.to_text()))
    assert call["name"] == "assist__HassTurnOn"


@pytest.mark.parametrize(
    ("sentence", "result", "expected"),
    [
        ("turn on the lamp in the bedroom", {"response_type": "action_done", "speech": {}}, "Done."),
        ("enciende la luz de la cocina", {"response_type": "action_done"}, "Hecho."),
        (
            "turn on the lamp",
            {"error": "MatchFailedError", "error_text": "No such lamp"},
            "That did not work. No such lamp",
        ),
        ("turn on the lamp", {"response_type": "error"}, "That did not work."),
    ],
)
def test_after_a_call_its_result_is_said(sentence: str, result: dict[str, Any], expected: str) -> None:
    messages = [("user", sentence), ("assistant", "{}"), ("tool", json.dumps(result))]
    assert HomeCommands(Home()).prepare_reply(messages, []).text == expected


@pytest.mark.parametrize("tools", [[], [{"type": "function", "function": FUNCTIONS[0]}]])
def test_an_answer_has_room_for_long_names(tools: list[Any]) -> None:
    """With tools or without: a text has fewer tokens unless the request says how many."""
    limits = RequestLimits(1000, 500, encode_turns=lambda turns: [5], commands=HomeCommands(Home()))
    body = {"messages": [{"role": "user", "content": "turn on the lamp"}], "tools": tools}
    assert parse_chat(json.dumps(body).encode(), limits).max_tokens == COMMAND_TOKENS
    limits, body["tools"] = RequestLimits(1000, 500, encode_turns=lambda turns: [5]), []
    assert parse_chat(json.dumps(body).encode(), limits).max_tokens == DEFAULT_TOKENS


# --- with a server ---


@pytest.fixture(scope="module")
def server(command_bundle: Path) -> Iterator[Server]:
    for package in ("h11", "prometheus_client"):
        pytest.importorskip(package, reason="the server needs the extra `serve`")
    with Server(command_bundle, "--home", "request") as process:
        yield process
        server_exit = process.stop()
    assert (server_exit.code, server_exit.stderr) == (0, "")


def ask_chat(server: Server, *messages: dict[str, Any], **fields: Any) -> HttpAnswer:
    """A request of the integration `local_openai`; its users' messages are lists of parts."""
    body = {
        "model": "tinyedge",
        "temperature": 0.6,
        "parallel_tool_calls": False,
        "messages": [{"role": "system", "content": SYSTEM}, *messages],
        "tools": TOOLS,
        "stream": True,
        **fields,
    }
    answer = server.post(CHATS, body)
    assert answer.status == 200, answer.body
    return answer


USER = {"role": "user", "content": [{"type": "text", "text": "turn on the bedroom lamp"}]}


def test_a_streamed_chat_is_one_call(server: Server) -> None:
    events = list(parse_events(ask_chat(server, USER).body))
    deltas = [choice["delta"] for event in events for choice in event["choices"]]
    calls = [call for delta in deltas for call in delta.get("tool_calls", [])]
    assert deltas[0]["role"] == "assistant"
    assert not any(delta.get("content") for delta in deltas)
    assert (calls[0]["function"]["name"], calls[0]["type"]) == ("HassTurnOn", "function")
    arguments = "".join(call["function"]["arguments"] for call in calls)
    assert json.loads(arguments) == {"name": "Bedroom Lamp"}
    reasons = [choice["finish_reason"] for event in events for choice in event["choices"]]
    assert [reason for reason in reasons if reason] == ["tool_calls"]
    complete = ask_chat(server, USER, stream=False).json()["choices"][0]
    (call,) = complete["message"]["tool_calls"]
    assert (call["function"]["name"], json.loads(call["function"]["arguments"])) == (
        "HassTurnOn",
        {"name": "Bedroom Lamp"},
    )


def test_the_result_of_a_call_is_answered_with_a_sentence(server: Server) -> None:
    (call,) = ask_chat(server, USER, stream=False).json()["choices"][0]["message"]["tool_calls"]
    result = json.dumps({"speech": {}, "response_type": "action_done", "data": {"success": []}})
    messages: list[dict[str, Any]] = [
        USER,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": call["id"], "content": result},
    ]
    choice = ask_chat(server, *messages, stream=False).json()["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("Done.", "stop")
    events = parse_events(ask_chat(server, *messages).body)
    said = [choice["delta"].get("content") or "" for event in events for choice in event["choices"]]
    assert "".join(said) == "Done."


def test_tool_choice_none_calls_nothing(server: Server) -> None:
    message = ask_chat(server, USER, stream=False, tool_choice="none").json()["choices"][0]["message"]
    assert message["content"] == SENTENCES["en"].impossible
    assert "tool_calls" not in message


def test_without_tools_the_answer_is_the_intent(server: Server) -> None:
    answer = ask_chat(server, USER, stream=False, tools=[]).json()
    assert answer["choices"][0]["message"]["content"] == LIGHT_ON.to_text()
    assert answer["mentions"] == [{"kind": "light", "name": "Bedroom Lamp"}]
    assert server.get("/v1/models/tinyedge").json()["home"] == "request"


@pytest.mark.parametrize("tools", [TOOLS, []])
def test_a_command_of_too_many_words_is_an_error_about_the_messages(server: Server, tools: list[Any]) -> None:
    answer = server.post(CHATS, {"messages": [{"role": "user", "content": "a " * 101}], "tools": tools})
    error = answer.json()["error"]
    assert (answer.status, error["param"]) == (400, "messages")
    assert error["message"].startswith("messages has a command of 101 words, at most 100 are allowed")


def test_the_response_api_streams_the_same_call(server: Server) -> None:
    """A request of `openai_conversation`, with the model `tinyedge`."""
    body: dict[str, Any] = {
        "model": "tinyedge",
        "input": [
            {"type": "message", "role": "developer", "content": SYSTEM},
            {"type": "message", "role": "user", "content": "turn on the bedroom lamp"},
        ],
        "max_output_tokens": 3000,
        "top_p": 1.0,
        "temperature": 1.0,
        "user": "01JABCDEF",
        "store": False,
        "stream": True,
        "tools": FLAT_TOOLS,
    }
    answer = server.post(RESPONSES, body)
    assert answer.status == 200, answer.body
    lines = [line for line in answer.body.decode().splitlines() if line.startswith("data: ")]
    events = {event["type"]: event for event in (json.loads(line[6:]) for line in lines)}
    item = events["response.output_item.added"]["item"]
    assert (item["type"], item["name"]) == ("function_call", "HassTurnOn")
    assert json.loads(events["response.function_call_arguments.done"]["arguments"]) == {
        "name": "Bedroom Lamp"
    }
    done = {
        "type": "function_call_output",
        "call_id": item["call_id"],
        "output": '{"response_type": "action_done"}',
    }
    call = {**events["response.output_item.done"]["item"]}
    again = server.post(RESPONSES, {**body, "input": [*body["input"], call, done], "stream": False})
    assert again.status == 200, again.body
    assert again.json()["output"][0]["content"][0]["text"] == "Done."


def test_a_model_that_was_not_trained_on_pairs_is_refused(micro_bundle: Path, tmp_path: Path) -> None:
    error = assert_refused(tinyedge("serve", micro_bundle, "--port", "0", "--home", "request"), 2)
    assert error == f"error: --home: the model of {micro_bundle} was not trained on pairs"
    error = assert_refused(tinyedge("serve", micro_bundle, "--port", "0", "--home", ""), 2)
    assert error == "error: --home is empty"  # a script's unset variable would turn the commands off
    file = tmp_path / "home.json"
    error = assert_refused(tinyedge("serve", micro_bundle, "--port", "0", "--home", file), 2)
    assert error.startswith(f"error: --home {file} cannot be read")
