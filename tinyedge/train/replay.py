"""Replay: batches of a new text with some windows of the old one, so that a model does not forget it.

A model that goes on with one language or style only loses the others quickly (McCloskey and Cohen,
"Catastrophic Interference in Connectionist Networks", 1989). Repeating a part of the old examples is the
simplest remedy (Robins, "Catastrophic Forgetting, Rehearsal and Pseudorehearsal", 1995), and it needs the old
token files only.

In: the batches of both texts. Out: batches with rows of both. Does not know the model.
"""

import math

import torch
from torch import Tensor

from tinyedge.train.data import Batch, Batches, Layout
from tinyedge.train.packing import PackedBatches

Source = Batches | PackedBatches


class ReplayBatches:
    """Adds rows of an old text to the batches of a new one.

    An epoch is one of the new text. The rows of the old text go on where the previous step stopped, and begin
    again at its end, in another order. Each batch is determined by (epoch, step), as those of both texts are.

    Args:
        new: Batches of the new text.
        old: Batches of the old text, each with the rows that are added to one of the new ones.
    """

    can_augment = False

    def __init__(self, new: Source, old: Source) -> None:
        self._new = new
        self._old = old
        self.windows = new.windows
        """Number of windows of the new text in an epoch."""
        self.rows = new.rows + old.rows
        """Number of rows in a full batch."""

    @property
    def steps_per_epoch(self) -> int:
        """Batches in an epoch. The last one may be smaller."""
        return self._new.steps_per_epoch

    def batch(self, epoch: int, step: int, augmented: bool = False) -> Batch:
        """Return the batch of a step.

        Args:
            epoch: Number of the epoch, from 0.
            step: Number of the step within the epoch, from 0.
            augmented: Always false.
        """
        place = epoch * self.steps_per_epoch + step
        return concatenate(
            self._new.batch(epoch, step), self._old.batch(*divmod(place, self._old.steps_per_epoch))
        )


def count_replayed(rows: int, share: float) -> int:
    """Return how many rows of the old text a batch gets: a share of those of the new one, rounded up."""
    return math.ceil(rows * share)


def concatenate(first: Batch, second: Batch) -> Batch:
    """Return one batch with the rows of two. If one has a layout, rows of the other are whole sequences."""
    layout = None
    if first.layout or second.layout:
        a, b = first.layout or _make_layout(first.inputs), second.layout or _make_layout(second.inputs)
        layout = Layout(
            torch.cat((a.positions, b.positions)),
            torch.cat((a.segments, b.segments)),
            torch.cat((a.counted, b.counted)),
        )
    return Batch(
        torch.cat((first.inputs, second.inputs)), torch.cat((first.targets, second.targets)), layout=layout
    )


def _make_layout(inputs: Tensor) -> Layout:
    """Return the layout of rows of text: each is one sequence, and every target counts."""
    positions = torch.arange(inputs.shape[1]).repeat(len(inputs), 1)
    return Layout(positions, torch.zeros_like(positions), torch.ones_like(positions, dtype=torch.bool))
