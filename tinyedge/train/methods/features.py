"""What pieces have in common, as numbers: their spelling and the class they are used as."""

import numpy as np
import torch

from tinyedge.text.shards import Shards
from tinyedge.text.tokenizer import Tokenizer
from tinyedge.train.data import Tokens
from tinyedge.train.methods.morphology import shared_features
from tinyedge.train.methods.word_classes import classes_of
from tinyedge.train.recipe import TrainConfig

SAMPLE, SLICES = 2_000_000, 100  # tokens that say which class a piece is of, from all over the text


class Features:
    """index: (V, N), the numbers of each piece's features. share: (V, N), the weight of each, 0 where a piece
    has fewer. count: how many features there are.

    A piece with n features gets their sum over sqrt(n), so that its row moves as far as one with a single
    one.
    """

    def __init__(self, rows: list[list[int]], count: int) -> None:
        longest = max(1, *(len(row) for row in rows))
        self.count = count
        self.index = torch.zeros(len(rows), longest, dtype=torch.int64)
        self.share = torch.zeros(len(rows), longest)
        for piece, row in enumerate(rows):
            self.index[piece, : len(row)] = torch.tensor(row, dtype=torch.int64)
            self.share[piece, : len(row)] = len(row) ** -0.5 if row else 0.0


def features_for(shards: Shards, config: TrainConfig, tokenizer: Tokenizer) -> Features | None:
    """For recipes whose rows share parts: stems, endings, capitals and classes of all pieces with a text."""
    if not config.shared_parts:
        return None
    spellings = tokenizer.spellings()
    rows = shared_features(spellings)
    count = 1 + max((number for row in rows for number in row), default=-1)
    for classes in classes_of(_sample(shards.training()), tokenizer.vocab_size):
        for piece, (spelling, number) in enumerate(zip(spellings, classes.tolist(), strict=True)):
            if spelling:
                rows[piece].append(count + number)
        count += 1 + int(classes.max())
    return Features(rows, count)


def _sample(tokens: Tokens) -> torch.Tensor:
    """At most SAMPLE tokens, (N,) int64."""
    if len(tokens) <= SAMPLE:
        return torch.from_numpy(tokens[0 : len(tokens)].astype(np.int64))
    starts = np.linspace(0, len(tokens) - SAMPLE // SLICES, SLICES).astype(np.int64)
    slices = [tokens[start : start + SAMPLE // SLICES] for start in starts.tolist()]
    return torch.from_numpy(np.concatenate(slices).astype(np.int64))
