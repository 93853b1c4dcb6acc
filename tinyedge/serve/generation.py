"""Generation of the answers to a request, step by step. Blocks while the model computes: runs in a worker.

In: a GenerationRequest. Out: GenerationSteps. This is the only module of the server that uses the generator;
it does not know HTTP or JSON.
"""

import dataclasses
import re
import time
from collections import abc, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from tinyedge.core.errors import UsageError
from tinyedge.runtime.content_filter import ContentFilter
from tinyedge.runtime.generator import Generator
from tinyedge.runtime.pieces import FinishReason, Piece
from tinyedge.serve.answer_form import join_hint
from tinyedge.serve.errors import ApiError
from tinyedge.serve.requests import MAX_SEED, GenerationRequest, TokenIds
from tinyedge.serve.text_offsets import OffsetCounter, locate_prompt_tokens
from tinyedge.text.tokenizer import BOS_ID, EOS_ID, PAD_ID, UNK_ID, Tokenizer

BOS_TEXT, EOS_TEXT = "<s>", "</s>"  # as tokenizers of other tools decode them
CONTROL_TOKENS = {BOS_TEXT: BOS_ID, EOS_TEXT: EOS_ID}
SPECIAL_TOKENS = {BOS_ID: BOS_TEXT, EOS_ID: EOS_TEXT, PAD_ID: "<pad>", UNK_ID: "<unk>"}
FORMAT_FIELDS = {
    "completion": None,
    "chat": "response_format",
    "response": "text",
}  # names the form of a text
MAX_PIECE_LENGTH = 64  # characters of one token; SentencePiece's own limit is 16


@dataclass(slots=True)
class AnswerToken:
    """A token as it is listed in an answer with log probabilities."""

    text: str
    """Its spelling."""
    raw: bytes
    """Its bytes, which may be a part of a character."""
    logprob: float | None
    """Its log probability in nats; None for the first token, which nothing precedes."""
    top: list[tuple[str, bytes, float]]
    """Spelling, bytes and log probability of the most likely tokens."""
    offset: int
    """Number of characters before it in the text of its answer."""


@dataclass(slots=True)
class GenerationStep:
    """A new part of an answer."""

    choice: int
    """Index of the answer."""
    text: str
    """Text that can be shown now."""
    generated: int
    """Number of tokens that the model generated: 1, or 0 for an echo of the prompt."""
    tokens: list[AnswerToken]
    """Tokens whose text is shown by now, if the request asks for log probabilities."""
    finish_reason: FinishReason | None
    """On the last step of the answer."""
    timestamp: float
    """When the step was computed, of time.perf_counter."""


@dataclass
class Prompt:
    """A prompt of a request: a text, or token ids."""

    generator: Generator
    """The loaded bundle."""
    given: str | TokenIds
    """The prompt as it was sent."""
    is_literal: bool = False
    """Whether `<s>` at the start of a text is text, instead of the BOS token; then `</s>` in it is EOS."""

    @property
    def has_first_token(self) -> bool:
        """Whether the prompt contains its first token: token ids do, and a text that starts with `<s>`."""
        return not isinstance(self.given, str) or self._spells_tokens

    @property
    def source(self) -> str | TokenIds:
        """The prompt for the generator, which adds BOS to a text, but not to token ids."""
        if isinstance(self.given, str) and self._spells_tokens:
            return tuple(token for token, _ in self._spelled_tokens)
        return self.given

    @cached_property
    def text(self) -> str:
        """The prompt as text."""
        return self.given if isinstance(self.given, str) else self.generator.tokenizer.decode(self.given)

    @cached_property
    def tokens(self) -> list[int]:
        """The tokens that the model sees, BOS included."""
        return self.generator.encode_prompt(self.source)

    def locate_tokens(self) -> list[int]:
        """Return the number of characters of `text` before each token."""
        tokenizer = self.generator.tokenizer
        if not isinstance(self.given, str):
            counter = OffsetCounter(tokenizer, (), 0)
            return [counter.push(token) for token in self.given]
        if self._spells_tokens:
            return [offset for _, offset in self._spelled_tokens]
        return locate_prompt_tokens(tokenizer, self.given, self.tokens)

    def start_counting(self, start: int) -> OffsetCounter:
        """Start to count the characters of its continuation, of which `start` are before the first token."""
        # As in the generator: the first word after a space must not add a second one.
        ends_with_space = isinstance(self.source, str) and self.source[-1:].isspace()
        return OffsetCounter(self.generator.tokenizer, () if ends_with_space else self.tokens, start)

    @property
    def _spells_tokens(self) -> bool:
        """Whether it is the text to which a tokenizer decoded token ids: it then starts with BOS."""
        return isinstance(self.given, str) and self.given.startswith(BOS_TEXT) and not self.is_literal

    @cached_property
    def _spelled_tokens(self) -> list[tuple[int, int]]:
        """Tokens and offsets of a text in which `<s>` and `</s>` are BOS and EOS."""
        found: list[tuple[int, int]] = []
        at = 0
        for part in re.split("(</?s>)", self.text):
            if part in CONTROL_TOKENS:
                found.append((CONTROL_TOKENS[part], at))
            else:
                tokens = self.generator.encode_prompt(part)
                offsets = locate_prompt_tokens(self.generator.tokenizer, part, tokens)
                pairs = zip(tokens, offsets, strict=True)
                found += [(token, at + offset) for token, offset in pairs][1:]  # without the added BOS
            at += len(part)
        return found


def count_tokens(generator: Generator, request: GenerationRequest) -> int:
    """Count the tokens of all prompts, BOS included.

    Raises:
        ApiError: A prompt does not fit into the context of the model.
    """
    return sum(
        _count_prompt_tokens(prompt, request.prompt_field) for prompt in list_prompts(generator, request)
    )


def prepare_form(generator: Generator, request: GenerationRequest) -> None:
    """Prepare the form of the answers.

    Raises:
        ApiError: The tokenizer cannot spell it.
    """
    if request.answer_form.form is None:
        return
    try:
        generator.prepare_form(request.answer_form.form)
    except UsageError as failure:
        raise _make_form_error(request, failure) from None


def _make_form_error(request: GenerationRequest, failure: UsageError) -> ApiError:
    form = request.answer_form.form
    if form is not None and form.kind == "command":
        param: str | None = request.prompt_field
    else:
        param = "tools" if request.answer_form.has_tools else FORMAT_FIELDS[request.kind]
    message = join_hint(failure.name_flags(lambda name: param or name))
    return ApiError(400, message, code="unsupported_value", param=param)


def list_prompts(generator: Generator, request: GenerationRequest) -> list[Prompt]:
    """Create the prompts of a request."""
    is_literal = request.kind != "completion"  # no client puts BOS into a message
    return [Prompt(generator, given, is_literal) for given in request.prompts]


def _count_prompt_tokens(prompt: Prompt, param: str) -> int:
    context = prompt.generator.config.max_seq_length
    # Checked first, so that a prompt of megabytes is not tokenized.
    if isinstance(prompt.given, str) and len(prompt.given) > context * MAX_PIECE_LENGTH:
        raise _make_too_long_error(f"{len(prompt.given)} characters", context, param)
    tokens = len(prompt.tokens)
    if tokens > context:
        raise _make_too_long_error(f"{tokens} tokens", context, param)
    return tokens


def _make_too_long_error(length: str, context: int, param: str) -> ApiError:
    return ApiError(
        400,
        f"the prompt has {length}, but the model's context is {context} tokens: shorten the prompt",
        code="context_length_exceeded",
        param=param,
    )


def generate_steps(
    generator: Generator, request: GenerationRequest, content_filter: ContentFilter | None
) -> abc.Generator[GenerationStep, None, None]:
    """Generate all answers to a request, one after another: `n` for the first prompt, then for the next.

    The answer to a home command is held back until it is complete, and then translated.

    Raises:
        ApiError: The form is too complex, which a token may show.
    """
    try:
        yield from _generate_steps(generator, request, content_filter)
    except UsageError as failure:
        form = request.answer_form.form
        if form is None or form.parameter not in failure.parameters:
            raise
        raise _make_form_error(request, failure) from None


def _generate_steps(
    generator: Generator, request: GenerationRequest, content_filter: ContentFilter | None
) -> abc.Generator[GenerationStep, None, None]:
    steps = _generate_texts(generator, request, content_filter)
    reply = request.reply
    if reply is None:
        yield from steps
    elif reply.text is not None:
        for choice in range(request.n):
            yield GenerationStep(choice, reply.text, 0, [], "stop", time.perf_counter())
    else:
        texts = [""] * request.n
        for step in steps:
            texts[step.choice] += step.text
            text = reply.translate(texts[step.choice]) if step.finish_reason else ""
            # Where the model's text was cut, a sentence says so: the answer itself is complete.
            reason: FinishReason | None = "stop" if step.finish_reason else None
            yield dataclasses.replace(step, text=text, finish_reason=reason)


def _generate_texts(
    generator: Generator, request: GenerationRequest, content_filter: ContentFilter | None
) -> abc.Generator[GenerationStep, None, None]:
    for number, prompt in enumerate(list_prompts(generator, request)):
        for sample in range(request.n):
            choice = number * request.n + sample
            if request.echo:
                scored: list[AnswerToken] = []
                if request.logprobs is not None:
                    scored = score_prompt(prompt, request.logprobs)
                reason: FinishReason | None = None if request.max_tokens else "length"
                yield GenerationStep(choice, prompt.text, 0, scored, reason, time.perf_counter())
            if request.max_tokens:
                pending = _PendingTokens(prompt, request.echo)
                for piece in _stream_pieces(request, prompt, sample, content_filter):
                    tokens = pending.release(piece) if piece.logprob is not None else []
                    yield GenerationStep(
                        choice, piece.text, 1, tokens, piece.finish_reason, time.perf_counter()
                    )


def _stream_pieces(
    request: GenerationRequest,
    prompt: Prompt,
    sample: int,
    content_filter: ContentFilter | None,
) -> Iterator[Piece]:
    """Start one text; every text of the server starts here."""
    sampling = request.sampling
    if sampling.seed is not None and sample:  # n answers get n different seeds
        sampling = dataclasses.replace(sampling, seed=(sampling.seed + sample) & MAX_SEED)
    return prompt.generator.stream(
        prompt.source,
        max_tokens=request.max_tokens,
        min_tokens=request.min_tokens,
        sampling=sampling,
        stop=request.stop,
        ignore_eos=request.ignore_eos,
        logprobs=request.logprobs,
        content_filter=content_filter,
        form=request.answer_form.form,
    )


class _PendingTokens:
    """Tokens that wait until their text is shown: earlier, they would reveal text that may be removed."""

    def __init__(self, prompt: Prompt, is_echo: bool) -> None:
        """Start an answer.

        Args:
            prompt: The prompt that it continues.
            is_echo: Whether the text of the answer starts with the prompt.
        """
        text_start = len(prompt.text) if is_echo else 0
        self._tokenizer = prompt.generator.tokenizer
        self._counter = prompt.start_counting(text_start)
        self._pending: deque[tuple[int, AnswerToken]] = deque()  # each with the end of its text
        self._shown = text_start
        self._is_echo = is_echo

    def release(self, piece: Piece) -> list[AnswerToken]:
        """Add the token of a piece and return the tokens whose text is shown by now.

        Tokens of text that a stop string or the content filter removed are not returned. After an echo, those
        that the filter removed are returned without their text: evaluation harnesses find the prompt's tokens
        by subtracting the number of generated ones from the end.
        """
        if piece.overlap:  # only the rest of the token's text is part of the answer
            raw = self._tokenizer.piece(piece.token)[piece.overlap :]
            offset = self._counter.push_text(raw.decode())
            token = _make_token(self._tokenizer, piece.token, piece.logprob, piece.top_logprobs, offset)
            token = dataclasses.replace(token, text=raw.decode(), raw=raw)
        else:
            offset = self._counter.push(piece.token)
            token = _make_token(self._tokenizer, piece.token, piece.logprob, piece.top_logprobs, offset)
        self._pending.append((self._counter.end, token))
        self._shown += len(piece.text)
        # After EOS or max_tokens the text is complete; a stop string or a listed word removes a part of it.
        is_complete = piece.finish_reason == "length" or (
            piece.finish_reason == "stop" and piece.token == EOS_ID
        )
        if piece.finish_reason == "content_filter" and self._is_echo:
            hidden = [_hide_text(token) for _, token in self._pending]
            self._pending.clear()
            return hidden
        released = []
        while self._pending and (is_complete or self._pending[0][0] <= self._shown):
            released.append(self._pending.popleft()[1])
        return released


def _hide_text(token: AnswerToken) -> AnswerToken:
    top = [("", b"", logprob) for _, _, logprob in token.top[:1]]
    return dataclasses.replace(token, text="", raw=b"", top=top)


def score_prompt(prompt: Prompt, top: int) -> list[AnswerToken]:
    """Compute the log probability of each token of a prompt, given the tokens before it.

    Args:
        prompt: The prompt to score.
        top: Number of most likely tokens to list for each position.

    Returns:
        All tokens of the prompt, the first one without a log probability. A BOS that the generator adds is
        not part of the prompt.
    """
    from tinyedge.runtime.logprobs import compute_logprobs  # needs numpy, and most requests do not

    tokens, offsets = prompt.tokens, prompt.locate_tokens()
    tokenizer = prompt.generator.tokenizer
    decoder = prompt.generator.session.decoder()
    logits = decoder.prefill(tokens[:1])
    first = [_make_token(tokenizer, tokens[0], None, (), offsets[0])]
    scored = first if prompt.has_first_token else []
    for position, token in enumerate(tokens[1:], start=1):
        scored.append(_make_token(tokenizer, token, *compute_logprobs(logits, token, top), offsets[position]))
        if position < len(tokens) - 1:
            logits = decoder.step(token)
    return scored


def _make_token(
    tokenizer: Tokenizer, token: int, logprob: float | None, top: Sequence[tuple[int, float]], offset: int
) -> AnswerToken:
    likeliest = [(*spell_token(tokenizer, one), value) for one, value in top]
    return AnswerToken(*spell_token(tokenizer, token), logprob, likeliest, offset)


def spell_token(tokenizer: Tokenizer, token: int) -> tuple[str, bytes]:
    r"""Return a token as text and as bytes; a part of a character is spelled `bytes:\xe2`, as OpenAI does."""
    if token in SPECIAL_TOKENS:
        return SPECIAL_TOKENS[token], b""
    raw = tokenizer.piece(token)
    try:
        return raw.decode(), raw
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in raw), raw
