"""A session and its decoder in one, whose logits a test computes from the tokens of the text."""

from collections.abc import Collection, Sequence

import numpy as np

from tinyedge.core.config import ModelConfig
from tinyedge.core.engine import EngineChoice
from tinyedge.core.sampling import SamplingConfig
from tinyedge.runtime.decoder import Decoder, Session
from tinyedge.runtime.logprobs import find_largest, log_softmax
from tinyedge.runtime.top_k import select_top_k


class ComputedDecoder(Session, Decoder):
    """Computes at once, and records what it is asked to compute."""

    def __init__(self, config: ModelConfig) -> None:
        self.config = config
        self.engine = EngineChoice("computed", None, "a test computes its logits")
        self.tokens: list[int] = []
        self.calls: list[str] = []

    def compute(self, tokens: list[int]) -> np.ndarray:
        """Return the logits (V,) after tokens."""
        raise NotImplementedError

    def decoder(self, candidates: int = 1) -> "ComputedDecoder":
        return self

    @property
    def position(self) -> int:
        return len(self.tokens)

    def restart(self, tokens: Sequence[int]) -> None:
        self.calls.append("restart")
        self.tokens = list(tokens)
        self._row = self.compute(self.tokens)

    def append(self, token: int) -> None:
        self.calls.append("append")
        self.tokens.append(token)
        self._row = self.compute(self.tokens)

    def truncate(self, length: int) -> None:
        del self.tokens[length:]

    def recompute(self, length: int, token: int) -> None:
        assert token == self.tokens[length - 1]
        self.calls.append("recompute")
        self._row = self.compute(self.tokens[:length])

    def logits(self) -> np.ndarray:
        return self._row

    def largest(self, count: int) -> tuple[list[int], list[float]]:
        ids = find_largest(self._row, count)
        return ids.tolist(), self._row[ids].tolist()

    def score(self, tokens: Sequence[int]) -> tuple[list[float], float]:
        return self._row[list(tokens)].tolist(), float(self._row[0] - log_softmax(self._row)[0])

    def draw(self, sampling: SamplingConfig, point: float, banned_ids: Collection[int]) -> int:
        ids, values = self.largest(sampling.candidates + len(banned_ids))
        return select_top_k(ids, values, sampling, point, banned_ids)
