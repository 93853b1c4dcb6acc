"""Sampled softmax: the pieces that a step's softmax runs over (Jean et al., 2015).

The output projection over all pieces is four fifths of the default model's arithmetic, and most pieces have
almost no probability at most positions. As in Jean et al., "On Using Very Large Target Vocabulary for Neural
Machine Translation", one set of candidates serves a complete batch. It contains all tokens of the batch and
the most frequent pieces with weight one, and a uniform sample of the others, each with weight
(others / sampled). The estimate of the softmax's normalizer is therefore unbiased. docs/log.md has its cost
in quality and its gain in time.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from tinyedge.text.shards import Shards
from tinyedge.train.recipe import TrainConfig

FREQUENT = 500  # pieces that are always candidates


@dataclass(frozen=True)
class Candidates:
    """Pieces that a step's softmax runs over, C of V."""

    ids: Tensor
    """The pieces, (C,)."""

    log_weights: Tensor
    """Logarithm of the number of pieces that each represents, (C,)."""

    index_of: Tensor
    """Index of each piece in `ids`, (V,). Undefined for pieces that are not candidates."""

    def to(self, device: torch.device) -> "Candidates":
        """Return the candidates on a device."""
        return Candidates(self.ids.to(device), self.log_weights.to(device), self.index_of.to(device))


class CandidateSampler:
    """Draws candidates for batches.

    Args:
        counts: How often each piece occurs in the training text, (V,).
        sampled: How many pieces to sample of those that are neither frequent nor in the batch.
    """

    def __init__(self, counts: Tensor, sampled: int) -> None:
        self._sampled = sampled
        self._frequent = torch.zeros(len(counts), dtype=torch.bool)
        self._frequent[counts.argsort(descending=True, stable=True)[:FREQUENT]] = True

    def draw(self, tokens: Tensor, seed: int) -> Candidates:
        """Draw candidates for a batch. The result depends only on the arguments.

        Args:
            tokens: All tokens of the batch, (N,).
            seed: Seed of the sample.
        """
        is_certain = self._frequent.clone()
        is_certain[tokens] = True
        certain, others = is_certain.nonzero()[:, 0], (~is_certain).nonzero()[:, 0]
        generator = torch.Generator().manual_seed(seed)
        sample = others[torch.randperm(len(others), generator=generator)[: self._sampled]]
        ids = torch.cat((certain, sample))
        log_weights = torch.zeros(len(ids))
        if len(sample):
            log_weights[len(certain) :] = math.log(len(others) / len(sample))
        index_of = torch.zeros(len(is_certain), dtype=torch.int64)
        index_of[ids] = torch.arange(len(ids))
        return Candidates(ids, log_weights, index_of)


def make_candidate_sampler(shards: Shards, config: TrainConfig, vocab_size: int) -> CandidateSampler | None:
    """Return a sampler for a run.

    Returns:
        The sampler, or None where the recipe uses the full softmax or sampling would omit no piece.
    """
    if not config.sampled_pieces or vocab_size <= FREQUENT + config.sampled_pieces:
        return None
    return CandidateSampler(torch.from_numpy(shards.count_pieces(vocab_size)), config.sampled_pieces)
