"""Tables of pieces whose rows share parts: embedding and output projection while they are being learned.

A row is a vector of its piece's own plus the mean-like sum of its features' vectors, as in Botha and Blunsom,
"Compositional Morphology for Word Representations and Language Modelling" (2014), and fastText (Bojanowski et
al., 2017). What is learned of one piece so reaches its relatives. The sum is an ordinary table: the model
that is saved has the guide's shape and nothing of this in it.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Features = list[list[int]]  # for each piece the numbers of its features


class Table(nn.Module):
    """A (V, D) table to learn: `weight` itself, or `weight`'s start plus parts where there are features.

    own: (V, D). parts: (K, D), zero at the start. A piece with n features gets their sum over sqrt(n), so
    that its row moves as far as one with a single feature.
    """

    index: Tensor
    share: Tensor

    def __init__(self, weight: Tensor, features: Features | None) -> None:
        super().__init__()
        self._weight = [weight]  # in a list: the model owns it
        self.own: Tensor = weight if features is None else nn.Parameter(weight.detach().clone())
        self.parts: nn.Parameter | None = None
        if features is None:
            return
        weight.requires_grad_(False)
        count = 1 + max((number for row in features for number in row), default=-1)
        self.parts = nn.Parameter(weight.new_zeros(count, weight.shape[1]))
        longest = max(1, *(len(row) for row in features))
        index = torch.zeros(len(features), longest, dtype=torch.int64)
        share = torch.zeros(len(features), longest)
        for piece, row in enumerate(features):
            index[piece, : len(row)] = torch.tensor(row, dtype=torch.int64)
            share[piece, : len(row)] = len(row) ** -0.5 if row else 0.0
        self.register_buffer("index", index.to(weight.device), persistent=False)
        self.register_buffer("share", share.to(weight.device), persistent=False)

    def rows(self, ids: Tensor) -> Tensor:
        """The rows of some pieces: ids of any shape (...) to (..., D)."""
        own = F.embedding(ids, self.own)
        if self.parts is None:
            return own
        flat = ids.flatten()
        shared = F.embedding_bag(
            self.index[flat], self.parts, mode="sum", per_sample_weights=self.share[flat]
        )
        return own + shared.view_as(own)

    def all_rows(self) -> Tensor:
        """The whole table, (V, D)."""
        if self.parts is None:
            return self.own
        return self.rows(torch.arange(len(self.own), device=self.own.device))

    @torch.no_grad()
    def fold(self) -> None:
        """Writes the rows into the model's own weight, where there is a difference."""
        if self.parts is not None:
            self._weight[0].copy_(self.all_rows())
