"""Parsing of requests: from the JSON of OpenAI's API to a GenerationRequest.

Each field has a type and a range. A field that OpenAI's API does not have, or that requests something a small
model cannot do, is an error: a setting that is silently ignored would be worse.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tinyedge.core.sampling import SamplingConfig
from tinyedge.serve.errors import ApiError
from tinyedge.serve.json_fields import JsonFields, format_value, parse_object
from tinyedge.serve.settings import MAX_ANSWERS

MODEL_ID = "tinyedge"  # the same for every bundle, so clients need not change with it
DEFAULT_COMPLETION_TOKENS = 16  # OpenAI's default
DEFAULT_CHAT_TOKENS = 64  # that of `tinyedge generate`; OpenAI has no limit
MAX_STOPS, MAX_STOP_CHARACTERS = 4, 256
MAX_MESSAGES = 256
MAX_LOGPROBS = 20
MAX_TOTAL_LOGPROBS = 20_000  # of one request: each takes about 500 bytes until the answer is sent
MAX_SEED = (1 << 63) - 1
DEFAULT_SAMPLING = SamplingConfig()  # the same text for the same seed as `tinyedge generate`
TOKEN_ID = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True)
class RequestLimits:
    """Limits that depend on the loaded model and the settings."""

    vocab_size: int
    """Number of tokens in the vocabulary."""
    max_tokens: int
    """Maximum number of tokens in an answer."""


@dataclass(frozen=True)
class GenerationRequest:
    """A valid request."""

    kind: Literal["completion", "chat"]
    """Format of the answer."""
    prompts: tuple[str, ...]
    """Texts to continue."""
    n: int
    """Number of answers for each prompt."""
    max_tokens: int
    """Maximum number of tokens in an answer; 0 only with `echo`."""
    sampling: SamplingConfig
    """How tokens are selected."""
    stop: tuple[str, ...]
    """Strings that end an answer."""
    ignore_eos: bool
    """Whether EOS is a line break instead of the end of an answer."""
    logprobs: int | None
    """Number of most likely tokens to list for each token; None for no log probabilities."""
    echo: bool
    """Whether an answer starts with its prompt."""
    stream: bool
    """Whether answers are sent as events while they are generated."""
    include_usage: bool
    """Whether the last event of a stream contains token counts."""


def parse_completion(body: bytes, limits: RequestLimits) -> GenerationRequest:
    """Parse the body of a request to `/v1/completions`.

    Raises:
        ApiError: The body or one of its fields is invalid.
    """
    fields = JsonFields(parse_object(body))
    _check_model(fields)
    prompts = _parse_prompts(fields)
    echo = fields.take_boolean("echo")
    fields.require_neutral("suffix", "")
    n = fields.take_integer("n", 1, MAX_ANSWERS, 1) or 1
    fields.require_neutral("best_of", n)
    logprobs = fields.take_integer("logprobs", 0, MAX_LOGPROBS)
    minimum = 0 if echo else 1  # with echo, the prompt alone is an answer, for example to be scored
    max_tokens = fields.take_integer(
        "max_tokens", minimum, limits.max_tokens, min(DEFAULT_COMPLETION_TOKENS, limits.max_tokens)
    )
    assert max_tokens is not None
    return _make_request("completion", fields, limits, prompts, n, max_tokens, logprobs, echo)


def parse_chat(body: bytes, limits: RequestLimits) -> GenerationRequest:
    """Parse the body of a request to `/v1/chat/completions`.

    Raises:
        ApiError: The body or one of its fields is invalid.
    """
    fields = JsonFields(parse_object(body))
    _check_model(fields)
    prompt = apply_plain_template(_parse_messages(fields))
    n = fields.take_integer("n", 1, MAX_ANSWERS, 1) or 1
    legacy_limit = fields.take_integer("max_tokens", 1, limits.max_tokens)
    limit = fields.take_integer("max_completion_tokens", 1, limits.max_tokens, legacy_limit)
    if legacy_limit is not None and limit != legacy_limit:
        raise fields.make_error("max_tokens", "max_tokens and max_completion_tokens contradict each other")
    has_logprobs = fields.take_boolean("logprobs")
    count = fields.take_integer("top_logprobs", 0, MAX_LOGPROBS)
    if count is not None and not has_logprobs:
        raise fields.make_error("top_logprobs", "top_logprobs requires logprobs to be true")
    for name, neutral in (
        ("tools", []),
        ("tool_choice", "none"),
        ("parallel_tool_calls", True),
        ("response_format", {"type": "text"}),
        ("modalities", ["text"]),
        ("reasoning_effort", "none"),
    ):
        fields.require_neutral(name, neutral)
    max_tokens = limit or min(DEFAULT_CHAT_TOKENS, limits.max_tokens)
    logprobs = (count or 0) if has_logprobs else None
    return _make_request("chat", fields, limits, (prompt,), n, max_tokens, logprobs, echo=False)


def apply_plain_template(messages: list[tuple[str, str]]) -> str:
    """Convert messages to a prompt: each is a line, and the answer is the next line.

    The model was not trained on conversations, so roles are not part of the prompt. If the last message is
    the assistant's, the answer continues its line.

    Args:
        messages: Role and content of each message.
    """
    lines = "\n".join(content for _, content in messages)
    return lines if messages[-1][0] == "assistant" else f"{lines}\n"


def _make_request(
    kind: Literal["completion", "chat"],
    fields: JsonFields,
    limits: RequestLimits,
    prompts: tuple[str, ...],
    n: int,
    max_tokens: int,
    logprobs: int | None,
    echo: bool,
) -> GenerationRequest:
    """Parse the fields that both kinds of request have, and create the request."""
    if len(prompts) * n > MAX_ANSWERS:
        name = "n" if n > 1 else "prompt"
        raise fields.make_error(
            name, f"{len(prompts)} prompts, {n} times each, are more than {MAX_ANSWERS} answers"
        )
    if logprobs is not None:
        tokens = sum(max_tokens + (len(prompt) if echo else 0) for prompt in prompts) * n
        if tokens * (1 + logprobs) > MAX_TOTAL_LOGPROBS:
            raise fields.make_error(
                "logprobs",
                f"up to {tokens} tokens with {1 + logprobs} log probabilities each exceed the limit of"
                f" {MAX_TOTAL_LOGPROBS}: request fewer",
            )
    sampling = SamplingConfig(
        temperature=fields.take_number("temperature", 0, 2, DEFAULT_SAMPLING.temperature),
        top_k=fields.take_integer("top_k", 0, limits.vocab_size, DEFAULT_SAMPLING.top_k) or 0,
        top_p=fields.take_number("top_p", 0, 1, DEFAULT_SAMPLING.top_p),
        min_p=fields.take_number("min_p", 0, 1, DEFAULT_SAMPLING.min_p),
        repetition_penalty=fields.take_number(
            "repetition_penalty", 0.01, 100, DEFAULT_SAMPLING.repetition_penalty
        ),
        presence_penalty=fields.take_number("presence_penalty", -2, 2, DEFAULT_SAMPLING.presence_penalty),
        frequency_penalty=fields.take_number("frequency_penalty", -2, 2, DEFAULT_SAMPLING.frequency_penalty),
        logit_bias=_parse_logit_bias(fields, limits.vocab_size),
        seed=fields.take_integer("seed", 0, MAX_SEED),
    )
    stop = fields.take_texts("stop", MAX_STOPS)
    if not all(0 < len(text) <= MAX_STOP_CHARACTERS for text in stop):
        raise fields.make_error("stop", f"each text of stop must have 1 to {MAX_STOP_CHARACTERS} characters")
    ignore_eos = fields.take_boolean("ignore_eos")
    stream = fields.take_boolean("stream")
    include_usage = _parse_include_usage(fields, stream)
    for name in ("user", "safety_identifier", "prompt_cache_key"):  # used by OpenAI for its own purposes
        value = fields.take(name)
        if value is not None:
            fields.require_text(name, value)
    fields.require_neutral("store", False)
    fields.require_neutral("metadata", {})
    fields.require_neutral("service_tier", "auto", "default")
    fields.reject_unknown()
    return GenerationRequest(
        kind, prompts, n, max_tokens, sampling, stop, ignore_eos, logprobs, echo, stream, include_usage
    )


def _check_model(fields: JsonFields) -> None:
    name = fields.take("model")
    if name is not None and fields.require_text("model", name) != MODEL_ID:
        raise make_unknown_model_error(name)


def make_unknown_model_error(name: str) -> ApiError:
    """Create the error for a model that does not exist."""
    return ApiError(
        404,
        f"there is no model {format_value(name)}, only {MODEL_ID!r}",
        code="model_not_found",
        param="model",
    )


def _parse_prompts(fields: JsonFields) -> tuple[str, ...]:
    value = fields.take("prompt")
    values = value if isinstance(value, list) else [value]
    if value is None or not values:
        raise fields.make_error(
            "prompt", "prompt is missing: pass the text to continue", "missing_required_parameter"
        )
    if not all(isinstance(one, str) for one in values):
        raise fields.make_error(
            "prompt", "prompt must be text or a list of texts; token ids are not supported: send text"
        )
    return tuple(fields.require_text("prompt", one) for one in values)


def _parse_messages(fields: JsonFields) -> list[tuple[str, str]]:
    """Parse the messages into role and content."""
    value = fields.take("messages")
    if value is None:
        raise fields.make_error("messages", "messages is missing", "missing_required_parameter")
    if not isinstance(value, list) or not 0 < len(value) <= MAX_MESSAGES:
        raise fields.make_error("messages", f"messages must be a list of 1 to {MAX_MESSAGES}")
    return [_parse_message(one, f"messages[{index}].") for index, one in enumerate(value)]


def _parse_message(value: Any, path: str) -> tuple[str, str]:
    if not isinstance(value, dict):
        raise ApiError(400, f"{path[:-1]} must be an object", code="invalid_value", param=path[:-1])
    fields = JsonFields(value, path)
    role = fields.take("role")
    if role not in ("system", "developer", "user", "assistant"):
        raise fields.make_error(
            "role", f"role must be system, developer, user or assistant, not {format_value(role)}"
        )
    content = fields.take("content")
    if isinstance(content, list):
        content = "".join(_parse_content_part(fields, part) for part in content)
    text = fields.require_text("content", content)
    fields.take("name")
    fields.require_neutral("refusal")
    fields.require_neutral("tool_calls", [])
    fields.reject_unknown()
    return role, text


def _parse_content_part(fields: JsonFields, part: Any) -> str:
    if not isinstance(part, Mapping) or part.keys() != {"type", "text"} or part["type"] != "text":
        raise fields.make_error("content", 'a part of content must be {"type": "text", "text": ...}')
    return fields.require_text("content", part["text"])


def _parse_logit_bias(fields: JsonFields, vocab_size: int) -> dict[int, float]:
    value = fields.take("logit_bias")
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise fields.make_error(
            "logit_bias", f"logit_bias must be an object of token to bias, not {format_value(value)}"
        )
    found = {}
    for token, bias in value.items():
        if not TOKEN_ID.fullmatch(token) or int(token) >= vocab_size:
            raise fields.make_error(
                "logit_bias", f"logit_bias: {format_value(token)} is not a token id, 0-{vocab_size - 1}"
            )
        if isinstance(bias, bool) or not isinstance(bias, int | float) or not -100 <= bias <= 100:
            raise fields.make_error(
                "logit_bias", f"logit_bias: {format_value(bias)} is not a number from -100 to 100"
            )
        found[int(token)] = float(bias)
    return found


def _parse_include_usage(fields: JsonFields, stream: bool) -> bool:
    value = fields.take("stream_options")
    if value is None:
        return False
    if not stream:
        raise fields.make_error("stream_options", "stream_options requires stream to be true")
    if not isinstance(value, dict):
        raise fields.make_error(
            "stream_options", f"stream_options must be an object, not {format_value(value)}"
        )
    options = JsonFields(value, "stream_options.")
    include = options.take_boolean("include_usage")
    options.require_neutral("include_obfuscation", False)
    options.reject_unknown()
    return include
