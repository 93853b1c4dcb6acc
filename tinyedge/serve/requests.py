"""Parsing of requests: from the JSON of OpenAI's API to a GenerationRequest.

Each field has a type and a range. A field that OpenAI's API does not have, or that requests something a small
model cannot do, is an error: a setting that is silently ignored would be worse.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from tinyedge.core.sampling import COMMAND_TOKENS, DEFAULT_TOKENS, SamplingConfig
from tinyedge.forms.form import Form
from tinyedge.serve.answer_form import (
    ANY_TEXT,
    AnswerForm,
    parse_answer_form,
    parse_text_format,
    parse_tools,
)
from tinyedge.serve.errors import ApiError
from tinyedge.serve.json_fields import JsonFields, format_value, parse_object
from tinyedge.serve.messages import Message, apply_template, parse_messages
from tinyedge.serve.settings import MAX_ANSWERS

if TYPE_CHECKING:  # few servers need it
    from tinyedge.serve.home_commands import CommandReply, HomeCommands

MODEL_ID = "tinyedge"  # the same for every bundle, so clients need not change with it
DEFAULT_COMPLETION_TOKENS = 16  # OpenAI's default
MAX_STOPS, MAX_STOP_CHARACTERS = 64, 256  # OpenAI allows 4; tools for code send a dozen
MAX_LOGPROBS = 20
MAX_TOTAL_LOGPROBS = 20_000  # of one request: each takes about 500 bytes until the answer is sent
MAX_SEED = (1 << 63) - 1
DEFAULT_SAMPLING = SamplingConfig()  # the same text for the same seed as `tinyedge generate`
TOKEN_ID = re.compile(r"[0-9]{1,9}")

TokenIds = tuple[int, ...]
RequestKind = Literal["completion", "chat", "response"]
PROMPT_FIELDS: dict[RequestKind, str] = {"completion": "prompt", "chat": "messages", "response": "input"}


@dataclass(frozen=True)
class RequestLimits:
    """Limits that depend on the loaded model and the settings."""

    vocab_size: int
    """Number of tokens in the vocabulary."""
    max_tokens: int
    """Maximum number of tokens in an answer."""
    encode_turns: Callable[[Sequence[str]], Sequence[int]] | None = None
    """Encodes a conversation in the template of the training; None for a model that was trained on text."""
    max_turns: int = 0
    """Largest number of prompts in a conversation that the model was trained on; 0 if it is not known."""
    commands: "HomeCommands | None" = None
    """The home whose commands the model answers; None for any other model."""


@dataclass(frozen=True)
class GenerationRequest:
    """A valid request."""

    kind: RequestKind
    """Format of the answer."""
    prompts: tuple[str | TokenIds, ...]
    """Texts to continue, or their token ids."""
    n: int
    """Number of answers for each prompt."""
    max_tokens: int
    """Maximum number of tokens in an answer; 0 only with `echo`."""
    min_tokens: int
    """Number of tokens before which EOS is not generated."""
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
    continuous_usage: bool
    """Whether every event of a stream contains the token counts so far."""
    instructions: str | None = None
    """First message of a response request, which its answer repeats."""
    answer_form: AnswerForm = ANY_TEXT
    """What an answer may be."""
    reply: "CommandReply | None" = None
    """How the answer to a home command is made; None for any other request."""

    @property
    def prompt_field(self) -> str:
        """Name of the field that contains the prompt."""
        return PROMPT_FIELDS[self.kind]


def parse_completion(body: bytes, limits: RequestLimits) -> GenerationRequest:
    """Parse the body of a request to `/v1/completions`.

    Raises:
        ApiError: The body or one of its fields is invalid.
    """
    fields = JsonFields(parse_object(body))
    check_model(fields)
    prompts = _parse_prompts(fields, limits.vocab_size)
    echo = fields.take_boolean("echo")
    fields.require_neutral("suffix", "")
    n = fields.take_integer("n", 1, MAX_ANSWERS, 1) or 1
    fields.require_neutral("best_of", n)
    logprobs = fields.take_integer("logprobs", 0, MAX_LOGPROBS)
    minimum = 0 if echo else 1  # with echo, the prompt alone is an answer, for example to be scored
    max_tokens = fields.take_integer("max_tokens", minimum, limits.max_tokens)
    if max_tokens is None:
        max_tokens = min(DEFAULT_COMPLETION_TOKENS, limits.max_tokens)
    return make_request("completion", fields, limits, prompts, n, max_tokens, logprobs, echo)


def parse_chat(body: bytes, limits: RequestLimits) -> GenerationRequest:
    """Parse the body of a request to `/v1/chat/completions`.

    Raises:
        ApiError: The body or one of its fields is invalid.
    """
    fields = JsonFields(parse_object(body))
    check_model(fields)
    messages = parse_messages(fields, "messages")
    n = fields.take_integer("n", 1, MAX_ANSWERS, 1) or 1
    legacy_limit = fields.take_integer("max_tokens", 1, limits.max_tokens)
    limit = fields.take_integer("max_completion_tokens", 1, None, legacy_limit)
    if legacy_limit is not None and limit != legacy_limit:
        raise fields.make_error("max_tokens", "max_tokens and max_completion_tokens contradict each other")
    has_logprobs = fields.take_boolean("logprobs")
    count = fields.take_integer("top_logprobs", 0, MAX_LOGPROBS)
    if count is not None and not has_logprobs:
        raise fields.make_error("top_logprobs", "top_logprobs requires logprobs to be true")
    text_form = parse_text_format(fields, "response_format", is_flat=False)
    conversation = parse_conversation(fields, limits, messages, text_form, "response_format")
    for name, *neutral in (
        ("functions", []),
        ("function_call", "none"),
        ("modalities", ["text"]),
        ("reasoning_effort", "none"),
        ("prediction",),
        ("audio",),
        ("verbosity", "medium"),
        ("web_search_options",),
    ):
        fields.require_neutral(name, *neutral)
    max_tokens = min(limit or conversation.default_tokens, limits.max_tokens)
    logprobs = (count or 0) if has_logprobs else None
    prompts = (conversation.prompt,)
    return make_request(
        "chat",
        fields,
        limits,
        prompts,
        n,
        max_tokens,
        logprobs,
        answer_form=conversation.answer_form,
        reply=conversation.reply,
    )


class Conversation(NamedTuple):
    """What a model is asked with a list of messages, and what it may answer."""

    prompt: str | TokenIds
    """The prompt."""
    answer_form: AnswerForm
    """What an answer may be."""
    reply: "CommandReply | None" = None
    """How the answer to a home command is made; None for any other request."""

    default_tokens: int = DEFAULT_TOKENS
    """Maximum number of tokens in an answer for which the request has none."""


def parse_conversation(
    fields: JsonFields,
    limits: RequestLimits,
    messages: list[Message],
    text_form: Form | None,
    text_field: str,
    is_flat: bool = False,
) -> Conversation:
    """Make a prompt of messages, and take the fields about tools.

    Args:
        fields: The request.
        limits: What the model was trained for.
        messages: Its messages.
        text_form: Result of `parse_text_format`.
        text_field: Name of its field.
        is_flat: Whether a tool is written as in the response API, without an object `function`.

    Raises:
        ApiError: A field is invalid.
    """
    if limits.commands is None or limits.encode_turns is None:
        prompt = apply_template(messages, limits.encode_turns, limits.max_turns)
        return Conversation(prompt, parse_answer_form(fields, text_form, text_field, is_flat))
    text = limits.commands.format_prompt(messages)
    prompt = tuple(limits.encode_turns([text]))
    tools = parse_tools(fields, is_flat)
    choice = fields.take("tool_choice")
    fields.take_boolean("parallel_tool_calls")  # there is one call at most
    if not tools:
        form = text_form or Form.command(text)
        return Conversation(prompt, AnswerForm(form), default_tokens=COMMAND_TOKENS)
    reply = limits.commands.prepare_reply(messages, [] if choice == "none" else tools)
    return Conversation(prompt, AnswerForm(Form.command(text), has_tools=True), reply, COMMAND_TOKENS)


def make_request(
    kind: RequestKind,
    fields: JsonFields,
    limits: RequestLimits,
    prompts: tuple[str | TokenIds, ...],
    n: int,
    max_tokens: int,
    logprobs: int | None,
    echo: bool = False,
    instructions: str | None = None,
    answer_form: AnswerForm = ANY_TEXT,
    reply: "CommandReply | None" = None,
) -> GenerationRequest:
    """Parse the fields that all kinds of request have, and create the request.

    Raises:
        ApiError: One of them is invalid, or an unknown field remains.
    """
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
    temperature = fields.take_number("temperature", 0, 2, DEFAULT_SAMPLING.temperature)
    sampling = SamplingConfig(
        temperature=0.0 if reply else temperature,  # a command has one right answer
        # -1 is vLLM's and llama.cpp's value for all tokens, and for a seed that is not fixed.
        top_k=max(0, fields.take_integer("top_k", -1, limits.vocab_size, DEFAULT_SAMPLING.top_k) or 0),
        top_p=fields.take_number("top_p", 0, 1, DEFAULT_SAMPLING.top_p),
        min_p=fields.take_number("min_p", 0, 1, DEFAULT_SAMPLING.min_p),
        repetition_penalty=fields.take_number(
            "repetition_penalty", 0.01, 100, DEFAULT_SAMPLING.repetition_penalty
        ),
        presence_penalty=fields.take_number("presence_penalty", -2, 2, DEFAULT_SAMPLING.presence_penalty),
        frequency_penalty=fields.take_number("frequency_penalty", -2, 2, DEFAULT_SAMPLING.frequency_penalty),
        logit_bias=_parse_logit_bias(fields, limits.vocab_size),
        seed=None if (seed := fields.take_integer("seed", -1, MAX_SEED)) == -1 else seed,
    )
    stop = fields.take_texts("stop", MAX_STOPS)
    if not all(0 < len(text) <= MAX_STOP_CHARACTERS for text in stop):
        raise fields.make_error("stop", f"each text of stop must have 1 to {MAX_STOP_CHARACTERS} characters")
    ignore_eos = fields.take_boolean("ignore_eos")
    min_tokens = fields.take_integer("min_tokens", 0, max_tokens, 0) or 0
    if answer_form.form:
        for name in (
            name
            for name, value in (("stop", stop), ("ignore_eos", ignore_eos), ("min_tokens", min_tokens))
            if value
        ):
            raise fields.make_error(
                name,
                f"{name} cannot be used with a form, which says where the answer ends: omit it",
                "unsupported_value",
            )
    stream = fields.take_boolean("stream")
    include_usage, continuous_usage = _parse_stream_options(fields, stream)
    for name in ("user", "safety_identifier", "prompt_cache_key"):  # used by OpenAI for its own purposes
        value = fields.take(name)
        if value is not None:
            fields.require_text(name, value)
    fields.require_neutral("store", False)
    fields.require_neutral("metadata", {})
    fields.require_neutral("service_tier", "auto", "default")
    fields.reject_unknown()
    return GenerationRequest(
        kind=kind,
        prompts=prompts,
        n=n,
        max_tokens=max_tokens,
        min_tokens=min_tokens,
        sampling=sampling,
        stop=stop,
        ignore_eos=ignore_eos,
        logprobs=logprobs,
        echo=echo,
        stream=stream,
        include_usage=include_usage,
        continuous_usage=continuous_usage,
        instructions=instructions,
        answer_form=answer_form,
        reply=reply,
    )


def check_model(fields: JsonFields) -> None:
    """Take the field `model`, which may be absent; ApiError if it is not the name of the model."""
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


def _parse_prompts(fields: JsonFields, vocab_size: int) -> tuple[str | TokenIds, ...]:
    """Parse one prompt or a list of prompts; each is a text or a list of token ids."""
    value = fields.take("prompt")
    if value is None or value == []:
        raise fields.make_error(
            "prompt", "prompt is missing: pass the text to continue", "missing_required_parameter"
        )
    is_list = isinstance(value, list) and isinstance(value[0], str | list)
    values = value if is_list else [value]
    if all(isinstance(one, str) for one in values):
        return tuple(fields.require_text("prompt", one) for one in values)
    if all(isinstance(one, list) and one for one in values):
        return tuple(_require_token_ids(fields, one, vocab_size) for one in values)
    raise fields.make_error(
        "prompt", "prompt must be a text, a list of texts, a list of token ids, or a list of such lists"
    )


def _require_token_ids(fields: JsonFields, ids: list[Any], vocab_size: int) -> TokenIds:
    for token in ids:
        if type(token) is not int or not 0 <= token < vocab_size:
            raise fields.make_error(
                "prompt", f"prompt: {format_value(token)} is not a token id, 0-{vocab_size - 1}"
            )
    return tuple(ids)


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
        if bias is None:
            continue
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


def _parse_stream_options(fields: JsonFields, stream: bool) -> tuple[bool, bool]:
    """Parse whether the end of a stream, and whether each of its events, contains token counts."""
    value = fields.take("stream_options")
    if value is None:
        return False, False
    if not stream:
        raise fields.make_error("stream_options", "stream_options requires stream to be true")
    if not isinstance(value, dict):
        raise fields.make_error(
            "stream_options", f"stream_options must be an object, not {format_value(value)}"
        )
    options = JsonFields(value, "stream_options.")
    include = options.take_boolean("include_usage")
    continuous = options.take_boolean("continuous_usage_stats")
    options.require_neutral("include_obfuscation", False)
    options.reject_unknown()
    return include, include and continuous
