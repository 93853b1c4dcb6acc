"""From an order to its answers, step by step. Blocks while the model computes: a worker's thread runs it.

The one place that knows the generator; what it yields knows neither HTTP nor JSON.
"""

import dataclasses
import time
from collections import abc
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tinyedge.evaluate import log_softmax
from tinyedge.runtime.generator import FinishReason, Generator, Piece
from tinyedge.runtime.sampler import largest
from tinyedge.serve.errors import ApiError
from tinyedge.serve.protocol import MAX_SEED, Order
from tinyedge.tokenizer import BOS_ID, EOS_ID, PAD_ID, UNK_ID, Tokenizer

SPECIAL = {BOS_ID: "<s>", EOS_ID: "</s>", PAD_ID: "<pad>", UNK_ID: "<unk>"}
LONGEST_PIECE = 64  # characters of one token; SentencePiece's own limit is 16


@dataclass(slots=True)
class Token:
    """A token as an answer lists it. text: how it is spelled; raw: the same, exactly.

    logprob: its log probability in nats; top: spelling, bytes and log probability of the likeliest.
    """

    text: str
    raw: bytes
    logprob: float
    top: list[tuple[str, bytes, float]]


@dataclass(slots=True)
class Step:
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


def count_tokens(generator: Generator, order: Order) -> int:
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


def write(generator: Generator, order: Order) -> abc.Generator[Step, None, None]:
    """All answers of an order, one after another: of the first prompt `n`, then of the next."""
    for number, prompt in enumerate(order.prompts):
        for sample in range(order.n):
            choice = number * order.n + sample
            if order.echo:
                scored = [] if order.logprobs is None else score(generator, prompt, order.logprobs)
                alone: FinishReason | None = None if order.max_tokens else "length"
                yield Step(choice, prompt, 0, scored, alone, time.perf_counter())
            if order.max_tokens:
                for piece in _stream(generator, order, prompt, sample):
                    tokens = [_token(generator.tokenizer, piece)] if piece.logprob is not None else []
                    yield Step(choice, piece.text, 1, tokens, piece.finish_reason, time.perf_counter())


def _stream(generator: Generator, order: Order, prompt: str, sample: int) -> Iterator[Piece]:
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
    )


def score(generator: Generator, prompt: str, top: int) -> list[Token]:
    """The prompt's own tokens, each with its log probability after all before it; BOS begins every text."""
    tokens = generator.encode_prompt(prompt)
    decoder = generator.session.decoder()
    logits = decoder.prefill(tokens[:1])
    found = []
    for token in tokens[1:]:
        logprobs = log_softmax(logits)
        likeliest = largest(logits, top) if top else ()
        found.append(
            _token_of(
                generator.tokenizer,
                token,
                float(logprobs[token]),
                [(int(one), float(logprobs[one])) for one in likeliest],
            )
        )
        if len(found) < len(tokens) - 1:
            logits = decoder.step(token)
    return found


def _token(tokenizer: Tokenizer, piece: Piece) -> Token:
    assert piece.logprob is not None
    return _token_of(tokenizer, piece.token, piece.logprob, piece.top_logprobs)


def _token_of(tokenizer: Tokenizer, token: int, logprob: float, top: Sequence[tuple[int, float]]) -> Token:
    return Token(
        *spelling(tokenizer, token), logprob, [(*spelling(tokenizer, one), value) for one, value in top]
    )


def spelling(tokenizer: Tokenizer, token: int) -> tuple[str, bytes]:
    """A token as text and as bytes; a part of a character reads `bytes:\\xe2`, as OpenAI spells it."""
    if token in SPECIAL:
        return SPECIAL[token], b""
    raw = tokenizer.piece(token)
    try:
        return raw.decode(), raw
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in raw), raw
