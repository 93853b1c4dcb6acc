"""OpenAI's response API, `/v1/responses`, as far as text needs it: newer clients use it by default.

In: the body of a request, and GenerationSteps. Out: a GenerationRequest, and the JSON or the events of the
answer. Nothing is stored: a client sends the complete conversation with each request. Does not know HTTP.
"""

import dataclasses
import json
import secrets
import time
from collections.abc import Iterable, Mapping
from typing import Any

from tinyedge.forms.form import Form
from tinyedge.runtime.pieces import FinishReason
from tinyedge.serve.answer_form import REPEATED_FIELDS, parse_text_format
from tinyedge.serve.errors import ApiError
from tinyedge.serve.generation import GenerationStep
from tinyedge.serve.json_fields import JsonFields, parse_object
from tinyedge.serve.messages import Message, parse_messages
from tinyedge.serve.requests import (
    MODEL_ID,
    GenerationRequest,
    RequestLimits,
    check_model,
    make_request,
    parse_conversation,
)
from tinyedge.serve.tool_calls import CallDelta, ToolCall, ToolCallReader

INCOMPLETE_REASONS: dict[FinishReason, str] = {
    "length": "max_output_tokens",
    "content_filter": "content_filter",
}


def parse_response(body: bytes, limits: RequestLimits) -> GenerationRequest:
    """Parse the body of a request to `/v1/responses`.

    Raises:
        ApiError: The body or one of its fields is invalid.
    """
    raw = parse_object(body)
    fields = JsonFields(raw)
    check_model(fields)
    instructions = fields.take("instructions")
    messages: list[Message] = []
    if instructions is not None:
        messages.append(("system", fields.require_text("instructions", instructions)))
    messages += _parse_input(fields)
    max_tokens = fields.take_integer("max_output_tokens", 1, None)
    fields.take_boolean("store")  # true by default in OpenAI's clients; `previous_response_id` is an error
    fields.take_integer("max_tool_calls", 0, None)
    text_form = _parse_text(fields)
    repeated = {name: raw[name] for name in REPEATED_FIELDS if raw.get(name) is not None}
    conversation = parse_conversation(fields, limits, messages, text_form, "text", is_flat=True)
    for name, *neutral in (
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
        (conversation.prompt,),
        n=1,
        max_tokens=min(max_tokens or conversation.default_tokens, limits.max_tokens),
        logprobs=None,
        instructions=instructions,
        answer_form=dataclasses.replace(conversation.answer_form, repeated=repeated),
        reply=conversation.reply,
    )


def _parse_input(fields: JsonFields) -> list[Message]:
    """Parse `input`: a text, which is the user's message, or a list of messages."""
    value = fields.take("input")
    if isinstance(value, str):
        return [("user", fields.require_text("input", value))]
    return parse_messages(JsonFields({"input": value}), "input")


def _parse_text(fields: JsonFields) -> Form | None:
    """Parse `text`; return the form that its format asks for."""
    value = fields.take("text")
    if value is None:
        return None
    if not isinstance(value, dict):
        raise fields.make_error("text", "text must be an object")
    options = JsonFields(value, "text.")
    form = parse_text_format(options, "format", is_flat=True)
    options.require_neutral("verbosity", "medium")
    options.reject_unknown()
    return form


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
        self._reader = ToolCallReader(request.answer_form.has_tools)
        self._open: str | None = None  # id of the item that is being sent
        self._items = 0  # of the stream that were begun
        self._reason: FinishReason = "length"
        self._response_id = f"resp_{secrets.token_hex(24)}"
        self._item_id = f"msg_{secrets.token_hex(24)}"
        self._created = int(time.time())
        self._sequence_number = 0

    def format_response(self, steps: Iterable[GenerationStep], timings: Mapping[str, float | None]) -> bytes:
        """Format a complete answer; arguments are those of `ResponseFormatter.format_response`."""
        for step in steps:
            self._add(step)
        self._reader.flush()
        return json.dumps({**self._describe_end(), "timings": timings}).encode()

    def format_events(self, steps: Iterable[GenerationStep]) -> bytes:
        """Format steps as events of a stream; a step without text is omitted."""
        events = self._format_start()
        for step in steps:
            events += self._format_deltas(self._add(step))
        return events.encode()

    def format_end(self, timings: Mapping[str, float | None]) -> bytes:
        """Format the end of a stream; arguments are those of `ResponseFormatter.format_end`."""
        events = self._format_start() + self._format_deltas(self._reader.flush())
        if not self._items:  # an answer without text
            events += self._begin_message()
        response = self._describe_end()
        events += self._format_item_end(response["output"][-1])
        events += self._format_event(response["status"], response={**response, "timings": timings})
        return events.encode()

    def format_error(self, error: ApiError) -> bytes:
        """Format an error as the last event of a stream."""
        details = {"code": error.code, "message": error.message, "param": error.param}
        return self._format_event("error", prefix="", **details).encode()

    def _add(self, step: GenerationStep) -> list[CallDelta]:
        self._completion_tokens += step.generated
        self._reason = step.finish_reason or self._reason
        return self._reader.push(step.text)

    def _format_start(self) -> str:
        """Format the events before the first text; empty if they were sent."""
        if self._sequence_number:
            return ""
        response = self._describe_response("in_progress", [], None)
        events = self._format_event("created", response=response)
        events += self._format_event("in_progress", response=response)
        # An answer that may call tools begins with an item of either kind.
        return events if self._request.answer_form.has_tools else events + self._begin_message()

    def _format_deltas(self, deltas: Iterable[CallDelta]) -> str:
        events = ""
        for delta in deltas:
            if delta.call is None:
                events += "" if self._items else self._begin_message()
                events += self._format_event(
                    "output_text.delta", **self._part_position, delta=delta.text, logprobs=[]
                )
            elif delta.name is not None:
                call = self._reader.calls[delta.call]._replace(arguments="")
                if delta.call:
                    before = self._describe_call(self._reader.calls[delta.call - 1], "completed")
                    events += self._format_item_end(before)
                events += self._begin_item(self._describe_call(call, "in_progress"))
            else:
                events += self._format_event(
                    "function_call_arguments.delta", **self._item_position, delta=delta.text
                )
        return events

    def _begin_message(self) -> str:
        begin = self._begin_item(self._describe_message("in_progress", []))
        return begin + self._format_event(
            "content_part.added", **self._part_position, part=self._describe_part("")
        )

    def _begin_item(self, item: dict[str, Any]) -> str:
        self._open = item["id"]
        self._items += 1
        return self._format_event("output_item.added", output_index=self._items - 1, item=item)

    def _format_item_end(self, item: dict[str, Any]) -> str:
        if item["type"] == "function_call":
            events = self._format_event(
                "function_call_arguments.done",
                **self._item_position,
                name=item["name"],
                arguments=item["arguments"],
            )
        else:
            text = self._reader.content
            events = self._format_event("output_text.done", **self._part_position, text=text, logprobs=[])
            events += self._format_event(
                "content_part.done", **self._part_position, part=self._describe_part(text)
            )
        return events + self._format_event("output_item.done", output_index=self._items - 1, item=item)

    @property
    def _item_position(self) -> dict[str, Any]:
        return {"item_id": self._open, "output_index": self._items - 1}

    @property
    def _part_position(self) -> dict[str, Any]:
        return {**self._item_position, "content_index": 0}

    def _format_event(self, name: str, /, prefix: str = "response.", **fields: Any) -> str:
        kind = f"{prefix}{name}"
        data = {"type": kind, "sequence_number": self._sequence_number, **fields}
        self._sequence_number += 1
        return f"event: {kind}\ndata: {json.dumps(data)}\n\n"

    def _describe_end(self) -> dict[str, Any]:
        reason = INCOMPLETE_REASONS.get(self._reason)
        status = "incomplete" if reason else "completed"
        calls = self._reader.calls
        items = [self._describe_call(call, "completed") for call in calls[:-1]]
        if calls:
            items.append(self._describe_call(calls[-1], status))
        else:
            items.append(self._describe_message(status, [self._describe_part(self._reader.content)]))
        return self._describe_response(status, items, {"reason": reason} if reason else None)

    def _describe_call(self, call: ToolCall, status: str) -> dict[str, Any]:
        return {
            "type": "function_call",
            "id": call.call_id.replace("call_", "fc_"),
            "call_id": call.call_id,
            "name": call.name,
            "arguments": call.arguments,
            "status": status,
        }

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
        request, repeated = self._request, self._request.answer_form.repeated
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
            "parallel_tool_calls": repeated.get("parallel_tool_calls", bool(repeated.get("tools"))),
            "previous_response_id": None,
            "reasoning": {"effort": None, "summary": None},
            "store": False,
            "temperature": request.sampling.temperature,
            "text": {"format": {"type": "text"}, **repeated.get("text", {})},
            "tool_choice": repeated.get("tool_choice", "auto" if repeated.get("tools") else "none"),
            "tools": repeated.get("tools", []),
            "top_p": request.sampling.top_p,
            "truncation": "disabled",
            "usage": None if status == "in_progress" else usage,
            "user": None,
            "metadata": {},
        }
