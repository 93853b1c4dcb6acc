"""Answers: from the steps of a generation to the JSON of OpenAI's API, whole or as a stream of events."""

import json
import secrets
import time
from collections.abc import Iterable, Mapping
from typing import Any

from tinyedge.runtime.generator import FinishReason
from tinyedge.serve.errors import ApiError
from tinyedge.serve.generation import GenerationStep, Token
from tinyedge.serve.requests import MODEL_ID, GenerationRequest

DONE = b"data: [DONE]\n\n"


class ResponseFormatter:
    """One request's answer while it is made: `whole`, or `events` as they come and then `end`.

    prompt_tokens: of all its prompts. fingerprint: tells one bundle from another. timings, of both: as
    `Tally.timings` gives them; OpenAI has no such field.
    """

    def __init__(self, order: GenerationRequest, prompt_tokens: int, fingerprint: str) -> None:
        self._order = order
        self._chat = order.kind == "chat"
        self._prompt_tokens = prompt_tokens
        self._completion_tokens = 0
        self._count = len(order.prompts) * order.n
        self._open = set(range(self._count))  # choices without a finish_reason
        self._unnamed = set(self._open) if self._chat else set()  # choices whose role was not yet said
        self._head = {
            "id": f"{'chatcmpl' if self._chat else 'cmpl'}-{secrets.token_hex(12)}",
            "object": self._object(),
            "created": int(time.time()),
            "model": MODEL_ID,
            "system_fingerprint": fingerprint,
        }
        # The same in each of a stream's events, so it is spelled once.
        self._before = f"data: {json.dumps(self._head)[:-1]}, " + '"choices": ['
        self._after = '], "usage": null}\n\n' if order.include_usage else "]}\n\n"

    def whole(self, steps: Iterable[GenerationStep], timings: Mapping[str, float | None]) -> bytes:
        """The answer in one piece. A choice that the time did not suffice for ended by its length."""
        choices = [_Choice() for _ in range(self._count)]
        for step in steps:
            choice = choices[step.choice]
            choice.tokens += step.tokens
            choice.text += step.text
            choice.reason = step.finish_reason or choice.reason
            self._completion_tokens += step.generated
        listed = [
            {
                "index": index,
                **self._said(choice.text),
                "logprobs": self._logprobs(choice.tokens),
                "finish_reason": choice.reason,
            }
            for index, choice in enumerate(choices)
        ]
        return json.dumps(
            {**self._head, "choices": listed, "usage": self._usage(), "timings": timings}
        ).encode()

    def events(self, steps: Iterable[GenerationStep]) -> bytes:
        """The part of a stream that these steps are; what has nothing to show yet makes no event."""
        return "".join(self._event(step) for step in steps).encode()

    def end(self, timings: Mapping[str, float | None]) -> bytes:
        """The stream's end. A choice that the time did not suffice for ended by its length."""
        cut = "".join(self._data(index, "", None, "length") for index in sorted(self._open))
        usage = ""
        if self._order.include_usage:
            counts = {"choices": [], "usage": self._usage(), "timings": timings}
            usage = f"data: {json.dumps({**self._head, **counts})}\n\n"
        return (cut + usage).encode() + DONE

    def _event(self, step: GenerationStep) -> str:
        self._completion_tokens += step.generated
        logprobs = self._logprobs(step.tokens) if step.tokens else None
        if not (step.text or step.tokens or step.finish_reason):
            return ""
        if step.finish_reason:
            self._open.discard(step.choice)
        return self._data(step.choice, step.text, logprobs, step.finish_reason)

    def _data(
        self, index: int, text: str, logprobs: dict[str, Any] | None, reason: FinishReason | None
    ) -> str:
        if self._chat:
            delta = {"role": "assistant", "content": text} if index in self._unnamed else {"content": text}
            self._unnamed.discard(index)
            said: dict[str, Any] = {"delta": delta}
        else:
            said = {"text": text}
        choice = {"index": index, **said, "logprobs": logprobs, "finish_reason": reason}
        return f"{self._before}{json.dumps(choice)}{self._after}"

    def _object(self) -> str:
        if not self._chat:
            return "text_completion"
        return "chat.completion.chunk" if self._order.stream else "chat.completion"

    def _said(self, text: str) -> dict[str, Any]:
        if self._chat:
            return {"message": {"role": "assistant", "content": text, "refusal": None}}
        return {"text": text}

    def _logprobs(self, tokens: list[Token]) -> dict[str, Any] | None:
        if self._order.logprobs is None:
            return None
        if self._chat:
            return {"content": [_chat_token(token) for token in tokens], "refusal": None}
        return {
            "tokens": [token.text for token in tokens],
            "token_logprobs": [token.logprob for token in tokens],
            "top_logprobs": [{text: logprob for text, _, logprob in token.top} for token in tokens]
            if self._order.logprobs
            else None,
            "text_offset": [token.offset for token in tokens],
        }

    def _usage(self) -> dict[str, int]:
        return {
            "prompt_tokens": self._prompt_tokens,
            "completion_tokens": self._completion_tokens,
            "total_tokens": self._prompt_tokens + self._completion_tokens,
        }


class _Choice:
    """A choice of a whole answer while its steps are put together."""

    def __init__(self) -> None:
        self.text = ""
        self.tokens: list[Token] = []
        self.reason: FinishReason = "length"


def failure_event(error: ApiError) -> bytes:
    """What a stream ends with that cannot go on: OpenAI's clients raise it as an error."""
    return b"data: " + error.body() + b"\n\n"


def _chat_token(token: Token) -> dict[str, Any]:
    return {
        "token": token.text,
        "bytes": list(token.raw),
        "logprob": token.logprob,
        "top_logprobs": [
            {"token": text, "bytes": list(raw), "logprob": logprob} for text, raw, logprob in token.top
        ],
    }
