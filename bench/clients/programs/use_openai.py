"""OpenAI's client for Python."""

from typing import Any

import openai
from checks import BASE, KEY, MODEL, PROMPT, TOKENS, chat, complete, require_equal, run_checks

client: Any = openai.OpenAI(base_url=BASE, api_key=KEY, max_retries=0)
FIELDS = {"model": MODEL, "temperature": 0, "max_tokens": TOKENS}
USER = {"role": "user", "content": PROMPT}


def try_completion() -> None:
    """Complete a text."""
    require_equal(client.completions.create(prompt=PROMPT, **FIELDS).choices[0].text, complete())


def try_stream() -> None:
    """Stream a completion."""
    parts = client.completions.create(prompt=PROMPT, stream=True, **FIELDS)
    require_equal("".join(part.choices[0].text for part in parts), complete())


def try_token_ids() -> None:
    """Send token ids and read log probabilities."""
    found = client.completions.create(prompt=[0, 20, 30], echo=True, logprobs=1, **FIELDS).choices[0].logprobs
    require_equal((found.tokens[0], found.token_logprobs[0]), ("<s>", None))


def try_second_turn() -> None:
    """Send a received message back."""
    first = client.chat.completions.create(messages=[USER], **FIELDS).choices[0].message
    second = {"role": "user", "content": "And"}
    messages = [USER, first.model_dump(), second]
    found = client.chat.completions.create(messages=messages, **FIELDS).choices[0].message.content
    require_equal(found, chat(PROMPT, first.content, "And"))


def try_chat_stream() -> None:
    """Stream a chat answer with usage."""
    options = {"include_usage": True}
    parts = list(
        client.chat.completions.create(messages=[USER], stream=True, stream_options=options, **FIELDS)
    )
    require_equal("".join(part.choices[0].delta.content for part in parts if part.choices), chat(PROMPT))
    if not parts[-1].usage.total_tokens:
        raise AssertionError("no usage")


def try_responses() -> None:
    """Use the response API."""
    fields = {"model": MODEL, "input": PROMPT, "temperature": 0, "max_output_tokens": TOKENS}
    require_equal(client.responses.create(**fields).output_text, chat(PROMPT))
    *_, last = client.responses.create(stream=True, **fields)
    require_equal(last.response.output_text, chat(PROMPT))


def try_models() -> None:
    """List the models."""
    require_equal([model.id for model in client.models.list()], [MODEL])


run_checks(
    "openai",
    {
        "models": try_models,
        "completions": try_completion,
        "stream": try_stream,
        "token ids": try_token_ids,
        "chat, second turn": try_second_turn,
        "chat stream": try_chat_stream,
        "responses": try_responses,
    },
)
