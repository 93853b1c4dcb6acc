"""A tool that a model may call, as a request describes it."""

from typing import Any, NamedTuple

CALL_STARTS = "{["  # where tools may be called, a text that begins with one of them is a call


class Tool(NamedTuple):
    """A tool that a model may call."""

    name: str
    """Its name."""
    parameters: Any
    """JSON Schema of its arguments; None for none."""
