"""Calls of tools as forms.

A call is the JSON that chat models were trained to write: {"name": "NAME", "arguments": {...}}. Several calls
are a list of them.
"""

from collections.abc import Sequence

from tinyedge.forms.grammar import EMPTY, Chars, Either, Node, Repeat, series
from tinyedge.forms.json_schema import parse_schema
from tinyedge.forms.json_text import COLON, COMMA, literal
from tinyedge.forms.tool import CALL_STARTS, Tool

MAX_CALLS = 16  # of one answer


def parse_tools(tools: Sequence[Tool], is_required: bool, is_parallel: bool) -> Node:
    """Return the texts that call tools.

    Args:
        tools: The tools.
        is_required: Whether an answer without a call is not allowed.
        is_parallel: Whether one answer may have several calls.

    Raises:
        UsageError: A schema is invalid or has an unsupported keyword; names the tool.
    """
    calls = []
    for tool in tools:
        no_arguments = {"type": "object", "properties": {}}
        schema = no_arguments if tool.parameters is None else tool.parameters
        arguments = parse_schema(schema, f"tools: {tool.name}: parameters")
        calls.append(
            series("{", literal("name"), COLON, literal(tool.name), COMMA,
                   literal("arguments"), COLON, arguments, "}")
        )  # fmt: skip
    call = Either(tuple(calls))
    options: list[Node] = [call]
    if is_parallel:
        options.append(series("[", call, Repeat(series(COMMA, call), 0, MAX_CALLS - 1), "]"))
    if not is_required:
        starts = tuple((ord(char), ord(char)) for char in CALL_STARTS)
        anything = Repeat(Chars((), is_negated=True))
        options += [EMPTY, series(Chars(starts, is_negated=True), anything)]
    return Either(tuple(options))
