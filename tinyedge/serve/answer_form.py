"""The form of an answer that a request asks for: `response_format`, `tools` and `tool_choice`.

In: fields of a request to one of OpenAI's two APIs, which write the same things differently. Out: a form.
Does not know models.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tinyedge.core.errors import UsageError
from tinyedge.forms.form import Form
from tinyedge.forms.tool import Tool
from tinyedge.serve.errors import ApiError
from tinyedge.serve.json_fields import JsonFields, format_value

REPEATED_FIELDS = ("text", "tools", "tool_choice", "parallel_tool_calls")
MAX_TOOLS = 128
NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


@dataclass(frozen=True)
class AnswerForm:
    """What an answer may be."""

    form: Form | None = None
    """Its form; None for any text."""
    has_tools: bool = False
    """Whether the form has calls of tools."""
    repeated: Mapping[str, Any] = field(default_factory=dict)
    """Fields of a response request that its answer repeats."""


ANY_TEXT = AnswerForm()


def parse_answer_form(
    fields: JsonFields, text_form: Form | None, text_field: str, is_flat: bool
) -> AnswerForm:
    """Take the fields about tools, and combine them with the form of a text.

    Args:
        fields: The request.
        text_form: Result of `parse_text_format`.
        text_field: Name of its field.
        is_flat: Whether a tool is written as in the response API, without an object `function`.

    Raises:
        ApiError: A field is invalid or not supported.
    """
    tools = parse_tools(fields, is_flat)
    choice = fields.take("tool_choice")
    is_parallel = fields.take("parallel_tool_calls")
    if is_parallel is not None and not isinstance(is_parallel, bool):
        raise fields.make_error("parallel_tool_calls", "parallel_tool_calls must be true or false")
    if choice == "none" or (not tools and choice in (None, "auto")):
        return AnswerForm(text_form)
    if not tools:
        raise fields.make_error("tool_choice", "tool_choice requires tools")
    if text_form:
        raise fields.make_error(
            text_field,
            f"{text_field} and tools cannot be used together: omit one of them, or set tool_choice to none",
            "unsupported_value",
        )
    name = _parse_choice(fields, choice, is_flat)
    if name is not None:
        tools = [tool for tool in tools if tool.name == name]
        if not tools:
            raise fields.make_error("tool_choice", f"tool_choice: no tool has the name {format_value(name)}")
    form = make_form(
        fields,
        "tools",
        lambda: Form.tools(
            tools,
            is_required=choice not in (None, "auto"),
            is_parallel=is_parallel is not False and name is None,
        ),
    )
    return AnswerForm(form, has_tools=True)


def parse_text_format(fields: JsonFields, name: str, is_flat: bool) -> Form | None:
    """Take the format of a text; None for any text.

    Args:
        fields: The request, or the object that has the field.
        name: Name of the field.
        is_flat: Whether a schema is written as in the response API, without an object `json_schema`.

    Raises:
        ApiError: It is invalid or not supported.
    """
    value = fields.take(name)
    if value is None:
        return None
    if not isinstance(value, dict):
        raise fields.make_error(name, f"{name} must be an object, not {format_value(value)}")
    options = JsonFields(value, f"{name}.")
    kind = options.take("type")
    form: Form | None
    if kind == "json_schema":
        form = _parse_json_schema(options, name, is_flat)
    elif kind in ("text", "json_object"):
        form = Form.json_object() if kind == "json_object" else None
    else:
        raise fields.make_error(
            name, f"{name} has the type {format_value(kind)}, not text, json_object or json_schema"
        )
    options.reject_unknown()
    return form


def make_form(fields: JsonFields, name: str, make: Callable[[], Form]) -> Form:
    """Return the form that a function makes; its errors are about the field `name`.

    Raises:
        ApiError: The form is invalid.
    """
    try:
        return make()
    except UsageError as failure:
        raise fields.make_error(name, join_hint(failure), "unsupported_value") from None


def join_hint(failure: UsageError) -> str:
    """Return an error and its hint in one line."""
    return f"{failure.message}: {failure.hint}" if failure.hint else failure.message


def _parse_json_schema(options: JsonFields, name: str, is_flat: bool) -> Form:
    inner = options
    if not is_flat:
        value = options.take("json_schema")
        if not isinstance(value, dict):
            raise options.make_error("json_schema", f"{name}.json_schema must be an object with a schema")
        inner = JsonFields(value, f"{name}.json_schema.")
    _take_name(inner)
    _take_description(inner)
    inner.take_boolean("strict")  # an answer is always valid
    schema = inner.take("schema")
    if not is_flat:
        inner.reject_unknown()
    if schema is None:
        return Form.json_object()
    return make_form(inner, "schema", lambda: Form.json_schema(schema))


def parse_tools(fields: JsonFields, is_flat: bool) -> list[Tool]:
    """Take the field `tools`.

    Args:
        fields: The request.
        is_flat: Whether a tool is written as in the response API, without an object `function`.

    Raises:
        ApiError: It is invalid.
    """
    value = fields.take("tools")
    if value is None:
        return []
    if not isinstance(value, list) or len(value) > MAX_TOOLS:
        raise fields.make_error("tools", f"tools must be a list of at most {MAX_TOOLS}")
    tools = [_parse_tool(one, f"tools[{index}].", is_flat) for index, one in enumerate(value)]
    if len({tool.name for tool in tools}) < len(tools):
        raise fields.make_error("tools", "two tools have the same name")
    return tools


def _parse_tool(value: Any, path: str, is_flat: bool) -> Tool:
    if not isinstance(value, dict):
        raise ApiError(400, f"{path[:-1]} must be an object", code="invalid_value", param=path[:-1])
    fields = JsonFields(value, path)
    kind = fields.take("type")
    if kind != "function":
        raise fields.make_error(
            "type", f"{path}type {format_value(kind)} is not supported: only function is", "unsupported_value"
        )
    inner = fields
    if not is_flat:
        function = fields.take("function")
        if not isinstance(function, dict):
            raise fields.make_error("function", f"{path}function must be an object with a name")
        fields.reject_unknown()
        inner = JsonFields(function, f"{path}function.")
    name = _take_name(inner)
    _take_description(inner)
    inner.take_boolean("strict")  # arguments are always valid
    parameters = inner.take("parameters")
    inner.reject_unknown()
    if parameters == {}:
        parameters = None
    if parameters is not None and (not isinstance(parameters, dict) or parameters.get("type") != "object"):
        raise inner.make_error(
            "parameters", f"{path}parameters must be a JSON Schema of the type object", "unsupported_value"
        )
    return Tool(name, parameters)


def _parse_choice(fields: JsonFields, choice: Any, is_flat: bool) -> str | None:
    """Return the name of the tool that must be called; None if any may be."""
    if choice in (None, "auto", "required"):
        return None
    if isinstance(choice, dict) and choice.get("type") == "function":
        named = choice if is_flat else choice.get("function")
        if isinstance(named, dict) and isinstance(named.get("name"), str):
            return str(named["name"])
    raise fields.make_error(
        "tool_choice",
        f"tool_choice {format_value(choice)} is not supported: use auto, none, required or a function",
        "unsupported_value",
    )


def _take_name(fields: JsonFields) -> str:
    value = fields.take("name")
    if not isinstance(value, str) or not NAME.fullmatch(value):
        raise fields.make_error("name", "a name must have 1 to 64 letters, digits, _, - or .")
    return value


def _take_description(fields: JsonFields) -> None:
    """Take a description: the model does not see it."""
    value = fields.take("description")
    if value is not None:
        fields.require_text("description", value)
