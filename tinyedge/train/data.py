"""Training batches, each determined by (seed, epoch, step): there is no iterator state to save or restore.

In: the training tokens. Out: batches of input and target ids. Does not know the model.
"""

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
    """A sequence of token ids: an array, or a file that slices are read from."""

    def __len__(self) -> int: ...
    def __getitem__(self, part: slice, /) -> npt.NDArray[np.uint16]: ...


@dataclass(frozen=True)
class AugmentedTokens:
    """Tokens that one epoch reads instead of the text's most likely segmentation."""

    tokens: npt.NDArray[np.uint16]
    """Token ids, (N,)."""

    alternatives: npt.NDArray[np.uint16] | None = None
    """Alternative tokens for each position, (N, K)."""


@dataclass(frozen=True)
class Batch:
    """Input and target ids of one step, B rows of T positions."""

    inputs: Tensor
    """Token ids, (B, T) int64."""

    targets: Tensor
    """The token that follows each input, (B, T) int64."""

    alternatives: Tensor | None = None
    """Alternative tokens for each target, (B, T, K) int64."""

    @property
    def tokens(self) -> Tensor:
        """All token ids of the batch, flat."""
        alternatives = () if self.alternatives is None else (self.alternatives,)
        return torch.cat([part.flatten() for part in (self.inputs, self.targets, *alternatives)])

    def remap(self, mapping: Tensor) -> "Batch":
        """Return the batch with `mapping[token]` in place of each token."""
        alternatives = None if self.alternatives is None else mapping[self.alternatives]
        return Batch(mapping[self.inputs], mapping[self.targets], alternatives)

    def select(self, rows: slice, device: torch.device) -> "Batch":
        """Return some of the rows, on a device."""
        alternatives = None if self.alternatives is None else self.alternatives[rows].to(device)
        return Batch(self.inputs[rows].to(device), self.targets[rows].to(device), alternatives)


class Batches:
    """Cuts the training tokens into windows of `length` + 1 tokens, in a new order each epoch.

    With stride = length, windows do not overlap. Each epoch shifts all windows by a new offset below the
    stride, so that their borders change. Neither the tokens nor their order are ever completely in memory.

    Args:
        tokens: The training tokens.
        batch_size: Windows in a batch.
        length: Tokens that the model sees of a window.
        stride: Tokens between the starts of two windows; 0 means `length`.
        seed: Seed of the order.
        augment: Returns the augmented tokens of an epoch, from 0; None for recipes without augmentation.

    Raises:
        CorpusError: The text is shorter than one window.
    """

    def __init__(
        self,
        tokens: Tokens,
        batch_size: int,
        length: int,
        stride: int,
        seed: int,
        augment: Callable[[int], AugmentedTokens] | None = None,
    ) -> None:
        self._tokens = tokens
        self._augment = augment
        self._augmented: tuple[int, AugmentedTokens] | None = None  # the latest, with its epoch
        self._batch_size = batch_size
        self._length = length
        self._stride = stride or length
        self._seed = seed
        self.windows = self._count_windows(tokens)
        """Number of windows in an epoch."""
        if self.windows < 1:
            raise CorpusError(
                f"the corpus has {len(tokens)} training tokens, but a window of {length} needs"
                f" {length + self._stride}",
                "add text, or pass a smaller --max-seq-length or --stride",
            )

    @property
    def can_augment(self) -> bool:
        """Whether epochs can read augmented tokens."""
        return self._augment is not None

    @property
    def steps_per_epoch(self) -> int:
        """Batches in an epoch. The last one may be smaller."""
        return -(-self.windows // self._batch_size)

    def batch(self, epoch: int, step: int, augmented: bool = False) -> Batch:
        """Return the batch of a step.

        Args:
            epoch: Number of the epoch, from 0.
            step: Number of the step within the epoch, from 0.
            augmented: Whether to read the epoch's augmented tokens. The number of windows stays that of the
                original text.
        """
        text = self._load_augmented(epoch) if augmented else None
        if text and not self._count_windows(text.tokens):  # a very short text may lose its only window
            text = None
        tokens = text.tokens if text else self._tokens
        random = np.random.default_rng([self._seed, epoch])
        offset = random.integers(self._stride)
        first = step * self._batch_size
        places = np.arange(first, min(first + self._batch_size, self.windows))
        available = self._count_windows(tokens)
        starts = (offset + self._stride * Permutation(available, random)(places % available)).tolist()
        windows = _stack([tokens[start : start + self._length + 1] for start in starts])
        alternatives = None
        if text and text.alternatives is not None:
            alternatives = _stack(
                [text.alternatives[start + 1 : start + self._length + 1] for start in starts]
            )
        return Batch(windows[:, :-1].contiguous(), windows[:, 1:].contiguous(), alternatives)

    def _count_windows(self, tokens: Tokens) -> int:
        """Return how many windows fit, whatever the offset."""
        room = len(tokens) - self._length - self._stride
        return room // self._stride + 1 if room >= 0 else 0

    def _load_augmented(self, epoch: int) -> AugmentedTokens:
        if self._augment is None:
            raise ValueError("these batches have no augmentation")
        if self._augmented is None or self._augmented[0] != epoch:
            self._augmented = epoch, self._augment(epoch)
        return self._augmented[1]


def _stack(rows: list[npt.NDArray[np.uint16]]) -> Tensor:
    return torch.from_numpy(np.stack(rows).astype(np.int64))
