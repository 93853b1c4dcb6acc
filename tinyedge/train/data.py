"""Training batches as a pure function of (seed, epoch, step): no iterator state to lose or to restore."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tinyedge.errors import CorpusError

Tokens = npt.NDArray[np.uint16]


class Batches:
    """Cuts the training tokens into windows of `length` + 1, in a new order each epoch.

    Windows start every `stride` tokens; with stride = length none overlap. Each epoch shifts all of them by
    a new offset below the stride, so that borders fall elsewhere. Tokens are memory-mapped, never loaded
    whole.
    """

    def __init__(self, tokens: Tokens, batch_size: int, length: int, stride: int, seed: int) -> None:
        self._tokens = tokens
        self._batch_size = batch_size
        self._length = length
        self._stride = stride or length
        self._seed = seed
        room = len(tokens) - length - self._stride  # starts that fit whatever the offset
        self.windows = room // self._stride + 1 if room >= 0 else 0
        if self.windows < 1:
            raise CorpusError(
                f"the corpus has {len(tokens)} training tokens, a window of {length} needs"
                f" {length + self._stride}",
                "add text, or pass a smaller --max-seq-length or --stride",
            )
        self._order: tuple[int, npt.NDArray[np.int64]] | None = None

    @property
    def steps_per_epoch(self) -> int:
        """Batches an epoch; the last one may be smaller."""
        return -(-self.windows // self._batch_size)

    def batch(self, epoch: int, step: int) -> tuple[Tensor, Tensor]:
        """Inputs and targets, each (B, length) int64, of step `step` of epoch `epoch`, both from 0."""
        starts = self._starts(epoch)[step * self._batch_size : (step + 1) * self._batch_size]
        spans = starts[:, None] + np.arange(self._length + 1)
        chunk = torch.from_numpy(self._tokens[spans].astype(np.int64))
        return chunk[:, :-1].contiguous(), chunk[:, 1:].contiguous()

    def _starts(self, epoch: int) -> npt.NDArray[np.int64]:
        if self._order is None or self._order[0] != epoch:
            random = np.random.default_rng([self._seed, epoch])
            offset = int(random.integers(self._stride))
            self._order = epoch, offset + self._stride * random.permutation(self.windows)
        return self._order[1]
