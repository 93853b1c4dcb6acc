"""OpenAI's response API, `/v1/responses`, as far as text needs it: newer clients use it by default.

In: the body of a request, and GenerationSteps. Out: a GenerationRequest, and the JSON or the events of the
answer. Nothing is stored: a client sends the complete conversation with each request. Does not know HTTP.
"""

import json
import secrets
import time
from collections.abc import Iterable, Mapping
from typing import Any

from tinyedge.runtime.generator import FinishReason
from tinyedge.serve.errors import ApiError
from tinyedge.serve.generation import GenerationStep
from tinyedge.serve.json_fields import JsonFields, parse_object
from tinyedge.serve.messages import Message, apply_template, parse_messages
from tinyedge.serve.requests import (
    DEFAULT_CHAT_TOKENS,
    MODEL_ID,
    GenerationRequest,
    RequestLimits,
    check_model,
    make_request,
)

INCOMPLETE_REASONS: dict[FinishReason, str] = {
    "length": "max_output_tokens",
    "content_filter": "content_filter",
}


def parse_response(body: bytes, limits: RequestLimits) -> GenerationRequest:
    """Parse the body of a request to `/v1/responses`.

    Raises:
        ApiError: The body or one of its fields is invalid.
    """
    fields = JsonFields(parse_object(body))
    check_model(fields)
    instructions = fields.take("instructions")
    messages: list[Message] = []
    if instructions is not None:
        messages.append(("system", fields.require_text("instructions", instructions)))
    prompt = apply_template(messages + _parse_input(fields), limits.encode_turns, limits.max_turns)
    max_tokens = fields.take_integer("max_output_tokens", 1, None) or DEFAULT_CHAT_TOKENS
    fields.take_boolean("store")  # true by default in OpenAI's clients; `previous_response_id` is an error
    fields.take_integer("max_tool_calls", 0, None)
    _check_text_format(fields)
    for name, *neutral in (
        ("tools", []),
        ("tool_choice", "none", "auto"),
        ("parallel_tool_calls", True, False),
        ("reasoning", {}),
        ("include", [], ["reasoning.encrypted_content"]),
        ("truncation", "disabled", "auto"),
        ("top_logprobs", 0),
        ("background", False),
        ("previous_response_id",),
        ("conversation",),
        ("prompt",),
    ):
        fields.require_neutral(name, *neutral)
    return make_request(
        "response",
        fields,
        limits,
        (prompt,),
        n=1,
        max_tokens=min(max_tokens, limits.max_tokens),
        logprobs=None,
        echo=False,
        instructions=instructions,
    )


def _parse_input(fields: JsonFields) -> list[Message]:
    """Parse `input`: a text, which is the user's message, or a list of messages."""
    value = fields.take("input")
    if isinstance(value, str):
        return [("user", fields.require_text("input", value))]
    return parse_messages(JsonFields({"input": value}), "input")


def _check_text_format(fields: JsonFields) -> None:
    value = fields.take("text")
    if value is None:
        return
    if not isinstance(value, dict):
        raise fields.make_error("text", "text must be an object")
    options = JsonFields(value, "text.")
    options.require_neutral("format", {"type": "text"})
    options.require_neutral("verbosity", "medium")
    options.reject_unknown()


class ResponseApiFormatter:
    """Formats the answer to one request; the methods are those of `ResponseFormatter`."""

    def __init__(self, request: GenerationRequest, prompt_tokens: int) -> None:
        """Start an answer.

        Args:
            request: The request.
            prompt_tokens: Number of tokens of its prompt.
        """
        self._request = request
        self._prompt_tokens = prompt_tokens
        self._completion_tokens = 0
        self._text = ""
        self._reason: FinishReason = "length"
        self._response_id = f"resp_{secrets.token_hex(24)}"
        self._item_id = f"msg_{secrets.token_hex(24)}"
        self._created = int(time.time())
        self._sequence_number = 0

    def format_response(self, steps: Iterable[GenerationStep], timings: Mapping[str, float | None]) -> bytes:
        """Format a complete answer; arguments are those of `ResponseFormatter.format_response`."""
        for step in steps:
            self._add(step)
        return json.dumps({**self._describe_end(), "timings": timings}).encode()

    def format_events(self, steps: Iterable[GenerationStep]) -> bytes:
        """Format steps as events of a stream; a step without text is omitted."""
        events = self._format_start()
        for step in steps:
            self._add(step)
            if step.text:
                events += self._format_event(
                    "output_text.delta", **self._part_position, delta=step.text, logprobs=[]
                )
        return events.encode()

    def format_end(self, timings: Mapping[str, float | None]) -> bytes:
        """Format the end of a stream; arguments are those of `ResponseFormatter.format_end`."""
        response = self._describe_end()
        event = self._format_event
        return "".join(
            (
                self._format_start(),
                event("output_text.done", **self._part_position, text=self._text, logprobs=[]),
                event("content_part.done", **self._part_position, part=self._describe_part(self._text)),
                event("output_item.done", output_index=0, item=response["output"][0]),
                event(response["status"], response={**response, "timings": timings}),
            )
        ).encode()

    def format_error(self, error: ApiError) -> bytes:
        """Format an error as the last event of a stream."""
        details = {"code": error.code, "message": error.message, "param": error.param}
        return self._format_event("error", prefix="", **details).encode()

    def _add(self, step: GenerationStep) -> None:
        self._completion_tokens += step.generated
        self._text += step.text
        self._reason = step.finish_reason or self._reason

    def _format_start(self) -> str:
        """Format the events before the first text; empty if they were sent."""
        if self._sequence_number:
            return ""
        response = self._describe_response("in_progress", [], None)
        return "".join(
            (
                self._format_event("created", response=response),
                self._format_event("in_progress", response=response),
                self._format_event(
                    "output_item.added", output_index=0, item=self._describe_message("in_progress", [])
                ),
                self._format_event("content_part.added", **self._part_position, part=self._describe_part("")),
            )
        )

    @property
    def _part_position(self) -> dict[str, Any]:
        return {"item_id": self._item_id, "output_index": 0, "content_index": 0}

    def _format_event(self, name: str, prefix: str = "response.", **fields: Any) -> str:
        kind = f"{prefix}{name}"
        data = {"type": kind, "sequence_number": self._sequence_number, **fields}
        self._sequence_number += 1
        return f"event: {kind}\ndata: {json.dumps(data)}\n\n"

    def _describe_end(self) -> dict[str, Any]:
        reason = INCOMPLETE_REASONS.get(self._reason)
        status = "incomplete" if reason else "completed"
        message = self._describe_message(status, [self._describe_part(self._text)])
        return self._describe_response(status, [message], {"reason": reason} if reason else None)

    def _describe_part(self, text: str) -> dict[str, Any]:
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}

    def _describe_message(self, status: str, content: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "type": "message",
            "id": self._item_id,
            "status": status,
            "role": "assistant",
            "content": content,
        }

    def _describe_response(
        self, status: str, output: list[dict[str, Any]], incomplete_details: dict[str, str] | None
    ) -> dict[str, Any]:
        request = self._request
        usage = {
            "input_tokens": self._prompt_tokens,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": self._completion_tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": self._prompt_tokens + self._completion_tokens,
        }
        return {
            "id": self._response_id,
            "object": "response",
            "created_at": self._created,
            "status": status,
            "error": None,
            "incomplete_details": incomplete_details,
            "instructions": request.instructions,
            "max_output_tokens": request.max_tokens,
            "model": MODEL_ID,
            "output": output,
            "parallel_tool_calls": False,
            "previous_response_id": None,
            "reasoning": {"effort": None, "summary": None},
            "store": False,
            "temperature": request.sampling.temperature,
            "text": {"format": {"type": "text"}},
            "tool_choice": "none",
            "tools": [],
            "top_p": request.sampling.top_p,
            "truncation": "disabled",
            "usage": None if status == "in_progress" else usage,
            "user": None,
            "metadata": {},
        }
