"""Training batches as a pure function of (seed, epoch, step): no iterator state to lose or to restore."""

from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tinyedge.errors import CorpusError
from tinyedge.train.permutation import Permutation


class Tokens(Protocol):
    """Where windows are cut from: an array, or a file that slices are read from."""

    def __len__(self) -> int: ...
    def __getitem__(self, part: slice, /) -> npt.NDArray[np.uint16]: ...


class Batches:
    """Cuts the training tokens into windows of `length` + 1, in a new order each epoch.

    Windows start every `stride` tokens; with stride = length none overlap. Each epoch shifts all of them by
    a new offset below the stride, so that borders fall elsewhere. Neither the tokens nor their order is ever
    in memory whole.
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

    @property
    def steps_per_epoch(self) -> int:
        """Batches an epoch; the last one may be smaller."""
        return -(-self.windows // self._batch_size)

    def batch(self, epoch: int, step: int) -> tuple[Tensor, Tensor]:
        """Inputs and targets, each (B, length) int64, of step `step` of epoch `epoch`, both from 0."""
        random = np.random.default_rng([self._seed, epoch])
        offset = random.integers(self._stride)
        first = step * self._batch_size
        places = np.arange(first, min(first + self._batch_size, self.windows))
        starts = offset + self._stride * Permutation(self.windows, random)(places)
        windows = np.stack([self._tokens[start : start + self._length + 1] for start in starts.tolist()])
        chunk = torch.from_numpy(windows.astype(np.int64))
        return chunk[:, :-1].contiguous(), chunk[:, 1:].contiguous()
