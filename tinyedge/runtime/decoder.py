"""What generation needs of a model: a loaded one, and one text in progress. Two engines implement both.

`session` is ONNX Runtime alone, `kernels` the package tinyedge_kernels inside ONNX Runtime; `engine` chooses.
Knows neither them nor numpy. Shapes: V vocabulary.
"""

from abc import abstractmethod
from collections.abc import Collection, Sequence
from typing import Protocol

from tinyedge.core.arrays import Logits
from tinyedge.core.config import ModelConfig
from tinyedge.core.engine import EngineChoice
from tinyedge.core.errors import BundleError
from tinyedge.core.sampling import SamplingConfig
from tinyedge.core.settings import require_range

MAX_THREADS = 64
EXPORT_AGAIN_HINT = "export the bundle again with: tinyedge export"


class Decoder(Protocol):
    """One text in progress. Used by one thread at a time.

    `restart` and `append` give it tokens. What it reports is about the token that follows the last of them,
    or the one that `recompute` names. An engine may compute as late as that is asked for: errors of a
    computation are raised there at the latest.

    With a table of n-grams, what is called logits here are log probabilities: those of the mixture of the
    model with the n-grams that may follow the text.

    All computations raise BundleError if the model cannot be run or computes numbers that are not finite, or
    if the table is damaged.
    """

    config: ModelConfig
    """Shape of the model."""

    @property
    @abstractmethod
    def position(self) -> int:
        """Number of tokens in the text."""

    @abstractmethod
    def restart(self, tokens: Sequence[int]) -> None:
        """Restart the text with `tokens`, which are computed in one pass.

        Raises:
            ValueError: There are no tokens, or more than the context.
        """

    @abstractmethod
    def append(self, token: int) -> None:
        """Append one token.

        Raises:
            ValueError: The context is full.
        """

    @abstractmethod
    def truncate(self, length: int) -> None:
        """Forget all tokens after the first `length`; the next ones replace them.

        Raises:
            ValueError: The text has fewer tokens.
        """

    @abstractmethod
    def recompute(self, length: int, token: int) -> None:
        """Report about the first `length` tokens again; the text keeps all its tokens.

        Args:
            length: Number of tokens.
            token: The last of them, which the cache does not hold.

        Raises:
            ValueError: The text has fewer tokens.
        """

    @abstractmethod
    def logits(self) -> Logits:
        """Return the logits (V,). The next step may overwrite them: copy the values that must be kept."""

    @abstractmethod
    def largest(self, count: int) -> tuple[list[int], list[float]]:
        """Return the ids and the values of the largest logits; of equal logits, the lowest id comes first.

        Args:
            count: How many, 1-V.
        """

    @abstractmethod
    def score(self, tokens: Sequence[int]) -> tuple[list[float], float]:
        """Return the logits of a few tokens, and the logarithm of the sum of the exponentials of all logits.

        The difference of the two is a log probability. With a table of n-grams, the second is 0.
        """

    @abstractmethod
    def draw(self, sampling: SamplingConfig, point: float, banned_ids: Collection[int]) -> int:
        """Select the next token from the largest logits, as `top_k.select_top_k` does.

        Args:
            sampling: Settings that need some of the logits only: `sampling.candidates` is not 0.
            point: Where in the distribution to draw, in [0, 1).
            banned_ids: Tokens that must not be selected; fewer than V together with the candidates.
        """

    def prefill(self, tokens: Sequence[int]) -> Logits:
        """Restart the text and return the logits (V,) after it; errors are those of `restart`."""
        self.restart(tokens)
        return self.logits()

    def step(self, token: int) -> Logits:
        """Append one token and return the logits (V,) after it; errors are those of `append`."""
        self.append(token)
        return self.logits()


class Session(Protocol):
    """A loaded model. It is immutable: any number of threads can share it, each with its own decoder."""

    config: ModelConfig
    """Shape of the model."""
    engine: EngineChoice
    """What computes it."""

    def decoder(self, candidates: int = 1) -> Decoder:
        """Create a decoder for a new text.

        Args:
            candidates: Number of largest logits that each step will be asked for; more take longer.
        """


def check_threads(threads: int) -> None:
    """Raise UsageError if a number of threads is outside its range."""
    require_range("threads", threads, 1, MAX_THREADS, whole=True)


def check_end(end: int, position: int, config: ModelConfig) -> None:
    """Raise ValueError unless a text of `end` tokens is longer than `position` and fits in the context."""
    if not position < end <= config.max_seq_length:
        raise ValueError(f"{end} tokens are outside the context, 1-{config.max_seq_length}")


def check_length(length: int, position: int) -> None:
    """Raise ValueError unless a text of `position` tokens has a first part of `length` tokens."""
    if not 0 < length <= position:
        raise ValueError(f"{length} is outside 1-{position}, the tokens of the text")


def make_not_finite_error(name: str) -> BundleError:
    """Create the error for a model, by its name in messages, that computes NaN or infinity."""
    return BundleError(
        f"{name} computed logits that are not finite numbers",
        f"check the training of the model, then {EXPORT_AGAIN_HINT}",
    )
