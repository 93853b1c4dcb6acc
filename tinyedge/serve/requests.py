"""Requests: from the JSON of OpenAI's API to what is to be written, every field with its type and range.

A field that OpenAI's API does not have, or that would ask for what a small model can't do, is refused: a
setting that is silently ignored is worse than an error.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tinyedge.core.sampling import SamplingConfig
from tinyedge.serve.errors import ApiError
from tinyedge.serve.json_fields import Fields, parse_object, show
from tinyedge.serve.settings import MAX_ANSWERS

MODEL_ID = "tinyedge"  # of whatever bundle is served: clients need not change when it does
COMPLETION_TOKENS = 16  # OpenAI's default
CHAT_TOKENS = 64  # `tinyedge generate`'s; OpenAI's is "until it ends"
MAX_STOPS, MAX_STOP_CHARACTERS = 4, 256
MAX_MESSAGES = 256
MAX_LOGPROBS = 20
MAX_LISTED = 20_000  # log probabilities of one request: each is some 500 bytes until the answer is sent
MAX_SEED = (1 << 63) - 1
DEFAULT = SamplingConfig()  # the same text for the same seed as `tinyedge generate`
TOKEN = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True)
class Bounds:
    """What the loaded model and the settings allow. vocab_size: tokens; max_tokens: of an answer."""

    vocab_size: int
    max_tokens: int


@dataclass(frozen=True)
class GenerationRequest:
    """What is to be written.

    kind: how the answer looks. prompts: each is answered `n` times, in order. logprobs: None, or of how many
    likeliest tokens each. echo: the prompt begins the answer. include_usage: the stream ends with the counts.
    """

    kind: Literal["completion", "chat"]
    prompts: tuple[str, ...]
    n: int
    max_tokens: int
    sampling: SamplingConfig
    stop: tuple[str, ...]
    ignore_eos: bool
    logprobs: int | None
    echo: bool
    stream: bool
    include_usage: bool


def parse_completion(body: bytes, bounds: Bounds) -> GenerationRequest:
    """A request for `/v1/completions`. Raises ApiError."""
    fields = Fields(parse_object(body))
    _model(fields)
    prompts = _prompts(fields)
    echo = fields.boolean("echo")
    fields.only("suffix", "")
    n = fields.whole("n", 1, MAX_ANSWERS, 1) or 1
    fields.only("best_of", n)
    logprobs = fields.whole("logprobs", 0, MAX_LOGPROBS)
    lowest = 0 if echo else 1  # with echo, the prompt alone is an answer: it may be there to be scored
    max_tokens = fields.whole(
        "max_tokens", lowest, bounds.max_tokens, min(COMPLETION_TOKENS, bounds.max_tokens)
    )
    assert max_tokens is not None
    return _order("completion", fields, bounds, prompts, n, max_tokens, logprobs, echo)


def parse_chat(body: bytes, bounds: Bounds) -> GenerationRequest:
    """A request for `/v1/chat/completions`. Raises ApiError."""
    fields = Fields(parse_object(body))
    _model(fields)
    prompt = plain_template(_messages(fields))
    n = fields.whole("n", 1, MAX_ANSWERS, 1) or 1
    old = fields.whole("max_tokens", 1, bounds.max_tokens)
    new = fields.whole("max_completion_tokens", 1, bounds.max_tokens, old)
    if old is not None and new != old:
        raise fields.bad("max_tokens", "max_tokens and max_completion_tokens contradict each other")
    asked = fields.boolean("logprobs")
    count = fields.whole("top_logprobs", 0, MAX_LOGPROBS)
    if count is not None and not asked:
        raise fields.bad("top_logprobs", "top_logprobs needs logprobs to be true")
    for name, neutral in (
        ("tools", []),
        ("tool_choice", "none"),
        ("parallel_tool_calls", True),
        ("response_format", {"type": "text"}),
        ("modalities", ["text"]),
        ("reasoning_effort", "none"),
    ):
        fields.only(name, neutral)
    max_tokens = new or min(CHAT_TOKENS, bounds.max_tokens)
    logprobs = (count or 0) if asked else None
    return _order("chat", fields, bounds, (prompt,), n, max_tokens, logprobs, echo=False)


def plain_template(messages: list[tuple[str, str]]) -> str:
    """(role, content) of each message as a prompt: a line each, and the answer is the next line.

    The model never saw a conversation, so roles have no spelling. Where the last message is the assistant's,
    its line is gone on with.
    """
    lines = "\n".join(content for _, content in messages)
    return lines if messages[-1][0] == "assistant" else f"{lines}\n"


def _order(
    kind: Literal["completion", "chat"],
    fields: Fields,
    bounds: Bounds,
    prompts: tuple[str, ...],
    n: int,
    max_tokens: int,
    logprobs: int | None,
    echo: bool,
) -> GenerationRequest:
    """The fields that both kinds of request have."""
    if len(prompts) * n > MAX_ANSWERS:
        name = "n" if n > 1 else "prompt"
        raise fields.bad(name, f"{len(prompts)} prompts, {n} times each, are more than {MAX_ANSWERS} answers")
    if logprobs is not None:
        tokens = sum(max_tokens + (len(prompt) if echo else 0) for prompt in prompts) * n
        if tokens * (1 + logprobs) > MAX_LISTED:
            raise fields.bad(
                "logprobs",
                f"{tokens} tokens at most, {1 + logprobs} log probabilities each, are more than {MAX_LISTED}:"
                " ask for fewer",
            )
    sampling = SamplingConfig(
        temperature=fields.number("temperature", 0, 2, DEFAULT.temperature),
        top_k=fields.whole("top_k", 0, bounds.vocab_size, DEFAULT.top_k) or 0,
        top_p=fields.number("top_p", 0, 1, DEFAULT.top_p),
        min_p=fields.number("min_p", 0, 1, DEFAULT.min_p),
        repetition_penalty=fields.number("repetition_penalty", 0.01, 100, DEFAULT.repetition_penalty),
        presence_penalty=fields.number("presence_penalty", -2, 2, DEFAULT.presence_penalty),
        frequency_penalty=fields.number("frequency_penalty", -2, 2, DEFAULT.frequency_penalty),
        logit_bias=_logit_bias(fields, bounds.vocab_size),
        seed=fields.whole("seed", 0, MAX_SEED),
    )
    stop = fields.texts("stop", MAX_STOPS)
    if not all(0 < len(text) <= MAX_STOP_CHARACTERS for text in stop):
        raise fields.bad("stop", f"each text of stop must have 1 to {MAX_STOP_CHARACTERS} characters")
    ignore_eos = fields.boolean("ignore_eos")
    stream = fields.boolean("stream")
    include_usage = _include_usage(fields, stream)
    for name in ("user", "safety_identifier", "prompt_cache_key"):  # for OpenAI's own bookkeeping
        value = fields.take(name)
        if value is not None:
            fields.text(name, value)
    fields.only("store", False)
    fields.only("metadata", {})
    fields.only("service_tier", "auto", "default")
    fields.finish()
    return GenerationRequest(
        kind, prompts, n, max_tokens, sampling, stop, ignore_eos, logprobs, echo, stream, include_usage
    )


def _model(fields: Fields) -> None:
    name = fields.take("model")
    if name is not None and fields.text("model", name) != MODEL_ID:
        raise no_model(name)


def no_model(name: str) -> ApiError:
    """What to raise about a model that is not here."""
    return ApiError(
        404, f"there is no model {show(name)} here, only {MODEL_ID!r}", code="model_not_found", param="model"
    )


def _prompts(fields: Fields) -> tuple[str, ...]:
    value = fields.take("prompt")
    values = value if isinstance(value, list) else [value]
    if value is None or not values:
        raise fields.bad(
            "prompt", "prompt is missing: pass the text to continue", "missing_required_parameter"
        )
    if not all(isinstance(one, str) for one in values):
        raise fields.bad("prompt", "prompt must be text or a list of texts; tokens are not taken: send text")
    return tuple(fields.text("prompt", one) for one in values)


def _messages(fields: Fields) -> list[tuple[str, str]]:
    """Role and content of each message."""
    value = fields.take("messages")
    if value is None:
        raise fields.bad("messages", "messages is missing", "missing_required_parameter")
    if not isinstance(value, list) or not 0 < len(value) <= MAX_MESSAGES:
        raise fields.bad("messages", f"messages must be a list of 1 to {MAX_MESSAGES}")
    return [_message(one, f"messages[{index}].") for index, one in enumerate(value)]


def _message(value: Any, path: str) -> tuple[str, str]:
    if not isinstance(value, dict):
        raise ApiError(400, f"{path[:-1]} must be an object", code="invalid_value", param=path[:-1])
    fields = Fields(value, path)
    role = fields.take("role")
    if role not in ("system", "developer", "user", "assistant"):
        raise fields.bad("role", f"role must be system, developer, user or assistant, not {show(role)}")
    content = fields.take("content")
    if isinstance(content, list):
        content = "".join(_part(fields, part) for part in content)
    text = fields.text("content", content)
    fields.take("name")
    fields.only("refusal")
    fields.only("tool_calls", [])
    fields.finish()
    return role, text


def _part(fields: Fields, part: Any) -> str:
    if not isinstance(part, Mapping) or part.keys() != {"type", "text"} or part["type"] != "text":
        raise fields.bad("content", 'a part of content must be {"type": "text", "text": ...}')
    return fields.text("content", part["text"])


def _logit_bias(fields: Fields, vocab_size: int) -> dict[int, float]:
    value = fields.take("logit_bias")
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise fields.bad("logit_bias", f"logit_bias must be an object of token to bias, not {show(value)}")
    found = {}
    for token, bias in value.items():
        if not TOKEN.fullmatch(token) or int(token) >= vocab_size:
            raise fields.bad("logit_bias", f"logit_bias: {show(token)} is no token, 0-{vocab_size - 1}")
        if isinstance(bias, bool) or not isinstance(bias, int | float) or not -100 <= bias <= 100:
            raise fields.bad("logit_bias", f"logit_bias: {show(bias)} is not a number from -100 to 100")
        found[int(token)] = float(bias)
    return found


def _include_usage(fields: Fields, stream: bool) -> bool:
    value = fields.take("stream_options")
    if value is None:
        return False
    if not stream:
        raise fields.bad("stream_options", "stream_options needs stream to be true")
    if not isinstance(value, dict):
        raise fields.bad("stream_options", f"stream_options must be an object, not {show(value)}")
    options = Fields(value, "stream_options.")
    include = options.boolean("include_usage")
    options.only("include_obfuscation", False)
    options.finish()
    return include
