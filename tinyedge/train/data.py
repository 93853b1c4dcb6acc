"""Training batches as a pure function of (seed, epoch, step): no iterator state to lose or to restore."""

from collections.abc import Callable
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

    def __init__(
        self,
        tokens: Tokens,
        batch_size: int,
        length: int,
        stride: int,
        seed: int,
        resegment: Callable[[int], Tokens] | None = None,
    ) -> None:
        self._tokens = tokens
        self._resegment = resegment
        self._drawn: tuple[int, Tokens] | None = None
        self._batch_size = batch_size
        self._length = length
        self._stride = stride or length
        self._seed = seed
        self.windows = self._windows(tokens)
        if self.windows < 1:
            raise CorpusError(
                f"the corpus has {len(tokens)} training tokens, a window of {length} needs"
                f" {length + self._stride}",
                "add text, or pass a smaller --max-seq-length or --stride",
            )

    @property
    def can_resegment(self) -> bool:
        """Whether epochs can have segmentations of their own."""
        return self._resegment is not None

    @property
    def steps_per_epoch(self) -> int:
        """Batches an epoch; the last one may be smaller."""
        return -(-self.windows // self._batch_size)

    def batch(self, epoch: int, step: int, resegmented: bool = False) -> tuple[Tensor, Tensor]:
        """Inputs and targets, each (B, length) int64, of step `step` of epoch `epoch`, both from 0.

        resegmented: from the epoch's own segmentation, of which an epoch sees as many windows as of the
        likeliest one.
        """
        tokens = self._drawn_for(epoch) if resegmented else self._tokens
        random = np.random.default_rng([self._seed, epoch])
        offset = random.integers(self._stride)
        first = step * self._batch_size
        places = np.arange(first, min(first + self._batch_size, self.windows))
        there = self._windows(tokens)
        starts = offset + self._stride * Permutation(there, random)(places % there)
        windows = np.stack([tokens[start : start + self._length + 1] for start in starts.tolist()])
        chunk = torch.from_numpy(windows.astype(np.int64))
        return chunk[:, :-1].contiguous(), chunk[:, 1:].contiguous()

    def _windows(self, tokens: Tokens) -> int:
        """How many fit, whatever the offset."""
        room = len(tokens) - self._length - self._stride
        return room // self._stride + 1 if room >= 0 else 0

    def _drawn_for(self, epoch: int) -> Tokens:
        if self._resegment is None:
            raise ValueError("these batches have one segmentation")
        if self._drawn is None or self._drawn[0] != epoch:
            self._drawn = epoch, self._resegment(epoch)
        return self._drawn[1]
