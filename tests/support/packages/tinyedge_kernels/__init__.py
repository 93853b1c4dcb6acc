"""A stand-in for the native kernels in plain Python, for processes that must not import numpy.

Its logits mean nothing. They depend on the last token and are the same in every process.
"""

import math
from array import array
from collections.abc import Sequence

from tinyedge import __version__ as __version__

Tensor = tuple[memoryview, memoryview | None]


def drop_executed_code() -> None:
    """Nothing of it was executed."""


def find_library() -> str:
    return "libonnxruntime.so"


def time_adds(turns: int) -> tuple[int, int]:
    """A core of 500 MHz."""
    return 2 * 512 * turns, 512 * turns


def time_stream(lines: int, turns: int) -> tuple[int, int]:
    """10 ns for a line of a cache, 66 for one of memory."""
    return (66 if lines > 4096 else 10) * lines * turns, 0


def time_chase(lines: int, turns: int, seed: int) -> tuple[int, int]:
    """6 ns for a load from the first cache, 30 from the second, 320 from memory."""
    return (6 if lines <= 256 else 30 if lines <= 4096 else 320) * lines * turns, lines * turns


def time_products(turns: int) -> tuple[int, int, str]:
    """4000 ns for each."""
    return 4000 * turns, 0, "plain"


class KernelsError(Exception):
    """Never raised here."""


class NotFiniteError(Exception):
    """Never raised here."""


class Model:
    """A model without weights."""

    def __init__(
        self,
        library: str,
        config: tuple[int, ...],
        attention_scale: float,
        tensors: Sequence[Tensor],
        threads: int = 1,
        ngrams: None = None,
    ) -> None:
        assert "libonnxruntime.so" in library
        assert len(tensors) == 3 + 8 * config[4]
        self.instructions = "python"
        self.vocab_size = config[0]

    def decoder(self) -> "Decoder":
        return Decoder(self.vocab_size)


class Decoder:
    """One text, of which only the last token matters."""

    def __init__(self, vocab_size: int) -> None:
        self._vocab_size = vocab_size
        self._last = 0

    def logits(self, tokens: Sequence[int], start: int) -> bytes:
        self._last = [self._last, *tokens][-1]
        seed = self._last * 7919 + 17
        return array("f", [(seed * (token + 3)) % 1009 / 100 for token in range(self._vocab_size)]).tobytes()

    def largest(self, tokens: Sequence[int], start: int, count: int) -> tuple[list[int], list[float]]:
        values = memoryview(self.logits(tokens, start)).cast("f")
        ids = sorted(range(self._vocab_size), key=lambda token: (-values[token], token))[:count]
        return ids, [values[token] for token in ids]

    def score(self, tokens: Sequence[int], start: int, ids: Sequence[int]) -> tuple[list[float], float]:
        values = memoryview(self.logits(tokens, start)).cast("f")
        return [values[token] for token in ids], math.log(sum(map(math.exp, values)))

    def draw(
        self,
        tokens: Sequence[int],
        start: int,
        temperature: float,
        top_k: int,
        top_p: float,
        min_p: float,
        point: float,
        banned: Sequence[int],
    ) -> int:
        ids, _ = self.largest(tokens, start, top_k + len(banned))
        allowed = [token for token in ids if token not in banned]
        return allowed[int(point * top_k)]
