"""Embedding and output projection whose rows share parts during training.

A row is the piece's own vector plus the sum of its features' vectors, as in Botha and Blunsom,
"Compositional Morphology for Word Representations and Language Modelling" (2014), and fastText (Bojanowski et
al., 2017). So related pieces learn from each other. In addition, one learned matrix maps input rows to output
rows, so that a piece seen as input is also learned as output. Where tables are tied (Press and Wolf, "Using
the Output Embedding to Improve Language Models", 2017), that matrix is always the identity. Here it is
trained, and each output row has parameters of its own.

The sums are ordinary tables. The saved model has the guide's shape and contains no trace of this method.
"""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tinyedge.train.methods.features import Features
from tinyedge.train.model import TinyTransformer
from tinyedge.train.storage.tensor_checks import require_matching

EMBEDDING_SCALE = 8.0  # embedding rows are this times their parameters, so that they change faster


class ComposedTable(nn.Module):
    """A (V, D) table as it is trained: own rows, (V, D), plus parts, (K, D), which start at zero.

    Args:
        weight: Initial value of the table, times `scale`.
        features: Number K of parts.
        scale: What the parameters are divided by.
    """

    def __init__(self, weight: Tensor, features: int, scale: float = 1.0) -> None:
        super().__init__()
        self.own = nn.Parameter(weight.detach() / scale)
        self.parts = nn.Parameter(weight.new_zeros(features, weight.shape[1]))

    def forward(self, ids: Tensor, index: Tensor, share: Tensor) -> Tensor:
        """Compute the rows of some pieces.

        Args:
            ids: Pieces, (C,).
            index: Their features, (C, N).
            share: The weight of each feature, (C, N).

        Returns:
            Rows, (C, D).
        """
        shared = F.embedding_bag(index, self.parts, mode="sum", per_sample_weights=share)
        return F.embedding(ids, self.own) + shared


class ComposedRows(nn.Module):
    """Embedding and output projection, (V, D) each, composed of trained parts.

    Args:
        embedding: Initial embedding.
        output: Initial output projection.
        features: Features of each piece.
    """

    index: Tensor
    share: Tensor

    def __init__(self, embedding: Tensor, output: Tensor, features: Features) -> None:
        super().__init__()
        self.inputs = ComposedTable(embedding, features.count, EMBEDDING_SCALE)
        self.outputs = ComposedTable(output, features.count)
        self.bridge = nn.Parameter(torch.eye(embedding.shape[1], device=embedding.device))
        # Saved in the checkpoint, because another machine may compute other classes.
        self.register_buffer("index", features.index.clone().to(embedding.device))
        self.register_buffer("share", features.share.clone().to(embedding.device))

    def forward(self, ids: Tensor | None) -> tuple[Tensor, Tensor]:
        """Compute rows of embedding and output projection, (C, D) each.

        Args:
            ids: Pieces, (C,); None for all.
        """
        if ids is None:
            ids = torch.arange(len(self.index), device=self.index.device)
        index, share = self.index[ids], self.share[ids]
        rows: Tensor = self.inputs(ids, index, share)
        return EMBEDDING_SCALE * rows, self.outputs(ids, index, share) + rows @ self.bridge


class EmbeddingTables(nn.Module):
    """Embedding and output projection of a model: its own weights, or composed rows.

    Args:
        model: Model that owns the weights.
        features: Features of each piece for composed rows; None to train the model's own weights.
    """

    def __init__(self, model: TinyTransformer, features: Features | None) -> None:
        super().__init__()
        weights = model.token_embedding.weight, model.output.weight
        self._weights = weights  # in a tuple, so that they are not registered here: the model owns them
        self.composed = ComposedRows(*weights, features) if features else None
        if features:
            for weight in weights:
                weight.requires_grad_(False)

    def forward(self, ids: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return rows of embedding and output projection, (C, D) each.

        Args:
            ids: Pieces, (C,); None for all.
        """
        if self.composed:
            rows: tuple[Tensor, Tensor] = self.composed(ids)
            return rows
        embedding, output = self._weights
        if ids is None:
            return embedding, output
        return F.embedding(ids, embedding), F.embedding(ids, output)

    def restore(self, saved: object) -> None:
        """Load what `state_dict` returned, features included.

        Raises:
            ValueError: It does not match this model.
        """
        require_matching("its tables' state", saved, self.state_dict())
        self.load_state_dict(cast(dict[str, Tensor], saved))
        if self.composed:
            index, count = self.composed.index, len(self.composed.inputs.parts)
            if not 0 <= int(index.min()) <= int(index.max()) < count:
                raise ValueError("its pieces have features that do not exist")

    @torch.no_grad()
    def materialize(self) -> None:
        """Write composed rows into the model's own weights."""
        if self.composed:
            for weight, rows in zip(self._weights, self(), strict=True):
                weight.copy_(rows)
