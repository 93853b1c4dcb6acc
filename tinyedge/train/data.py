"""Training batches as a pure function of (seed, epoch, step): no iterator state to lose or to restore."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tinyedge.core.errors import CorpusError
from tinyedge.train.permutation import Permutation


class Tokens(Protocol):
    """Where windows are cut from: an array, or a file that slices are read from."""

    def __len__(self) -> int: ...
    def __getitem__(self, part: slice, /) -> npt.NDArray[np.uint16]: ...


@dataclass(frozen=True)
class Drawn:
    """What an epoch reads instead of the text's likeliest segmentation.

    tokens: (N,). others: (N, K), what could have stood in the place of each.
    """

    tokens: npt.NDArray[np.uint16]
    others: npt.NDArray[np.uint16] | None = None


@dataclass(frozen=True)
class Batch:
    """inputs, targets: (B, T) int64. others: (B, T, K), tokens that could have stood in a target's place."""

    inputs: Tensor
    targets: Tensor
    others: Tensor | None = None

    @property
    def tokens(self) -> Tensor:
        """All that are in it, flat."""
        parts = (self.inputs, self.targets, *(() if self.others is None else (self.others,)))
        return torch.cat([part.flatten() for part in parts])

    def renamed(self, names: Tensor) -> "Batch":
        """With names[token] in place of each token."""
        others = None if self.others is None else names[self.others]
        return Batch(names[self.inputs], names[self.targets], others)

    def part(self, rows: slice, device: torch.device) -> "Batch":
        """Some of its rows, there."""
        others = None if self.others is None else self.others[rows].to(device)
        return Batch(self.inputs[rows].to(device), self.targets[rows].to(device), others)


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
        draw: Callable[[int], Drawn] | None = None,
    ) -> None:
        self._tokens = tokens
        self._draw = draw
        self._drawn: tuple[int, Drawn] | None = None
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
    def can_draw(self) -> bool:
        """Whether epochs can have segmentations of their own."""
        return self._draw is not None

    @property
    def steps_per_epoch(self) -> int:
        """Batches an epoch; the last one may be smaller."""
        return -(-self.windows // self._batch_size)

    def batch(self, epoch: int, step: int, drawn: bool = False) -> Batch:
        """Of step `step` of epoch `epoch`, both from 0.

        drawn: from what was drawn for this epoch, of which it sees as many windows as of the text itself.
        """
        text = self._drawn_for(epoch) if drawn else None
        if text and not self._windows(text.tokens):  # of a text with hardly a window: it came out shorter
            text = None
        tokens = text.tokens if text else self._tokens
        random = np.random.default_rng([self._seed, epoch])
        offset = random.integers(self._stride)
        first = step * self._batch_size
        places = np.arange(first, min(first + self._batch_size, self.windows))
        there = self._windows(tokens)
        starts = (offset + self._stride * Permutation(there, random)(places % there)).tolist()
        windows = _tensor([tokens[start : start + self._length + 1] for start in starts])
        others = None
        if text and text.others is not None:
            others = _tensor([text.others[start + 1 : start + self._length + 1] for start in starts])
        return Batch(windows[:, :-1].contiguous(), windows[:, 1:].contiguous(), others)

    def _windows(self, tokens: Tokens) -> int:
        """How many fit, whatever the offset."""
        room = len(tokens) - self._length - self._stride
        return room // self._stride + 1 if room >= 0 else 0

    def _drawn_for(self, epoch: int) -> Drawn:
        if self._draw is None:
            raise ValueError("these batches have one segmentation")
        if self._drawn is None or self._drawn[0] != epoch:
            self._drawn = epoch, self._draw(epoch)
        return self._drawn[1]


def _tensor(rows: list[npt.NDArray[np.uint16]]) -> Tensor:
    return torch.from_numpy(np.stack(rows).astype(np.int64))
