"""Formatting of answers in the JSON of OpenAI's API, complete or as a stream of events.

In: GenerationSteps. Out: bytes. Does not know HTTP.
"""

import json
import secrets
import time
from collections.abc import Iterable, Mapping
from typing import Any

from tinyedge.runtime.pieces import FinishReason
from tinyedge.serve.errors import ApiError
from tinyedge.serve.generation import AnswerToken, GenerationStep
from tinyedge.serve.requests import MODEL_ID, GenerationRequest
from tinyedge.serve.tool_calls import CallDelta, ToolCallReader

DONE = b"data: [DONE]\n\n"


class ResponseFormatter:
    """Formats the answer to one request.

    Call either `format_response` once, or `format_events` for new steps and `format_end` after the last.
    """

    def __init__(self, request: GenerationRequest, prompt_tokens: int, fingerprint: str) -> None:
        """Start an answer.

        Args:
            request: The request.
            prompt_tokens: Number of tokens of all its prompts.
            fingerprint: Identifies the bundle.
        """
        self._request = request
        self._is_chat = request.kind == "chat"
        self._has_tools = request.answer_form.has_tools
        self._prompt_tokens = prompt_tokens
        self._completion_tokens = 0
        self._count = len(request.prompts) * request.n
        self._unfinished = set(range(self._count))  # choices without a finish_reason
        # Choices whose role has not been sent yet.
        self._without_role = set(self._unfinished) if self._is_chat else set()
        self._readers = [ToolCallReader(self._has_tools) for _ in range(self._count)]
        self._head = {
            "id": f"{'chatcmpl' if self._is_chat else 'cmpl'}-{secrets.token_hex(12)}",
            "object": self._get_object_name(),
            "created": int(time.time()),
            "model": MODEL_ID,
            "system_fingerprint": fingerprint,
        }
        # Equal in all events of a stream, so it is encoded once.
        self._event_prefix = f"data: {json.dumps(self._head)[:-1]}, " + '"choices": ['
        self._event_suffix = '], "usage": null}\n\n' if request.include_usage else "]}\n\n"

    def format_response(self, steps: Iterable[GenerationStep], timings: Mapping[str, float | None]) -> bytes:
        """Format a complete answer. Choices that the time limit cut have the finish_reason "length".

        Args:
            steps: All steps.
            timings: Result of `RequestStats.compute_timings`; OpenAI has no such field.
        """
        choices = [_ChoiceBuilder(self._has_tools) for _ in range(self._count)]
        for step in steps:
            choice = choices[step.choice]
            choice.tokens += step.tokens
            choice.reader.push(step.text)
            choice.reason = step.finish_reason or choice.reason
            self._completion_tokens += step.generated
        for choice in choices:
            choice.reader.flush()
        listed = [
            {
                "index": index,
                **self._format_text(choice.reader),
                "logprobs": self._format_logprobs(choice.tokens),
                "finish_reason": _name_reason(choice.reason, choice.reader),
            }
            for index, choice in enumerate(choices)
        ]
        counts = {"usage": self._format_usage(), "timings": timings}
        return json.dumps({**self._head, "choices": listed, **counts, **self._list_mentions()}).encode()

    def format_events(self, steps: Iterable[GenerationStep]) -> bytes:
        """Format steps as events of a stream; a step without anything to show is omitted."""
        return "".join(self._format_event(step) for step in steps).encode()

    def format_end(self, timings: Mapping[str, float | None]) -> bytes:
        """Format the end of a stream. Choices that the time limit cut have the finish_reason "length".

        Args:
            timings: Result of `RequestStats.compute_timings`; OpenAI has no such field.
        """
        cut = "".join(self._format_parts(index, "", None, "length") for index in sorted(self._unfinished))
        usage = ""
        if self._request.include_usage:
            counts = {"choices": [], "usage": self._format_usage(), "timings": timings}
            usage = f"data: {json.dumps({**self._head, **counts})}\n\n"
        return (cut + usage).encode() + DONE

    def format_error(self, error: ApiError) -> bytes:
        """Format an error as the last event of a stream; OpenAI's clients raise it as an exception."""
        return b"data: " + error.encode() + b"\n\n"

    def _format_event(self, step: GenerationStep) -> str:
        self._completion_tokens += step.generated
        logprobs = self._format_logprobs(step.tokens) if step.tokens else None
        if not (step.text or step.tokens or step.finish_reason):
            return ""
        if step.finish_reason:
            self._unfinished.discard(step.choice)
        return self._format_parts(step.choice, step.text, logprobs, step.finish_reason)

    def _format_parts(
        self, index: int, text: str, logprobs: dict[str, Any] | None, reason: FinishReason | None
    ) -> str:
        """Format new text of a choice, as one event for the text or one for each part of a call."""
        if not self._has_tools:
            message = {"content": text} if self._is_chat else {"text": text}
            return self._format_choice(index, message, logprobs, reason)
        reader = self._readers[index]
        deltas = reader.push(text) + (reader.flush() if reason else [])
        messages = [_format_delta(delta) for delta in deltas] or [{}]
        *others, last = messages
        events = [self._format_choice(index, message, None, None) for message in others]
        if not last and not logprobs and not reason:  # the name of a tool is not complete yet
            return "".join(events)
        return "".join((*events, self._format_choice(index, last, logprobs, _name_reason(reason, reader))))

    def _format_choice(
        self, index: int, message: dict[str, Any], logprobs: dict[str, Any] | None, reason: str | None
    ) -> str:
        if self._is_chat:
            if index in self._without_role:
                message = {"role": "assistant", "content": None, **message}
                self._without_role.discard(index)
            message = {"delta": message}
        choice = {"index": index, **message, "logprobs": logprobs, "finish_reason": reason}
        suffix = self._event_suffix
        if self._request.continuous_usage:
            suffix = f'], "usage": {json.dumps(self._format_usage())}}}\n\n'
        return f"{self._event_prefix}{json.dumps(choice)}{suffix}"

    def _get_object_name(self) -> str:
        if not self._is_chat:
            return "text_completion"
        return "chat.completion.chunk" if self._request.stream else "chat.completion"

    def _format_text(self, reader: ToolCallReader) -> dict[str, Any]:
        if not self._is_chat:
            return {"text": reader.content}
        if not reader.calls:
            return {"message": {"role": "assistant", "content": reader.content, "refusal": None}}
        calls = [_format_call(call.call_id, call.name, call.arguments) for call in reader.calls]
        return {"message": {"role": "assistant", "content": None, "refusal": None, "tool_calls": calls}}

    def _format_logprobs(self, tokens: list[AnswerToken]) -> dict[str, Any] | None:
        if self._request.logprobs is None:
            return None
        if self._is_chat:
            return {"content": [_format_chat_token(token) for token in tokens], "refusal": None}
        return {
            "tokens": [token.text for token in tokens],
            "token_logprobs": [token.logprob for token in tokens],
            "top_logprobs": [_format_top(token) for token in tokens] if self._request.logprobs else None,
            "text_offset": [token.offset for token in tokens],
        }

    def _list_mentions(self) -> dict[str, Any]:
        """List the names of the home that a command mentions; OpenAI has no such field."""
        form = self._request.answer_form.form
        if form is None or form.kind != "command":
            return {}
        from tinyedge.corpus.commands.home import split_prompt  # few servers need it

        return {"mentions": [{"kind": one.kind, "name": one.name} for one in split_prompt(form.source)[0]]}

    def _format_usage(self) -> dict[str, int]:
        return {
            "prompt_tokens": self._prompt_tokens,
            "completion_tokens": self._completion_tokens,
            "total_tokens": self._prompt_tokens + self._completion_tokens,
        }


class _ChoiceBuilder:
    """Collects the steps of one choice of a complete answer."""

    def __init__(self, has_tools: bool) -> None:
        self.reader = ToolCallReader(has_tools)
        self.tokens: list[AnswerToken] = []
        self.reason: FinishReason = "length"


def _name_reason(reason: FinishReason | None, reader: ToolCallReader) -> str | None:
    """Name the reason of an answer's end as OpenAI does: one that calls tools ends with "tool_calls"."""
    return "tool_calls" if reason == "stop" and reader.calls else reason


def _format_call(call_id: str, name: str, arguments: str) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def _format_delta(delta: CallDelta) -> dict[str, Any]:
    if delta.call is None:
        return {"content": delta.text}
    if delta.name is None:
        return {"tool_calls": [{"index": delta.call, "function": {"arguments": delta.text}}]}
    assert delta.call_id is not None
    return {"tool_calls": [{"index": delta.call, **_format_call(delta.call_id, delta.name, delta.text)}]}


def _format_top(token: AnswerToken) -> dict[str, float] | None:
    if token.logprob is None:
        return None
    return {text: logprob for text, _, logprob in token.top}


def _format_chat_token(token: AnswerToken) -> dict[str, Any]:
    return {
        "token": token.text,
        "bytes": list(token.raw),
        "logprob": token.logprob,
        "top_logprobs": [
            {"token": text, "bytes": list(raw), "logprob": logprob} for text, raw, logprob in token.top
        ],
    }
