"""Tables of pieces whose rows share parts: embedding and output projection while they are being learned.

A row is a vector of its piece's own plus the sum of its features' vectors, as in Botha and Blunsom,
"Compositional Morphology for Word Representations and Language Modelling" (2014), and fastText (Bojanowski et
al., 2017). What is learned of one piece so reaches its relatives. And what is learned of a piece as input
reaches it as output, through one matrix for all: where tables are tied (Press and Wolf, "Using the Output
Embedding to Improve Language Models", 2017) that is the identity for good, here it is learned, and each row
keeps what is its own. The sums are ordinary tables: the model that is saved has the guide's shape and nothing
of this in it.
"""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tinyedge.train.methods.features import Features
from tinyedge.train.model import TinyTransformer
from tinyedge.train.storage.tensor_checks import require_like

EMBEDDING_SCALE = 8.0  # rows of the embedding are learned this much smaller, and so change this much quicker


class ComposedTable(nn.Module):
    """A (V, D) table as it is learned: rows of their own, (V, D), plus parts, (K, D), zero at the start.

    weight: what it begins with, times 1 / scale. features: how many parts there are.
    """

    def __init__(self, weight: Tensor, features: int, scale: float = 1.0) -> None:
        super().__init__()
        self.own = nn.Parameter(weight.detach() / scale)
        self.parts = nn.Parameter(weight.new_zeros(features, weight.shape[1]))

    def forward(self, ids: Tensor, index: Tensor, share: Tensor) -> Tensor:
        """The rows of some pieces, (C, D): ids (C,), and their features' numbers and weights, (C, N) each."""
        shared = F.embedding_bag(index, self.parts, mode="sum", per_sample_weights=share)
        return F.embedding(ids, self.own) + shared


class ComposedRows(nn.Module):
    """Embedding and output projection, (V, D) each, composed of what is learned."""

    index: Tensor
    share: Tensor

    def __init__(self, embedding: Tensor, output: Tensor, features: Features) -> None:
        super().__init__()
        self.inputs = ComposedTable(embedding, features.count, EMBEDDING_SCALE)
        self.outputs = ComposedTable(output, features.count)
        self.bridge = nn.Parameter(torch.eye(embedding.shape[1], device=embedding.device))
        # Kept with the checkpoint: another machine may find other classes.
        self.register_buffer("index", features.index.clone().to(embedding.device))
        self.register_buffer("share", features.share.clone().to(embedding.device))

    def forward(self, ids: Tensor | None) -> tuple[Tensor, Tensor]:
        """Rows of both, (C, D) each: of pieces (C,), or of all."""
        if ids is None:
            ids = torch.arange(len(self.index), device=self.index.device)
        index, share = self.index[ids], self.share[ids]
        rows: Tensor = self.inputs(ids, index, share)
        return EMBEDDING_SCALE * rows, self.outputs(ids, index, share) + rows @ self.bridge


class EmbeddingTables(nn.Module):
    """Embedding and output projection of a model: its own weights, or what they are composed of.

    features: None leaves the weights to themselves.
    """

    def __init__(self, model: TinyTransformer, features: Features | None) -> None:
        super().__init__()
        weights = model.token_embedding.weight, model.output.weight
        self._weights = weights  # in a tuple: the model owns them
        self.composed = ComposedRows(*weights, features) if features else None
        if features:
            for weight in weights:
                weight.requires_grad_(False)

    def forward(self, ids: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Rows of the embedding and of the output projection, (C, D) each: of pieces (C,), or of all."""
        if self.composed:
            rows: tuple[Tensor, Tensor] = self.composed(ids)
            return rows
        embedding, output = self._weights
        if ids is None:
            return embedding, output
        return F.embedding(ids, embedding), F.embedding(ids, output)

    def restore(self, saved: object) -> None:
        """Takes what `state_dict` gave, its features too. Raises ValueError where that does not fit."""
        require_like("its tables' state", saved, self.state_dict())
        self.load_state_dict(cast(dict[str, Tensor], saved))
        if self.composed:
            index, count = self.composed.index, len(self.composed.inputs.parts)
            if not 0 <= int(index.min()) <= int(index.max()) < count:
                raise ValueError("its pieces have features that are not there")

    @torch.no_grad()
    def fold(self) -> None:
        """Writes the rows into the model's own weights, where there is a difference."""
        if self.composed:
            for weight, rows in zip(self._weights, self(), strict=True):
                weight.copy_(rows)
