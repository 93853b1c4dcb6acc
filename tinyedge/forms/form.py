"""A form of answers: what a user asks for, before a tokenizer is known.

Forms are compared by what they were made from, so that a server matches equal requests once.
"""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from tinyedge.core.errors import UsageError
from tinyedge.forms.grammar import Either, Node, Text
from tinyedge.forms.tool import Tool

MAX_CHOICES = 2000
MAX_CHARACTERS = 65_536  # of all choices


class Form(NamedTuple):
    """Which texts are answers.

    Make one with `regex`, `choices`, `json_schema`, `json_object`, `tools` or `command`.
    """

    kind: str
    """How it was made."""
    source: str
    """What it was made from."""

    @property
    def parameter(self) -> str:
        """Name of the parameter that errors are about."""
        return "prompt" if self.kind == "command" else self.kind

    @classmethod
    def regex(cls, pattern: str) -> "Form":
        """Answers that a regular expression of Python matches completely.

        Raises:
            UsageError: The pattern is invalid, or uses what is not supported.
        """
        return cls("regex", pattern)._checked()

    @classmethod
    def choices(cls, texts: Sequence[str]) -> "Form":
        """Answers that are one of some texts.

        Raises:
            UsageError: There is none, one is empty or appears twice, or there are too many.
        """
        found = list(texts)
        if not 1 <= len(found) <= MAX_CHOICES:
            raise UsageError(f"choices has {len(found)} texts, 1-{MAX_CHOICES} are allowed", "", ("choices",))
        for one in found:
            if not isinstance(one, str):
                raise UsageError(f"choices has what is not a text: {one!r:.40}", "name texts", ("choices",))
            if not one:
                raise UsageError("choices has a text that is empty", "name each answer", ("choices",))
        if sum(map(len, found)) > MAX_CHARACTERS:
            raise UsageError(
                f"choices has more than {MAX_CHARACTERS} characters in all", "list fewer texts", ("choices",)
            )
        if len(set(found)) < len(found):
            twice = next(one for one in found if found.count(one) > 1)
            raise UsageError(f"choices has {twice!r} twice", "name each answer once", ("choices",))
        return cls("choices", json.dumps(found))

    @classmethod
    def json_schema(cls, schema: Any) -> "Form":
        """Answers that are JSON which a schema allows.

        Raises:
            UsageError: The schema is invalid, or has a keyword that is not supported.
        """
        return cls("json_schema", _dump(schema, "json_schema"))._checked()

    @classmethod
    def json_object(cls) -> "Form":
        """Answers that are any object of JSON."""
        return cls("json_object", "")

    @classmethod
    def tools(cls, tools: Sequence[Tool], *, is_required: bool, is_parallel: bool) -> "Form":
        """Answers that call tools; arguments and errors are those of `parse_tools`."""
        return cls("tools", _dump([tools, is_required, is_parallel], "tools"))._checked()

    @classmethod
    def command(cls, prompt: str) -> "Form":
        """Answers to a home command.

        Args:
            prompt: A prompt of `corpus.commands.home.format_prompt`.
        """
        return cls("command", prompt)

    def build(self) -> Node:
        """Return the form's parts.

        Raises:
            UsageError: The form is invalid.
        """
        try:
            return self._build()
        except RecursionError:  # values inside values: all else has limits of its own
            raise _make_depth_error(self.kind) from None

    def _build(self) -> Node:
        if self.kind == "choices":
            return Either(tuple(Text(one, is_required=True) for one in json.loads(self.source)))
        if self.kind == "regex":
            from tinyedge.forms.regex import parse_regex  # each form imports what it needs

            return parse_regex(self.source)
        if self.kind == "json_schema":
            from tinyedge.forms.json_schema import parse_schema

            return parse_schema(json.loads(self.source))
        if self.kind == "json_object":
            from tinyedge.forms.json_text import any_object

            return any_object()
        if self.kind == "command":
            from tinyedge.forms.command import parse_command

            return parse_command(self.source)
        from tinyedge.forms.tools import parse_tools

        tools, is_required, is_parallel = json.loads(self.source)
        return parse_tools([Tool(*one) for one in tools], is_required, is_parallel)

    def _checked(self) -> "Form":
        self.build()
        return self


def _dump(value: object, name: str) -> str:
    try:
        return json.dumps(value)
    except RecursionError:
        raise _make_depth_error(name) from None


def _make_depth_error(name: str) -> UsageError:
    return UsageError(f"{name} is nested too deeply", "docs/forms.md lists the limits", (name,))
