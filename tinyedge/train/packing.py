"""Batches of conversations: several share a window, and none sees another.

In: the training tokens of pairs, with PAD after each conversation. Out: batches with a layout, which tells
the model the position of each token in its conversation, and the loss which targets count. So the model
learns a conversation exactly as it answers one: at the beginning of its context, alone. Does not know the
model.
"""

from dataclasses import dataclass

import numpy as np
import torch

from tinyedge.core.arrays import Integers
from tinyedge.core.errors import CorpusError
from tinyedge.text.shards import Shards
from tinyedge.text.tokenizer import PAD_ID
from tinyedge.text.windows import mask_completions
from tinyedge.train.data import Batch, Layout, Tokens
from tinyedge.train.permutation import Permutation

CHUNK_TOKENS = 1 << 20  # read at a time to find the conversations
PACKING_STREAM = 2  # separates the order in which windows are filled from other draws with the same seed


@dataclass(frozen=True)
class Packing:
    """Which conversations of a text share a window. They are filled in, in a random order, while they fit.

    One that is longer than a window is left out.
    """

    starts: Integers
    """Index of the first token of each conversation, in the order of the windows, (N,)."""

    sizes: Integers
    """Number of tokens of each, without PAD, (N,)."""

    rows: Integers
    """Index of the first conversation of each window, and N at the end, (W + 1,)."""

    @classmethod
    def fill(cls, tokens: Tokens, length: int, seed: int) -> "Packing":
        """Fill windows with the conversations of a text.

        Args:
            tokens: The text.
            length: Tokens that the model sees of a window.
            seed: Seed of the order.
        """
        ends = find_ends(tokens)
        starts = np.concatenate(([0], ends[:-1] + 1))
        sizes = ends - starts
        fitting = np.flatnonzero(sizes - 1 <= length)
        order = np.random.default_rng([seed, PACKING_STREAM]).permutation(fitting)
        rows, room = [0], length
        for number, size in enumerate(sizes[order].tolist()):
            if size - 1 > room:
                rows.append(number)
                room = length
            room -= size - 1
        rows.append(len(order))
        return cls(starts[order], sizes[order], np.array(rows))

    def __len__(self) -> int:
        """Return the number of windows."""
        return len(self.rows) - 1


class PackedBatches:
    """Cuts the training tokens of pairs into windows, in a new order each epoch.

    Args:
        tokens: The training tokens.
        batch_size: Windows in a batch.
        length: Tokens that the model sees of a window.
        seed: Seed of the order.
    """

    can_augment = False  # a name that a completion copies must keep its pieces

    def __init__(self, tokens: Tokens, batch_size: int, length: int, seed: int) -> None:
        self._tokens = tokens
        self._batch_size = batch_size
        self._length = length
        self._seed = seed
        self._packing = Packing.fill(tokens, length, seed)
        self.windows = len(self._packing)
        """Number of windows in an epoch."""

    @property
    def steps_per_epoch(self) -> int:
        """Batches in an epoch. The last one may be smaller."""
        return -(-self.windows // self._batch_size)

    def batch(self, epoch: int, step: int, augmented: bool = False) -> Batch:
        """Return the batch of a step.

        Args:
            epoch: Number of the epoch, from 0.
            step: Number of the step within the epoch, from 0.
            augmented: Always false.
        """
        first = step * self._batch_size
        places = np.arange(first, min(first + self._batch_size, self.windows))
        random = np.random.default_rng([self._seed, epoch])
        rows = Permutation(self.windows, random)(places).tolist()
        shape = len(rows), self._length
        inputs = np.full(shape, PAD_ID, dtype=np.int64)
        targets = np.full(shape, PAD_ID, dtype=np.int64)
        positions = np.zeros(shape, dtype=np.int64)
        segments = np.full(shape, -1, dtype=np.int64)  # of the rest of a window, which is not learned
        counted = np.zeros(shape, dtype=np.bool_)
        for row, window in enumerate(rows):
            place = 0
            for number in range(self._packing.rows[window], self._packing.rows[window + 1]):
                start, size = int(self._packing.starts[number]), int(self._packing.sizes[number])
                tokens = self._tokens[start : start + size]
                part = slice(place, place + size - 1)
                inputs[row, part], targets[row, part] = tokens[:-1], tokens[1:]
                positions[row, part] = np.arange(size - 1)
                segments[row, part] = number
                counted[row, part] = mask_completions(tokens)
                place += size - 1
        layout = Layout(*map(torch.from_numpy, (positions, segments, counted)))
        return Batch(torch.from_numpy(inputs), torch.from_numpy(targets), layout=layout)


def count_long(shards: Shards, length: int) -> tuple[int, int]:
    """Count the conversations that are longer than the context, which are neither learned nor scored.

    Args:
        shards: Tokens of pairs.
        length: Context of the model in tokens.

    Returns:
        Conversations to train on, and held-out ones.

    Raises:
        CorpusError: All are, of one or the other.
    """
    ends = find_ends(shards.training())
    counts = []
    for sizes in (
        np.diff(ends, prepend=-1) - 1,
        np.array([len(passage.tokens) for passage in shards.validation_passages()], dtype=np.int64),
    ):
        counts.append(int((sizes - 1 > length).sum()))
        if counts[-1] == len(sizes):
            raise CorpusError(
                f"none of {len(sizes)} conversations fits into a context of {length} tokens",
                "pass a larger --max-seq-length, or shorter pairs",
            )
    return counts[0], counts[1]


def find_ends(tokens: Tokens) -> Integers:
    """Return the index of the PAD after each conversation, (N,)."""
    found = [
        start + np.flatnonzero(tokens[start : start + CHUNK_TOKENS] == PAD_ID)
        for start in range(0, len(tokens), CHUNK_TOKENS)
    ]
    return np.concatenate(found)
