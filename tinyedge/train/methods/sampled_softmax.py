"""Which pieces a step's softmax runs over: those that matter for sure, and a sample of the rest.

The output projection over all pieces is four fifths of the default model's arithmetic, and most pieces hold
next to no probability in most rows. As in Jean et al. (2015, "On Using Very Large Target Vocabulary"), one
set of candidates serves a whole batch. It holds every token of it and the most frequent pieces with weight
one, and a uniform sample of the others, each standing for (others / sampled) of them; so the estimate of the
softmax's sum is unbiased. What it costs in quality and saves in time is in docs/log.md.
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
    """Pieces to score.

    ids: (C,). log_weights: (C,), the logarithm of how many pieces each stands for. place: (V,), where a piece
    is in ids; without meaning for a piece that is no candidate.
    """

    ids: Tensor
    log_weights: Tensor
    place: Tensor

    def to(self, device: torch.device) -> "Candidates":
        """The same, there."""
        return Candidates(self.ids.to(device), self.log_weights.to(device), self.place.to(device))


class CandidateSampler:
    """Draws `sampled` of the pieces that are neither frequent nor in the batch.

    counts: (V,), how often each piece stands in the training text.
    """

    def __init__(self, counts: Tensor, sampled: int) -> None:
        self._sampled = sampled
        self._frequent = torch.zeros(len(counts), dtype=torch.bool)
        self._frequent[counts.argsort(descending=True, stable=True)[:FREQUENT]] = True

    def draw(self, tokens: Tensor, seed: int) -> Candidates:
        """Candidates for a batch: a function of its tokens (N,) and `seed` alone."""
        sure = self._frequent.clone()
        sure[tokens] = True
        certain, others = sure.nonzero()[:, 0], (~sure).nonzero()[:, 0]
        generator = torch.Generator().manual_seed(seed)
        picked = others[torch.randperm(len(others), generator=generator)[: self._sampled]]
        ids = torch.cat((certain, picked))
        log_weights = torch.zeros(len(ids))
        if len(picked):
            log_weights[len(certain) :] = math.log(len(others) / len(picked))
        place = torch.zeros(len(sure), dtype=torch.int64)
        place[ids] = torch.arange(len(ids))
        return Candidates(ids, log_weights, place)


def sampler_for(shards: Shards, config: TrainConfig, vocab_size: int) -> CandidateSampler | None:
    """For recipes that sample their softmax, where that leaves pieces out."""
    if not config.sampled_pieces or vocab_size <= FREQUENT + config.sampled_pieces:
        return None
    return CandidateSampler(torch.from_numpy(shards.piece_counts(vocab_size)), config.sampled_pieces)
