"""A loaded model as `text.evaluate` evaluates it: as on the device, by a prefill and then step by step."""

import numpy as np

from tinyedge.core.arrays import Logits, TokenIds
from tinyedge.runtime.decoder import Session


class BundleModel:
    """A model of either engine that can be evaluated."""

    def __init__(self, session: Session) -> None:
        self._decoder = session.decoder()

    @property
    def context(self) -> int:
        """Maximum number of tokens that the model sees."""
        return self._decoder.config.max_seq_length

    def logits(self, inputs: TokenIds, first: int) -> Logits:
        """Compute the logits after each of the tokens `inputs[first:]`, given all tokens before it.

        Args:
            inputs: Token ids, at most `context`.
            first: Index of the first token whose logits are returned.

        Returns:
            (len(inputs) - first, V).
        """
        tokens: list[int] = inputs.tolist()
        rows = np.empty((len(tokens) - first, self._decoder.config.vocab_size), dtype=np.float32)
        rows[0] = self._decoder.prefill(tokens[: first + 1])
        for row, token in enumerate(tokens[first + 1 :], 1):
            rows[row] = self._decoder.step(token)
        return rows
