"""What a generation returns: its pieces as they are computed, and the complete result."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

FinishReason = Literal["stop", "length", "content_filter"]


# Timings and Completion are named tuples: creating a frozen dataclass would cost every start of the device.
class Timings(NamedTuple):
    """Duration of a generation, in seconds. Time that the caller spends between two pieces is in `decode`."""

    first_token: float
    """From the call to the first token, including tokenization of the prompt."""
    decode: float
    """From the first token to the last."""


@dataclass(slots=True, eq=False)  # not frozen: a frozen one takes four times as long to create
class Piece:
    """One step of a generation."""

    token: int
    """Token id."""
    text: str
    """Text that can be shown now: empty if it is held back, longer than this token if it includes text that
    was held back before."""
    index: int
    """Number of the generated token, from 0."""
    finish_reason: FinishReason | None
    """On the last piece: "stop" (EOS or a stop string), "length" (max_tokens) or "content_filter" (a listed
    word)."""
    slid: bool
    """Whether the model no longer sees the beginning of the prompt."""
    logprob: float | None = None
    """Log probability of the token, in nats, if requested: of the model alone, before bias, penalties,
    temperature and filters."""
    top_logprobs: tuple[tuple[int, float], ...] = ()
    """Token ids and log probabilities of the most likely tokens, most likely first, if requested."""
    timings: Timings | None = None
    """On the last piece."""
    overlap: int = 0
    """Bytes at the beginning of the token that are the end of the prompt: the first token of a text may
    replace the prompt's last tokens, if the prompt ends inside a word. Its `text` is the rest."""


class Completion(NamedTuple):
    """Result of a generation."""

    text: str
    """Generated text, without the prompt, the stop string and the text that the content filter removed."""
    tokens: tuple[int, ...]
    """Token ids, including a final EOS and the tokens of removed text."""
    finish_reason: FinishReason
    """Why the text ended, as in `Piece`."""
    prompt_tokens: int
    """Number of tokens of the prompt, BOS included."""
    slid: bool
    """Whether the beginning of the prompt left the context during generation."""
