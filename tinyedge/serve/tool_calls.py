"""Calls of tools in the text of an answer, as it arrives.

In: text in the form of `forms.tools`. Out: its plain text, or names and arguments of its calls. The form says
that a text is either the one or the other, and its first character which.
"""

import json
import re
import secrets
from typing import NamedTuple

from tinyedge.forms.tool import CALL_STARTS

HEAD = re.compile(r'[\[, ]*\{"name": ?("(?:[^"\\]|\\.)*"), ?"arguments": ?')


class CallDelta(NamedTuple):
    """A new part of an answer."""

    call: int | None
    """Number of the call; None for plain text."""
    text: str
    """A part of the call's arguments, or of the plain text."""
    name: str | None = None
    """Name of the tool, at the beginning of a call."""
    call_id: str | None = None
    """Its id, at the beginning of a call."""


class ToolCall(NamedTuple):
    """A call, as far as the answer has it."""

    call_id: str
    """Its id."""
    name: str
    """Name of the tool."""
    arguments: str
    """JSON of its arguments."""


class ToolCallReader:
    """Reads one answer."""

    calls: list[ToolCall]
    """The calls so far."""
    content: str
    """The plain text so far."""

    def __init__(self, has_tools: bool) -> None:
        """Start an answer.

        Args:
            has_tools: Whether it may call tools; all of it is plain text otherwise.
        """
        self.calls = []
        self.content = ""
        self._may_call = has_tools
        self._is_call = False
        self._pending = ""  # text of calls that is not read yet
        self._in_arguments = False
        self._depth = 0  # of brackets in the arguments
        self._in_string = self._is_escaped = False

    def push(self, text: str) -> list[CallDelta]:
        """Read the next part of the text."""
        if not text:
            return []
        if not self.content and not self._is_call:
            self._is_call = self._may_call and text[0] in CALL_STARTS
        if not self._is_call:
            self.content += text
            return [CallDelta(None, text)]
        self._pending += text
        found: list[CallDelta] = []
        while self._pending:
            if not self._in_arguments:
                head = HEAD.search(self._pending)
                if not head:
                    break
                name = json.loads(head[1])
                self.calls.append(ToolCall(f"call_{secrets.token_hex(12)}", name, ""))
                found.append(CallDelta(len(self.calls) - 1, "", name, self.calls[-1].call_id))
                self._pending = self._pending[head.end() :]
                self._in_arguments = True
            arguments = self._take_arguments()
            if not arguments:
                break
            self.calls[-1] = self.calls[-1]._replace(arguments=self.calls[-1].arguments + arguments)
            found.append(CallDelta(len(self.calls) - 1, arguments))
        return found

    def flush(self) -> list[CallDelta]:
        """End the answer: text that was cut before it named a tool is plain text."""
        if not self._is_call or self.calls or not self._pending:
            return []
        self.content, self._pending = self._pending, ""
        return [CallDelta(None, self.content)]

    def _take_arguments(self) -> str:
        """Take the pending text up to the end of the arguments."""
        if not self._depth:
            self._pending = self._pending.removeprefix(" ")  # it may follow the colon
        at = 0
        for char in self._pending:
            at += 1
            if self._is_escaped:
                self._is_escaped = False
            elif self._in_string:
                self._is_escaped = char == "\\"
                self._in_string = char != '"'
            elif char == '"':
                self._in_string = True
            elif char in "{[":
                self._depth += 1
            elif char in "}]":
                self._depth -= 1
                if not self._depth:
                    self._in_arguments = False
                    break
        taken, self._pending = self._pending[:at], self._pending[at:]
        return taken
