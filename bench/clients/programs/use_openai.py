"""OpenAI's client for Python."""

import json
from typing import Any, Literal

import openai
import pydantic
from checks import BASE, FORMS_BASE, KEY, MODEL, PROMPT, TOKENS, chat, complete, require_equal, run_checks

client: Any = openai.OpenAI(base_url=BASE, api_key=KEY, max_retries=0)
forms: Any = openai.OpenAI(base_url=FORMS_BASE, api_key=KEY, max_retries=0)
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


class Lamp(pydantic.BaseModel):
    """Switch a lamp."""

    room: Literal["kitchen", "hall"]
    level: int = pydantic.Field(ge=0, le=100)
    dimmed: bool | None


ASK: dict[str, Any] = {"model": MODEL, "max_tokens": 200, "seed": 1, "messages": [USER]}


def try_parse() -> None:
    """Get an object of a class, from a complete answer and from a stream."""
    first = forms.chat.completions.parse(response_format=Lamp, **ASK).choices[0].message.parsed
    with forms.chat.completions.stream(response_format=Lamp, **ASK) as stream:
        second = stream.get_final_completion().choices[0].message.parsed
    require_equal((type(first), second), (Lamp, first))


def try_json_object() -> None:
    """Use JSON mode."""
    found = forms.chat.completions.create(response_format={"type": "json_object"}, **ASK).choices[0]
    if found.finish_reason == "stop":
        require_equal(type(json.loads(found.message.content)), dict)


def try_tools() -> None:
    """Call a tool, as an object of a class, and in a stream."""
    tools = [openai.pydantic_function_tool(Lamp)]
    choice = forms.chat.completions.parse(tools=tools, tool_choice="required", **ASK).choices[0]
    calls = choice.message.tool_calls
    require_equal((choice.finish_reason, type(calls[0].function.parsed_arguments)), ("tool_calls", Lamp))
    with forms.chat.completions.stream(tools=tools, tool_choice="required", **ASK) as stream:
        again = stream.get_final_completion().choices[0].message.tool_calls
    expected = [call.function.parsed_arguments for call in calls]
    require_equal([call.function.parsed_arguments for call in again], expected)


def try_cut_answer() -> None:
    """Notice that max_tokens cuts an answer."""
    try:
        forms.chat.completions.parse(response_format=Lamp, **{**ASK, "max_tokens": 2})
    except openai.LengthFinishReasonError:
        return
    raise AssertionError("an answer of 2 tokens is accepted")


def try_responses_parse() -> None:
    """Get an object of a class, and call a tool, with the response API."""
    fields = {"model": MODEL, "input": PROMPT, "max_output_tokens": 200}
    require_equal(type(forms.responses.parse(text_format=Lamp, **fields).output_parsed), Lamp)
    tools = [openai.pydantic_function_tool(Lamp)["function"] | {"type": "function"}]
    fields |= {"tools": tools, "tool_choice": "required"}
    item = forms.responses.create(**fields).output[0]
    require_equal((item.type, item.name), ("function_call", "Lamp"))
    Lamp.model_validate_json(item.arguments)
    done = [
        event
        for event in forms.responses.create(stream=True, **fields)
        if event.type.endswith("arguments.done")
    ]
    Lamp.model_validate_json(done[0].arguments)


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
        "parse": try_parse,
        "json_object": try_json_object,
        "tools": try_tools,
        "a cut answer": try_cut_answer,
        "responses, parse and tools": try_responses_parse,
    },
)
