"""Tables of pieces whose rows share parts: embedding and output projection while they are being learned.

A row is a vector of its piece's own plus the sum of its features' vectors, as in Botha and Blunsom,
"Compositional Morphology for Word Representations and Language Modelling" (2014), and fastText (Bojanowski et
al., 2017). What is learned of one piece so reaches its relatives. And what is learned of a piece as input
reaches it as output, through one matrix for all: where tables are tied (Press and Wolf, "Using the Output
Embedding to Improve Language Models", 2017) that is the identity for good, here it is learned, and each row
keeps what is its own. The sums are ordinary tables: the model that is saved has the guide's shape and nothing
of this in it.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tinyedge.train.features import Features
from tinyedge.train.model import TinyTransformer

EMBEDDING_SCALE = 8.0  # rows of the embedding are learned this much smaller, and so change this much quicker


class Table(nn.Module):
    """A (V, D) table as it is learned: rows of their own, (V, D), plus parts, (K, D), zero at the start.

    weight: what it begins with, times 1 / scale.
    """

    index: Tensor
    share: Tensor

    def __init__(self, weight: Tensor, features: Features, scale: float = 1.0) -> None:
        super().__init__()
        self.own = nn.Parameter(weight.detach() / scale)
        self.parts = nn.Parameter(weight.new_zeros(features.count, weight.shape[1]))
        self.register_buffer("index", features.index.clone().to(weight.device))
        self.register_buffer("share", features.share.clone().to(weight.device))

    def forward(self, ids: Tensor) -> Tensor:
        """The rows of some pieces: (C,) to (C, D)."""
        shared = F.embedding_bag(self.index[ids], self.parts, mode="sum", per_sample_weights=self.share[ids])
        return F.embedding(ids, self.own) + shared


class Tables(nn.Module):
    """Embedding and output projection of a model: its own weights, or what they are composed of.

    features: None leaves the weights to themselves.
    """

    def __init__(self, model: TinyTransformer, features: Features | None) -> None:
        super().__init__()
        embedding, output = model.token_embedding.weight, model.output.weight
        self._weights = [embedding, output]  # in a list: the model owns them
        self.inputs: Table | None = None
        self.outputs: Table | None = None
        self.bridge: nn.Parameter | None = None
        if features:
            embedding.requires_grad_(False)
            output.requires_grad_(False)
            self.inputs = Table(embedding, features, EMBEDDING_SCALE)
            self.outputs = Table(output, features)
            self.bridge = nn.Parameter(torch.eye(embedding.shape[1], device=embedding.device))

    def forward(self, ids: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Rows of the embedding and of the output projection, (C, D) each: of pieces (C,), or of all."""
        embedding, output = self._weights
        if self.inputs is None or self.outputs is None or self.bridge is None:
            return (
                (embedding, output)
                if ids is None
                else (F.embedding(ids, embedding), F.embedding(ids, output))
            )
        if ids is None:
            ids = torch.arange(len(embedding), device=embedding.device)
        rows: Tensor = self.inputs(ids)
        return EMBEDDING_SCALE * rows, self.outputs(ids) + rows @ self.bridge

    def require_features(self) -> None:
        """Raises ValueError where the tables' features, as a checkpoint gave them, are not there."""
        for table in (self.inputs, self.outputs):
            if table and not 0 <= int(table.index.min()) <= int(table.index.max()) < len(table.parts):
                raise ValueError("its pieces have features that are not there")

    @torch.no_grad()
    def fold(self) -> None:
        """Writes the rows into the model's own weights, where there is a difference."""
        if self.inputs is not None:
            for weight, rows in zip(self._weights, self(), strict=True):
                weight.copy_(rows)
