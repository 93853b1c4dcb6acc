"""The messages of a conversation, and the prompt that they become.

In: the `messages` of a chat request, or the `input` of a response request. Out: role and content of each, and
the prompt. Fields that do not change the content are ignored: clients send back the messages that they
received, with fields that their library added.
"""

from typing import Any

from tinyedge.serve.errors import ApiError
from tinyedge.serve.json_fields import JsonFields, format_value

MAX_MESSAGES = 256
ROLES = ("system", "developer", "user", "assistant")
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
