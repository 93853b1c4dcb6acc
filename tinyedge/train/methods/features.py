"""Features that pieces share, as tensors: spelling (`morphology`) and word class (`word_classes`).

Used by `composed_rows`, after Botha and Blunsom (2014).
"""

import numpy as np
import torch

from tinyedge.text.shards import Shards
from tinyedge.text.tokenizer import Tokenizer
from tinyedge.train.data import Tokens
from tinyedge.train.methods.morphology import number_shared_features
from tinyedge.train.methods.word_classes import cluster_pieces
from tinyedge.train.recipe import TrainConfig

# Tokens that word classes are computed from, in slices from all over the text.
SAMPLE_TOKENS, SAMPLE_SLICES = 2_000_000, 100


class Features:
    """The features of each piece.

    A piece with n features gets their sum over sqrt(n), so that its row changes as fast as one with a single
    feature.

    Args:
        rows: Feature numbers of each piece.
        count: How many features there are.
    """

    def __init__(self, rows: list[list[int]], count: int) -> None:
        longest = max(1, *(len(row) for row in rows))
        self.count = count
        """How many features there are."""
        self.index = torch.zeros(len(rows), longest, dtype=torch.int64)
        """Feature numbers of each piece, (V, N)."""
        self.share = torch.zeros(len(rows), longest)
        """Weight of each feature, (V, N); 0 where a piece has fewer than N."""
        for piece, row in enumerate(rows):
            self.index[piece, : len(row)] = torch.tensor(row, dtype=torch.int64)
            self.share[piece, : len(row)] = len(row) ** -0.5 if row else 0.0


def build_features(shards: Shards, config: TrainConfig, tokenizer: Tokenizer) -> Features | None:
    """Compute stems, endings, capitals and word classes of all pieces.

    Returns:
        Features, or None for recipes whose rows share no parts.
    """
    if not config.shared_parts:
        return None
    spellings = tokenizer.spellings()
    rows = number_shared_features(spellings)
    count = 1 + max((number for row in rows for number in row), default=-1)
    for classes in cluster_pieces(_sample_tokens(shards.training()), tokenizer.vocab_size):
        for piece, (spelling, number) in enumerate(zip(spellings, classes.tolist(), strict=True)):
            if spelling:
                rows[piece].append(count + number)
        count += 1 + int(classes.max())
    return Features(rows, count)


def _sample_tokens(tokens: Tokens) -> torch.Tensor:
    """Return at most SAMPLE_TOKENS tokens, (N,) int64."""
    if len(tokens) <= SAMPLE_TOKENS:
        return torch.from_numpy(tokens[0 : len(tokens)].astype(np.int64))
    length = SAMPLE_TOKENS // SAMPLE_SLICES
    starts = np.linspace(0, len(tokens) - length, SAMPLE_SLICES).astype(np.int64)
    slices = [tokens[start : start + length] for start in starts.tolist()]
    return torch.from_numpy(np.concatenate(slices).astype(np.int64))
