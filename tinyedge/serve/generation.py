"""From an order to its answers, step by step. Blocks while the model computes: a worker's thread runs it.

The one place that knows the generator; what it yields knows neither HTTP nor JSON.
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

SPECIAL = {BOS_ID: "<s>", EOS_ID: "</s>", PAD_ID: "<pad>", UNK_ID: "<unk>"}
LONGEST_PIECE = 64  # characters of one token; SentencePiece's own limit is 16


@dataclass(slots=True)
class Token:
    """A token as an answer lists it. text: how it is spelled; raw: the same, exactly.

    logprob: its log probability in nats; top: spelling, bytes and log probability of the likeliest. offset:
    characters of its answer's text before it.
    """

    text: str
    raw: bytes
    logprob: float
    top: list[tuple[str, bytes, float]]
    offset: int


@dataclass(slots=True)
class GenerationStep:
    """Something new of an answer.

    choice: which answer. text: what can be shown now. generated: tokens that the model wrote for it, 0 for an
    echo of the prompt. tokens: with their log probabilities, where the order wants them. finish_reason: on
    the answer's last step. moment: of time.perf_counter.
    """

    choice: int
    text: str
    generated: int
    tokens: list[Token]
    finish_reason: FinishReason | None
    moment: float


def count_tokens(generator: Generator, order: GenerationRequest) -> int:
    """Tokens of the prompts, BOS included. Raises ApiError where the model could not see all of one."""
    param = "messages" if order.kind == "chat" else "prompt"
    return sum(_count(generator, prompt, param) for prompt in order.prompts)


def _count(generator: Generator, prompt: str, param: str) -> int:
    context = generator.config.max_seq_length
    # Looked at first, so that nobody has megabytes tokenized.
    if len(prompt) > context * LONGEST_PIECE:
        raise _too_long(f"{len(prompt)} characters", context, param)
    tokens = len(generator.encode_prompt(prompt))
    if tokens > context:
        raise _too_long(f"{tokens} tokens", context, param)
    return tokens


def _too_long(length: str, context: int, param: str) -> ApiError:
    return ApiError(
        400,
        f"the prompt has {length}, the model sees {context} tokens: shorten it",
        code="context_length_exceeded",
        param=param,
    )


def write(
    generator: Generator, order: GenerationRequest, words: ContentFilter | None
) -> abc.Generator[GenerationStep, None, None]:
    """All answers of an order, one after another: of the first prompt `n`, then of the next."""
    for number, prompt in enumerate(order.prompts):
        for sample in range(order.n):
            choice = number * order.n + sample
            if order.echo:
                scored = [] if order.logprobs is None else score(generator, prompt, order.logprobs)
                alone: FinishReason | None = None if order.max_tokens else "length"
                yield GenerationStep(choice, prompt, 0, scored, alone, time.perf_counter())
            if order.max_tokens:
                fresh = not prompt or prompt[-1].isspace()
                withheld = _Withheld(generator.tokenizer, len(prompt) if order.echo else 0, fresh)
                for piece in _stream(generator, order, prompt, sample, words):
                    tokens = withheld.release(piece) if piece.logprob is not None else []
                    yield GenerationStep(
                        choice, piece.text, 1, tokens, piece.finish_reason, time.perf_counter()
                    )


def _stream(
    generator: Generator, order: GenerationRequest, prompt: str, sample: int, words: ContentFilter | None
) -> Iterator[Piece]:
    """The one place where a text begins."""
    sampling = order.sampling
    if sampling.seed is not None and sample:
        sampling = dataclasses.replace(
            sampling, seed=(sampling.seed + sample) & MAX_SEED
        )  # n different texts
    return generator.stream(
        prompt,
        max_tokens=order.max_tokens,
        sampling=sampling,
        stop=order.stop,
        ignore_eos=order.ignore_eos,
        logprobs=order.logprobs,
        content_filter=words,
    )


class _Withheld:
    """Tokens whose text is not shown yet: ahead of it, they would tell what is cut off or held back.

    begin: characters of the answer's text before the first of them. fresh: it begins a line or follows a
    space, so that a word's own space is not shown.
    """

    def __init__(self, tokenizer: Tokenizer, begin: int, fresh: bool) -> None:
        self._tokenizer = tokenizer
        self._fresh = fresh
        self._waiting: deque[tuple[int, Token]] = deque()  # each with where its text ends
        self._end = self._shown = begin

    def release(self, piece: Piece) -> list[Token]:
        """Takes a piece's token; those whose text is shown by now. What the filter cut off never is."""
        assert piece.logprob is not None
        if not self._waiting:
            self._end = self._shown
        token = _token_of(self._tokenizer, piece.token, piece.logprob, piece.top_logprobs, self._end)
        if piece.token == EOS_ID:  # a line break, where it goes on
            self._end += 1
        else:
            self._end += _length(token) - (self._fresh and token.text.startswith(" "))
        self._fresh = piece.token in (EOS_ID, BOS_ID)
        self._waiting.append((self._end, token))
        self._shown += len(piece.text)
        # Ended by itself, all of its text is shown; a stop string cuts some off, a listed word too.
        complete = piece.finish_reason == "length" or (
            piece.finish_reason == "stop" and piece.token == EOS_ID
        )
        found = []
        while self._waiting and (complete or self._waiting[0][0] <= self._shown):
            found.append(self._waiting.popleft()[1])
        return found


def _length(token: Token) -> int:
    """Characters at most; a part of one counts as one."""
    return len(token.raw.decode("utf-8", "replace"))


def score(generator: Generator, prompt: str, top: int) -> list[Token]:
    """The prompt's own tokens, each with its log probability after all before it; BOS begins every text."""
    tokens = generator.encode_prompt(prompt)
    decoder = generator.session.decoder()
    logits = decoder.prefill(tokens[:1])
    found: list[Token] = []
    offset = 0
    for token in tokens[1:]:
        logprobs = log_softmax(logits)
        likeliest = find_largest(logits, top) if top else ()
        found.append(
            _token_of(
                generator.tokenizer,
                token,
                float(logprobs[token]),
                [(int(one), float(logprobs[one])) for one in likeliest],
                offset,
            )
        )
        offset += _length(found[-1])
        if len(found) < len(tokens) - 1:
            logits = decoder.step(token)
    return found


def _token_of(
    tokenizer: Tokenizer, token: int, logprob: float, top: Sequence[tuple[int, float]], offset: int
) -> Token:
    likeliest = [(*spelling(tokenizer, one), value) for one, value in top]
    return Token(*spelling(tokenizer, token), logprob, likeliest, offset)


def spelling(tokenizer: Tokenizer, token: int) -> tuple[str, bytes]:
    """A token as text and as bytes; a part of a character reads `bytes:\\xe2`, as OpenAI spells it."""
    if token in SPECIAL:
        return SPECIAL[token], b""
    raw = tokenizer.piece(token)
    try:
        return raw.decode(), raw
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in raw), raw
