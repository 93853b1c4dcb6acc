"""OpenAI's response API: the text is that of chat, and the official client understands the answer."""

import json
from typing import TYPE_CHECKING, Any

import pytest

from bench.serve.loopback import Server

if TYPE_CHECKING:
    from openai import OpenAI

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # raised by the client

PROMPT = "The captain"
RESPONSES, CHAT = "/v1/responses", "/v1/chat/completions"


def chat(server: Server, *messages: str, **fields: Any) -> Any:
    listed = [{"role": "user", "content": text} for text in messages]
    return server.post(CHAT, {"messages": listed, **fields}).json()


def test_the_text_is_that_of_chat(client: "OpenAI", server: Server) -> None:
    expected = chat(server, "Be kind.", PROMPT, max_tokens=9, temperature=0)
    found = client.responses.create(
        model="tinyedge", instructions="Be kind.", input=PROMPT, max_output_tokens=9, temperature=0
    )
    assert found.output_text == expected["choices"][0]["message"]["content"]
    assert found.usage is not None
    assert found.usage.total_tokens == expected["usage"]["total_tokens"]
    assert (found.instructions, found.max_output_tokens) == ("Be kind.", 9)


def test_a_stream_has_the_same_text(client: "OpenAI") -> None:
    fields: Any = {"model": "tinyedge", "input": PROMPT, "temperature": 0, "max_output_tokens": 9}
    expected = client.responses.create(**fields)
    *events, last = client.responses.create(**fields, stream=True)
    assert last.type == f"response.{expected.status}"
    assert last.response.output_text == expected.output_text
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert "".join(deltas) == expected.output_text
    assert [event.sequence_number for event in (*events, last)] == [*range(len(events) + 1)]


def test_the_clients_helper_reads_a_stream(client: "OpenAI") -> None:
    """It needs an answer that is complete."""
    bias: Any = {"logit_bias": {"1": 100}, "min_tokens": 5}
    with client.responses.stream(model="tinyedge", input=PROMPT, extra_body=bias) as stream:
        text = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        assert stream.get_final_response().output_text == text != ""


def test_why_an_answer_ended(server: Server) -> None:
    fields: dict[str, Any] = {"input": PROMPT, "max_output_tokens": 3, "seed": 1}
    cut = server.post(RESPONSES, {**fields, "min_tokens": 3}).json()
    assert (cut["status"], cut["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    complete = server.post(RESPONSES, {**fields, "logit_bias": {"1": 100}}).json()
    assert (complete["status"], complete["incomplete_details"]) == ("completed", None)


def test_a_conversation_can_be_continued(client: "OpenAI", server: Server) -> None:
    first = client.responses.create(model="tinyedge", input=PROMPT, max_output_tokens=5, temperature=0)
    messages: Any = [
        {"role": "user", "content": [{"type": "input_text", "text": PROMPT}]},
        *(item.model_dump() for item in first.output),
        {"role": "user", "content": "And", "type": "message"},
    ]
    found = client.responses.create(model="tinyedge", input=messages, max_output_tokens=5, temperature=0)
    expected = chat(server, PROMPT, first.output_text, "And", max_tokens=5, temperature=0)
    assert found.output_text == expected["choices"][0]["message"]["content"]


def test_neutral_fields(server: Server) -> None:
    neutral: dict[str, Any] = {
        **{"store": True, "tools": [], "tool_choice": "auto", "parallel_tool_calls": True, "metadata": {}},
        **{"text": {"format": {"type": "text"}}, "truncation": "auto", "reasoning": None, "include": []},
        **{"previous_response_id": None, "background": False, "max_output_tokens": 10**9},
    }
    fields = {"input": PROMPT, "seed": 1, "logit_bias": {"1": 100}}
    assert server.post(RESPONSES, {**fields, **neutral}).status == 200


@pytest.mark.parametrize(
    "fields",
    [
        *({}, {"input": None}, {"input": []}, {"input": 1}, {"input": [{"role": "user"}]}),
        *({"input": [{"type": "function_call_output", "call_id": "x"}]}, {"input": [{"type": "reasoning"}]}),
        *({"input": "x", "previous_response_id": "resp_1"}, {"input": "x", "background": True}),
        *({"input": "x", "tools": [{"type": "web_search"}]}, {"input": "x", "max_output_tokens": 0}),
        *({"input": "x", "text": {"format": {"type": "json_object"}}}, {"input": "x", "text": "plain"}),
        *({"input": "x", "instructions": 1}, {"input": "x", "messages": []}, {"input": "x", "store": 1}),
        *({"input": "x", "top_logprobs": 2}, {"input": "x " * 900}, {"input": "x", "model": "gpt-5"}),
    ],
    ids=json.dumps,
)
def test_invalid_requests(server: Server, fields: dict[str, Any]) -> None:
    answer = server.post(RESPONSES, fields)
    assert answer.status in (400, 404)
    assert answer.json()["error"]["param"]
