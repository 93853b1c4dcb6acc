"""Checks that an exported graph is the trained model: logits and greedy tokens of torch and ONNX Runtime.

In: a model, a decoder of a graph, optionally a tokenizer. Out: the measured `Parity`, or an error. The
device's graph is run by the device's own session, so that cache and context window are checked too.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from tinyedge.core.arrays import Logits
from tinyedge.core.config import ModelConfig
from tinyedge.core.errors import ExportError
from tinyedge.core.window import window_start
from tinyedge.text.tokenizer import BOS_ID, Tokenizer
from tinyedge.train.model import TinyTransformer

TOLERANCE = 1e-4  # times the largest logit, at least 1; another order of summation changes about 1e-6
GREEDY_TOKENS = 32  # decoded after each prompt; the longest prompt fills the context, so the window slides
PROMPT_LENGTHS = 43  # number of random prompts, from one token to the complete context
SEED = 0

# Real text in both languages: training changed the weights of its tokens.
PROMPTS = (
    "The old man opened the door and",
    "She looked at the sea, and for a long time",
    "“I do not know,” said the boy",
    "El viejo abrió la puerta y",
    "Miraba el mar, y durante mucho tiempo",
    "—No lo sé —dijo el niño",
)


@dataclass(frozen=True)
class Parity:
    """Result of a comparison."""

    prompts: int
    """Number of token sequences."""
    positions: int
    """Number of logit vectors."""
    max_abs_logit_difference: float
    """Largest difference of a logit."""
    tokens_compared: int
    """Number of greedy tokens."""
    ties: int
    """Greedy tokens that differ because two logits are equal within TOLERANCE."""

    def to_dict(self) -> dict[str, Any]:
        """The manifest's `parity` field."""
        return {
            "prompts": self.prompts,
            "positions": self.positions,
            "max_abs_logit_difference": self.max_abs_logit_difference,
            "greedy_tokens_equal": True,  # otherwise `check_parity` raises
            "tokens_compared": self.tokens_compared,
            "ties": self.ties,
            "tolerance": TOLERANCE,
        }


class IncrementalDecoder(Protocol):
    """A graph that reads a text token by token."""

    def prefill(self, tokens: Sequence[int]) -> Logits:
        """Start a new text and return the logits (V,) after its last token."""

    def step(self, token: int) -> Logits:
        """Append a token and return the logits (V,) after it."""


def check_parity(
    model: TinyTransformer, decoder: IncrementalDecoder, name: str, tokenizer: Tokenizer | None = None
) -> Parity:
    """Compare prefill, decoding token by token, and decoding past the context, where the window slides.

    Args:
        model: The trained model.
        decoder: Runs the exported graph.
        name: Name of the graph, for error messages.
        tokenizer: Adds prompts of real text.

    Returns:
        What was compared, and the largest difference.

    Raises:
        ExportError: A logit differs by more than TOLERANCE, or a greedy token differs without a tie.
    """
    with _use_one_torch_thread():
        comparison = _Comparison(model.eval(), decoder, name)
        prompts = _make_prompts(model.config, tokenizer)
        for prompt in prompts:
            comparison.compare_incremental(prompt[: model.config.max_seq_length])
            comparison.compare_greedy(prompt)
    return Parity(
        len(prompts),
        comparison.positions,
        comparison.max_difference,
        len(prompts) * GREEDY_TOKENS,
        comparison.ties,
    )


class _Comparison:
    """Both models, and the largest difference so far."""

    def __init__(self, model: TinyTransformer, decoder: IncrementalDecoder, name: str) -> None:
        self.model = model
        self.decoder = decoder
        self.name = name
        self.max_difference = 0.0
        self.positions = 0
        self.ties = 0

    def compare_incremental(self, tokens: list[int]) -> None:
        """Compare the logits after every token; ONNX gets the tokens one by one, torch all at once."""
        with torch.no_grad():
            expected = self.model(torch.tensor([tokens]))[0].numpy()  # (T, V)
        self._compare(self.decoder.prefill(tokens[:1]), expected[0], len(tokens), 0)
        for position, token in enumerate(tokens[1:], 1):
            self._compare(self.decoder.step(token), expected[position], len(tokens), position)

    def compare_greedy(self, prompt: list[int]) -> None:
        """Compare greedy continuations; torch recomputes the window for each token, ONNX uses its cache."""
        context = self.model.config.max_seq_length
        tokens = list(prompt)
        start = window_start(len(tokens), context)
        found = self.decoder.prefill(tokens[start:])
        for _ in range(GREEDY_TOKENS):
            expected = self._reference(tokens[start:])
            self._compare(found, expected, len(prompt), len(tokens) - 1)
            token = int(expected.argmax())
            other = int(found.argmax())
            if other != token:
                if expected[token] - expected[other] > _tolerance(expected):
                    raise ExportError(
                        f"{self.name} continues with token {other}, the model with {token}, after"
                        f" {len(tokens)} tokens",
                        "please report it",
                    )
                self.ties += 1
            tokens.append(token)
            slid = window_start(len(tokens), context)
            found = self.decoder.step(token) if slid == start else self.decoder.prefill(tokens[slid:])
            start = slid

    def _reference(self, tokens: list[int]) -> Logits:
        with torch.no_grad():
            hidden = self.model.hidden(torch.tensor([tokens]))[:, -1]  # (1, D)
            logits: Logits = self.model.output(hidden)[0].numpy()
            return logits

    def _compare(self, found: Logits, expected: Logits, length: int, position: int) -> None:
        difference = float(np.abs(found - expected).max())
        if not difference <= _tolerance(expected):
            raise ExportError(
                f"{self.name} differs from the model: at position {position} of a prompt of {length} tokens"
                f" a logit differs by {difference:.3g}, the limit is {_tolerance(expected):.3g}",
                "please report it",
            )
        self.max_difference = max(self.max_difference, difference)
        self.positions += 1


def _tolerance(expected: Logits) -> float:
    return TOLERANCE * max(1.0, float(np.abs(expected).max()))


@contextlib.contextmanager
def _use_one_torch_thread() -> Iterator[None]:
    """Use one torch thread: for a small model several threads mostly wait, especially on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _make_prompts(config: ModelConfig, tokenizer: Tokenizer | None) -> list[list[int]]:
    """Make random prompts from one token to past the context, and real text if there is a tokenizer."""
    random = np.random.default_rng(SEED)
    lengths = np.linspace(1, config.max_seq_length, PROMPT_LENGTHS).round().astype(int)
    prompts = [
        random.integers(config.vocab_size, size=length).tolist()
        for length in (*lengths, 2 * config.max_seq_length)
    ]
    if tokenizer:
        prompts += [[BOS_ID, *tokenizer.encode(text)] for text in PROMPTS]
    return prompts
