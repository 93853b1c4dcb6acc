"""Generation of the answers to a request, step by step. Blocks while the model computes: runs in a worker.

In: a GenerationRequest. Out: GenerationSteps. This is the only module of the server that uses the generator;
it does not know HTTP or JSON.
"""

import dataclasses
import time
from collections import abc, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tinyedge.core.arrays import log_softmax
from tinyedge.runtime.content_filter import ContentFilter
from tinyedge.runtime.generator import FinishReason, Generator, Piece
from tinyedge.runtime.sampler import find_largest
from tinyedge.serve.errors import ApiError
from tinyedge.serve.requests import MAX_SEED, GenerationRequest
from tinyedge.text.tokenizer import BOS_ID, EOS_ID, PAD_ID, UNK_ID, Tokenizer

SPECIAL_TOKENS = {BOS_ID: "<s>", EOS_ID: "</s>", PAD_ID: "<pad>", UNK_ID: "<unk>"}
MAX_PIECE_LENGTH = 64  # characters of one token; SentencePiece's own limit is 16


@dataclass(slots=True)
class AnswerToken:
    """A token as it is listed in an answer with log probabilities."""

    text: str
    """Its spelling."""
    raw: bytes
    """Its bytes, which may be a part of a character."""
    logprob: float
    """Its log probability in nats."""
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


def count_tokens(generator: Generator, request: GenerationRequest) -> int:
    """Count the tokens of all prompts, BOS included.

    Raises:
        ApiError: A prompt does not fit into the context of the model.
    """
    param = "messages" if request.kind == "chat" else "prompt"
    return sum(_count_prompt_tokens(generator, prompt, param) for prompt in request.prompts)


def _count_prompt_tokens(generator: Generator, prompt: str, param: str) -> int:
    context = generator.config.max_seq_length
    # Checked first, so that a prompt of megabytes is not tokenized.
    if len(prompt) > context * MAX_PIECE_LENGTH:
        raise _make_too_long_error(f"{len(prompt)} characters", context, param)
    tokens = len(generator.encode_prompt(prompt))
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
    """Generate all answers to a request, one after another: `n` for the first prompt, then for the next."""
    for number, prompt in enumerate(request.prompts):
        for sample in range(request.n):
            choice = number * request.n + sample
            if request.echo:
                scored: list[AnswerToken] = []
                if request.logprobs is not None:
                    scored = score_prompt(generator, prompt, request.logprobs)
                reason: FinishReason | None = None if request.max_tokens else "length"
                yield GenerationStep(choice, prompt, 0, scored, reason, time.perf_counter())
            if request.max_tokens:
                at_word_start = not prompt or prompt[-1].isspace()
                text_start = len(prompt) if request.echo else 0
                pending = _PendingTokens(generator.tokenizer, text_start, at_word_start)
                for piece in _stream_pieces(generator, request, prompt, sample, content_filter):
                    tokens = pending.release(piece) if piece.logprob is not None else []
                    yield GenerationStep(
                        choice, piece.text, 1, tokens, piece.finish_reason, time.perf_counter()
                    )


def _stream_pieces(
    generator: Generator,
    request: GenerationRequest,
    prompt: str,
    sample: int,
    content_filter: ContentFilter | None,
) -> Iterator[Piece]:
    """Start one text; every text of the server starts here."""
    sampling = request.sampling
    if sampling.seed is not None and sample:  # n answers get n different seeds
        sampling = dataclasses.replace(sampling, seed=(sampling.seed + sample) & MAX_SEED)
    return generator.stream(
        prompt,
        max_tokens=request.max_tokens,
        sampling=sampling,
        stop=request.stop,
        ignore_eos=request.ignore_eos,
        logprobs=request.logprobs,
        content_filter=content_filter,
    )


class _PendingTokens:
    """Tokens that wait until their text is shown: earlier, they would reveal text that may be removed."""

    def __init__(self, tokenizer: Tokenizer, text_start: int, at_word_start: bool) -> None:
        """Start an answer.

        Args:
            tokenizer: Spells the tokens.
            text_start: Number of characters of the answer's text before the first token.
            at_word_start: Whether the text starts a line or follows a space: the space of a word at its start
                is not shown.
        """
        self._tokenizer = tokenizer
        self._at_word_start = at_word_start
        self._pending: deque[tuple[int, AnswerToken]] = deque()  # each with the end of its text
        self._end = self._shown = text_start

    def release(self, piece: Piece) -> list[AnswerToken]:
        """Add the token of a piece and return the tokens whose text is shown by now.

        Tokens of text that a stop string or the content filter removed are never returned.
        """
        assert piece.logprob is not None
        if not self._pending:
            self._end = self._shown
        token = _make_token(self._tokenizer, piece.token, piece.logprob, piece.top_logprobs, self._end)
        if piece.token == EOS_ID:  # a line break, if the text continues
            self._end += 1
        else:
            self._end += _count_characters(token) - (self._at_word_start and token.text.startswith(" "))
        self._at_word_start = piece.token in (EOS_ID, BOS_ID)
        self._pending.append((self._end, token))
        self._shown += len(piece.text)
        # After EOS or max_tokens the text is complete; a stop string or a listed word removes a part of it.
        is_complete = piece.finish_reason == "length" or (
            piece.finish_reason == "stop" and piece.token == EOS_ID
        )
        released = []
        while self._pending and (is_complete or self._pending[0][0] <= self._shown):
            released.append(self._pending.popleft()[1])
        return released


def _count_characters(token: AnswerToken) -> int:
    """Count the characters of a token; a part of a character counts as one."""
    return len(token.raw.decode("utf-8", "replace"))


def score_prompt(generator: Generator, prompt: str, top: int) -> list[AnswerToken]:
    """Compute the log probability of each token of a prompt, given the tokens before it.

    Args:
        generator: The loaded bundle.
        prompt: The text to score.
        top: Number of most likely tokens to list for each position.

    Returns:
        All tokens except BOS, with which every text starts.
    """
    tokens = generator.encode_prompt(prompt)
    decoder = generator.session.decoder()
    logits = decoder.prefill(tokens[:1])
    scored: list[AnswerToken] = []
    offset = 0
    for token in tokens[1:]:
        logprobs = log_softmax(logits)
        likeliest = find_largest(logits, top) if top else ()
        scored.append(
            _make_token(
                generator.tokenizer,
                token,
                float(logprobs[token]),
                [(int(one), float(logprobs[one])) for one in likeliest],
                offset,
            )
        )
        offset += _count_characters(scored[-1])
        if len(scored) < len(tokens) - 1:
            logits = decoder.step(token)
    return scored


def _make_token(
    tokenizer: Tokenizer, token: int, logprob: float, top: Sequence[tuple[int, float]], offset: int
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
