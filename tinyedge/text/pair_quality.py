"""How well a model answers: exact matches, token accuracy and bits of the completions of pairs.

A completion is exact if the model's greedy answer has its text. Tokens are judged with the tokens of the
completion before them. An answer of other tokens may still have the same text, so where a token is not the
most likely one, the answer is generated. UNK, PAD and BOS are never part of an answer.

In: conversations, and a model. Out: PairQuality. Does not know torch or files of pairs.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from tinyedge.core.arrays import Logits, TokenIds
from tinyedge.core.errors import CorpusError
from tinyedge.text.evaluate import (
    UNKNOWN_BYTE_BITS,
    LanguageModel,
    negative_log_likelihood,
    tokenize_conversation,
)
from tinyedge.text.tokenizer import BOS_ID, EOS_ID, PAD_ID, UNK_ID, Tokenizer

BANNED_IDS = [BOS_ID, PAD_ID, UNK_ID]  # as in generation
MAX_FAILURES = 100  # listed in a result
EXTRA_TOKENS = 8  # that an answer in other tokens may have more than the completion


@dataclass(frozen=True)
class Failure:
    """A completion that the model did not give."""

    prompt: str
    """The last prompt before it."""

    completion: str
    """The expected text."""

    answer: str
    """What the model answers; cut where it is longer than the completion."""


@dataclass(frozen=True)
class PairQuality:
    """How well a model answered the prompts of one file."""

    name: str
    """Name of the file."""

    exact: float
    """Share of completions that the model's greedy answer equals, 0-1."""

    n: int
    """Number of completions."""

    token_accuracy: float
    """Share of the tokens of completions, EOS included, that are the most likely ones, 0-1."""

    bits_per_completion: float
    """Mean bits of a completion, EOS included; each byte behind UNK costs UNKNOWN_BYTE_BITS in addition."""

    too_long: int
    """Number of conversations longer than the context, which are not judged."""

    failures: tuple[Failure, ...]
    """The first MAX_FAILURES completions that were not exact."""


def evaluate_pairs(
    name: str, model: LanguageModel, tokenizer: Tokenizer, conversations: Iterable[Sequence[str]]
) -> PairQuality:
    """Judge a model on conversations.

    Args:
        name: Name of the file.
        model: The model.
        tokenizer: Its tokenizer.
        conversations: Prompt, completion, prompt, completion, and so on, of each conversation.

    Raises:
        CorpusError: There is no conversation that fits into the model's context.
    """
    n = exact = tokens = correct = too_long = 0
    bits = 0.0
    failures: list[Failure] = []
    for turns in conversations:
        passage = tokenize_conversation(turns, tokenizer)
        windows = list(passage.windows(model.context, model.context))
        too_long += not windows
        if windows:
            bits += UNKNOWN_BYTE_BITS * passage.unknown_bytes
        for number, window in enumerate(windows):
            prompt, completion = turns[2 * number], turns[2 * number + 1]
            logits = model.logits(window.inputs, window.first)
            is_likeliest = _choose(logits) == window.targets
            n += 1
            tokens += len(window.targets)
            correct += int(is_likeliest.sum())
            bits += float(negative_log_likelihood(logits, window.targets).sum()) / math.log(2)
            answer = completion
            if not is_likeliest.all():
                limit = len(window.targets) + EXTRA_TOKENS
                answer = _answer(model, tokenizer, window.inputs[: window.first + 1], limit)
            if answer == completion:
                exact += 1
            elif len(failures) < MAX_FAILURES:
                failures.append(Failure(prompt, completion, answer))
    if not n:
        raise CorpusError(
            f"pairs {name} have nothing to judge: {too_long} are longer than the context of"
            f" {model.context} tokens",
            "give a file with shorter pairs in it",
        )
    return PairQuality(name, exact / n, n, correct / tokens, bits / n, too_long, tuple(failures))


def _answer(model: LanguageModel, tokenizer: Tokenizer, prompt: TokenIds, limit: int) -> str:
    """Return the greedy answer to a prompt, of at most `limit` tokens and within the context."""
    tokens = prompt
    while len(tokens) < min(len(prompt) + limit, model.context + 1):
        logits = model.logits(tokens, len(prompt) - 1)  # with the steps of a generation, after the prompt
        token = _choose(logits[-1:])
        if token[0] == EOS_ID:
            break
        tokens = np.append(tokens, token)
    return tokenizer.decode(tokens[len(prompt) :].tolist())


def _choose(logits: Logits) -> TokenIds:
    """Return the most likely token of each row that an answer may have, (T,)."""
    allowed = logits.copy()
    allowed[:, BANNED_IDS] = -np.inf
    chosen: TokenIds = allowed.argmax(axis=1).astype(np.uint16)
    return chosen
