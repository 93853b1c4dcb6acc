"""The official `openai` client, as users call it."""

from typing import TYPE_CHECKING

import pytest

from bench.serve.loopback import Server

if TYPE_CHECKING:
    from openai import OpenAI
    from openai.types.chat import ChatCompletionMessageParam

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # raised by the client

PROMPT = "The captain"


def test_completions(client: "OpenAI", server: Server) -> None:
    found = client.completions.create(model="tinyedge", prompt=PROMPT, max_tokens=12, seed=3, logprobs=2)
    assert found.choices[0].text == server.complete(PROMPT, max_tokens=12, seed=3).text
    assert found.usage is not None
    assert found.usage.total_tokens == found.usage.prompt_tokens + found.usage.completion_tokens
    logprobs = found.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.tokens is not None
    assert len(logprobs.tokens) == found.usage.completion_tokens


def test_streamed_completions(client: "OpenAI", server: Server) -> None:
    stream = client.completions.create(
        model="tinyedge",
        prompt=PROMPT,
        max_tokens=12,
        seed=3,
        stream=True,
        stream_options={"include_usage": True},
        extra_body={"top_k": 20, "min_p": 0.01},
    )
    parts = list(stream)
    text = "".join(choice.text for part in parts for choice in part.choices)
    assert text == server.complete(PROMPT, max_tokens=12, seed=3, top_k=20, min_p=0.01).text
    assert parts[-1].usage is not None
    assert parts[-1].usage.completion_tokens > 0


def test_chat_completions(client: "OpenAI") -> None:
    messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": PROMPT}]
    complete = client.chat.completions.create(model="tinyedge", messages=messages, max_tokens=10, seed=1)
    stream = client.chat.completions.create(
        model="tinyedge", messages=messages, max_tokens=10, seed=1, stream=True
    )
    text = "".join(part.choices[0].delta.content or "" for part in stream)
    assert text == complete.choices[0].message.content


def test_models(client: "OpenAI") -> None:
    assert [model.id for model in client.models.list()] == ["tinyedge"]
    assert client.models.retrieve("tinyedge").owned_by == "tinyedge"


def test_errors_become_exceptions_of_the_client(client: "OpenAI") -> None:
    import openai

    with pytest.raises(openai.BadRequestError, match="temperature must be") as failure:
        client.completions.create(model="tinyedge", prompt=PROMPT, temperature=9)
    assert (failure.value.param, failure.value.code) == ("temperature", "invalid_value")
    with pytest.raises(openai.NotFoundError, match="there is no model"):
        client.completions.create(model="gpt-4", prompt=PROMPT)
