"""The messages of a conversation, and the prompt that they become.

In: the `messages` of a chat request, or the `input` of a response request. Out: role and content of each, and
the prompt. Fields that do not change the content are ignored: clients send back the messages that they
received, with fields that their library added.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

from tinyedge.serve.errors import ApiError
from tinyedge.serve.json_fields import JsonFields, format_value

MAX_MESSAGES = 256
ROLES = ("system", "developer", "user", "assistant")
SETUP_ROLES = ("system", "developer")
TEXT_PARTS = ("text", "input_text", "output_text")  # of OpenAI's two APIs

Message = tuple[str, str]  # role and content


def parse_messages(fields: JsonFields, name: str) -> list[Message]:
    """Take the field `name`, a list of messages.

    Raises:
        ApiError: It is missing or invalid.
    """
    value = fields.take(name)
    if value is None:
        raise fields.make_error(name, f"{name} is missing", "missing_required_parameter")
    if not isinstance(value, list) or not 0 < len(value) <= MAX_MESSAGES:
        raise fields.make_error(name, f"{name} must be a list of 1 to {MAX_MESSAGES}")
    return [_parse_message(one, f"{name}[{index}].") for index, one in enumerate(value)]


def apply_plain_template(messages: list[Message]) -> str:
    """Convert messages to a prompt: each is a line, and the answer is the next line.

    The model was not trained on conversations, so roles are not part of the prompt. If the last message is
    the assistant's, the answer continues its line.

    Args:
        messages: Role and content of each message.
    """
    lines = "\n".join(content for _, content in messages)
    return lines if messages[-1][0] == "assistant" else f"{lines}\n"


def apply_template(
    messages: list[Message], encode_turns: Callable[[Sequence[str]], Sequence[int]] | None, max_turns: int = 0
) -> str | tuple[int, ...]:
    """Convert messages to a prompt, in the template that the model was trained with.

    All messages before an answer are one prompt, whatever their role. If the last message is the assistant's,
    the answer continues it.

    Args:
        messages: Role and content of each message.
        encode_turns: Encodes prompt, completion, prompt, and so on; None for a model that was trained on plain
            text.
        max_turns: Largest number of prompts in a conversation that the model was trained on, or 0 if it is
            not known. Of a longer conversation, it gets the end, and the messages that set up the model.

    Returns:
        Token ids, or a text for a model that was trained on plain text.
    """
    if encode_turns is None:
        return apply_plain_template(messages)
    turns: list[str] = []  # prompts are at even indices
    for role, content in messages:
        is_answer = role == "assistant"
        if is_answer == (len(turns) % 2 == 0) and turns:
            turns[-1] += f"\n{content}"
        else:
            turns += ["", content] if is_answer and not turns else [content]
    prompts = -(-len(turns) // 2)
    if 0 < max_turns < prompts:
        setup = [
            content for role, content in itertools.takewhile(lambda one: one[0] in SETUP_ROLES, messages)
        ]
        turns = turns[2 * (prompts - max_turns) :]
        turns[0] = "\n".join((*setup, turns[0]))
    tokens = tuple(encode_turns(turns))
    return tokens[:-1] if messages[-1][0] == "assistant" else tokens  # without EOS, which would end it


def _parse_message(value: Any, path: str) -> Message:
    if not isinstance(value, dict):
        raise ApiError(400, f"{path[:-1]} must be an object", code="invalid_value", param=path[:-1])
    fields = JsonFields(value, path)
    fields.require_neutral("type", "message")  # others are calls of tools and their results
    role = fields.take("role")
    if role not in ROLES:
        raise fields.make_error(
            "role", f"role must be system, developer, user or assistant, not {format_value(role)}"
        )
    content = fields.take("content")
    if content is None:
        raise fields.make_error("content", "content is missing", "missing_required_parameter")
    if isinstance(content, list):
        content = "".join(_parse_part(fields, part) for part in content)
    text = fields.require_text("content", content)
    # They would be a part of the conversation; all others describe the message.
    fields.require_neutral("refusal", "")
    fields.require_neutral("tool_calls", [])
    fields.require_neutral("function_call")
    return role, text


def _parse_part(fields: JsonFields, part: Any) -> str:
    if not isinstance(part, dict) or part.get("type") not in TEXT_PARTS or part.get("text") is None:
        raise fields.make_error("content", 'a part of content must be {"type": "text", "text": ...}')
    return fields.require_text("content", part["text"])
