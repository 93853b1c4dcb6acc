"""Formatting of answers in the JSON of OpenAI's API, complete or as a stream of events.

In: GenerationSteps. Out: bytes. Does not know HTTP.
"""

import json
import secrets
import time
from collections.abc import Iterable, Mapping
from typing import Any

from tinyedge.runtime.generator import FinishReason
from tinyedge.serve.errors import ApiError
from tinyedge.serve.generation import AnswerToken, GenerationStep
from tinyedge.serve.requests import MODEL_ID, GenerationRequest

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
        self._prompt_tokens = prompt_tokens
        self._completion_tokens = 0
        self._count = len(request.prompts) * request.n
        self._unfinished = set(range(self._count))  # choices without a finish_reason
        # Choices whose role has not been sent yet.
        self._without_role = set(self._unfinished) if self._is_chat else set()
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
        choices = [_ChoiceBuilder() for _ in range(self._count)]
        for step in steps:
            choice = choices[step.choice]
            choice.tokens += step.tokens
            choice.text += step.text
            choice.reason = step.finish_reason or choice.reason
            self._completion_tokens += step.generated
        listed = [
            {
                "index": index,
                **self._format_text(choice.text),
                "logprobs": self._format_logprobs(choice.tokens),
                "finish_reason": choice.reason,
            }
            for index, choice in enumerate(choices)
        ]
        return json.dumps(
            {**self._head, "choices": listed, "usage": self._format_usage(), "timings": timings}
        ).encode()

    def format_events(self, steps: Iterable[GenerationStep]) -> bytes:
        """Format steps as events of a stream; a step without anything to show is omitted."""
        return "".join(self._format_event(step) for step in steps).encode()

    def format_end(self, timings: Mapping[str, float | None]) -> bytes:
        """Format the end of a stream. Choices that the time limit cut have the finish_reason "length".

        Args:
            timings: Result of `RequestStats.compute_timings`; OpenAI has no such field.
        """
        cut = "".join(self._format_choice(index, "", None, "length") for index in sorted(self._unfinished))
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
        return self._format_choice(step.choice, step.text, logprobs, step.finish_reason)

    def _format_choice(
        self, index: int, text: str, logprobs: dict[str, Any] | None, reason: FinishReason | None
    ) -> str:
        if self._is_chat:
            delta = (
                {"role": "assistant", "content": text} if index in self._without_role else {"content": text}
            )
            self._without_role.discard(index)
            message: dict[str, Any] = {"delta": delta}
        else:
            message = {"text": text}
        choice = {"index": index, **message, "logprobs": logprobs, "finish_reason": reason}
        suffix = self._event_suffix
        if self._request.continuous_usage:
            suffix = f'], "usage": {json.dumps(self._format_usage())}}}\n\n'
        return f"{self._event_prefix}{json.dumps(choice)}{suffix}"

    def _get_object_name(self) -> str:
        if not self._is_chat:
            return "text_completion"
        return "chat.completion.chunk" if self._request.stream else "chat.completion"

    def _format_text(self, text: str) -> dict[str, Any]:
        if self._is_chat:
            return {"message": {"role": "assistant", "content": text, "refusal": None}}
        return {"text": text}

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

    def _format_usage(self) -> dict[str, int]:
        return {
            "prompt_tokens": self._prompt_tokens,
            "completion_tokens": self._completion_tokens,
            "total_tokens": self._prompt_tokens + self._completion_tokens,
        }


class _ChoiceBuilder:
    """Collects the steps of one choice of a complete answer."""

    def __init__(self) -> None:
        self.text = ""
        self.tokens: list[AnswerToken] = []
        self.reason: FinishReason = "length"


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
