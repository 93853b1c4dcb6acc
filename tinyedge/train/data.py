"""Training batches, each determined by (seed, epoch, step): there is no iterator state to save or restore.

In: the training tokens. Out: windows, and batches of input and target ids. Does not know the model.
`load_windows` reads the windows of a run folder, for a training loop of one's own.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from tinyedge.core.errors import CorpusError
from tinyedge.text.shards import FOLDER as SHARDS_FOLDER
from tinyedge.text.shards import Shards
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
class Layout:
    """Which tokens of B rows of T positions belong together, where several conversations share a row."""

    positions: Tensor
    """Position of each token in its conversation, (B, T) int64."""

    segments: Tensor
    """Number of each token's conversation, (B, T) int64. A token sees only its own conversation."""

    counted: Tensor
    """Which targets the loss counts, (B, T) bool; at least one in each row."""

    def select(self, rows: slice, device: torch.device) -> "Layout":
        """Return some of the rows, on a device."""
        parts = self.positions, self.segments, self.counted
        return Layout(*(part[rows].to(device) for part in parts))


@dataclass(frozen=True)
class Batch:
    """Input and target ids of one step, B rows of T positions."""

    inputs: Tensor
    """Token ids, (B, T) int64."""

    targets: Tensor
    """The token that follows each input, (B, T) int64."""

    alternatives: Tensor | None = None
    """Alternative tokens for each target, (B, T, K) int64."""

    layout: Layout | None = None
    """How conversations share the rows; None for text: a row is one sequence, and every target counts."""

    @property
    def predictions(self) -> int:
        """Number of targets that the loss counts."""
        return int(self.layout.counted.sum()) if self.layout else self.targets.numel()

    @property
    def tokens(self) -> Tensor:
        """All token ids of the batch, flat."""
        alternatives = () if self.alternatives is None else (self.alternatives,)
        return torch.cat([part.flatten() for part in (self.inputs, self.targets, *alternatives)])

    def remap(self, mapping: Tensor) -> "Batch":
        """Return the batch with `mapping[token]` in place of each token."""
        alternatives = None if self.alternatives is None else mapping[self.alternatives]
        return Batch(mapping[self.inputs], mapping[self.targets], alternatives, self.layout)

    def select(self, rows: slice, device: torch.device) -> "Batch":
        """Return some of the rows, on a device."""
        alternatives = None if self.alternatives is None else self.alternatives[rows].to(device)
        layout = self.layout and self.layout.select(rows, device)
        return Batch(self.inputs[rows].to(device), self.targets[rows].to(device), alternatives, layout)

    def share(self, rows: slice) -> float:
        """Return the share of the counted targets that is in some of the rows."""
        if self.layout:
            return int(self.layout.counted[rows].sum()) / self.predictions
        return len(range(*rows.indices(len(self.inputs)))) / len(self.inputs)


class Windows(Dataset[tuple[Tensor, Tensor]]):
    """Windows of a text, as a torch Dataset of (input_ids, target_ids), each (length,) int64.

    The targets are the inputs, one token later. Windows are read when they are asked for.

    Args:
        tokens: The text.
        length: Tokens that the model sees of a window.
        stride: Tokens between the starts of two windows; 0 means `length`: no overlap.
        offset: Start of the first window.
    """

    def __init__(self, tokens: Tokens, length: int, stride: int = 0, offset: int = 0) -> None:
        self._tokens = tokens
        self._length = length
        self._stride = stride or length
        self._offset = offset

    def __len__(self) -> int:
        room = len(self._tokens) - self._offset - self._length - 1  # the last target is one token later
        return room // self._stride + 1 if room >= 0 else 0

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        if not -len(self) <= index < len(self):
            raise IndexError(f"window {index} of {len(self)}")
        (window,) = self.read(np.array([index % len(self)]))
        return window[:-1], window[1:]

    def read(self, indices: npt.NDArray[np.int64]) -> Tensor:
        """Read several windows, with their last targets: (B,) to (B, length + 1) int64."""
        starts = (self._offset + self._stride * indices).tolist()
        rows = [self._tokens[start : start + self._length + 1] for start in starts]
        return torch.from_numpy(np.stack(rows).astype(np.int64))


def load_windows(run_dir: Path, *, held_out: bool = False, length: int = 128, stride: int = 0) -> Windows:
    """Open the windows of a run folder. Training and held-out text are different documents.

    Args:
        run_dir: A folder that `tinyedge train` wrote.
        held_out: Whether to read the held-out text instead of the training text.
        length: Tokens that the model sees of a window.
        stride: Tokens between the starts of two windows; 0 means `length`: no overlap.

    Raises:
        CorpusError: The folder has no token files, or they are damaged.
    """
    shards = Shards.load(run_dir / SHARDS_FOLDER)
    return Windows(shards.open_held_out() if held_out else shards.training(), length, stride)


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
        offset = int(random.integers(self._stride))
        first = step * self._batch_size
        places = np.arange(first, min(first + self._batch_size, self.windows))
        available = self._count_windows(tokens)
        order = Permutation(available, random)(places % available)
        windows = self._windows(tokens, offset).read(order)
        alternatives = None
        if text and text.alternatives is not None:
            alternatives = self._windows(text.alternatives, offset).read(order)[:, 1:]
        return Batch(windows[:, :-1].contiguous(), windows[:, 1:].contiguous(), alternatives)

    def _windows(self, tokens: Tokens, offset: int) -> Windows:
        return Windows(tokens, self._length, self._stride, offset)

    def _count_windows(self, tokens: Tokens) -> int:
        """Return how many windows fit, whatever the offset."""
        return len(self._windows(tokens, self._stride - 1))

    def _load_augmented(self, epoch: int) -> AugmentedTokens:
        if self._augment is None:
            raise ValueError("these batches have no augmentation")
        if self._augmented is None or self._augmented[0] != epoch:
            self._augmented = epoch, self._augment(epoch)
        return self._augmented[1]
