"""Distillation: a model learns from its text and from the predictions of a trained model, its teacher.

A text says of each position only what followed. A larger model says what else could have followed (Hinton,
Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015). So a share of each target is the
teacher's probability, and the rest is the token that followed. On a small text this gains quality that more
epochs cannot: Timiryasov and Tastet, "Baby Llama: knowledge distillation from an ensemble of teachers trained
on a small dataset with no performance penalty" (2023).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from tinyedge.train.data import Layout
from tinyedge.train.hardware import Hardware
from tinyedge.train.model import TinyTransformer


@dataclass(frozen=True)
class SoftTargets:
    """The teacher's share of the targets of N positions, over C pieces."""

    share: float
    """Share of each target that is the teacher's, 0-1."""

    hidden: Tensor
    """The teacher's hidden states, (N, D)."""

    rows: Tensor
    """Rows of its output projection, (C, D), in the same format."""

    def probabilities(self, part: slice, offsets: Tensor) -> Tensor:
        """Compute the share times the teacher's probability of some of the positions: (n, C).

        Args:
            part: The positions.
            offsets: Added to the logits, (C,).
        """
        logits = torch.addmm(offsets.to(self.hidden.dtype), self.hidden[part], self.rows.t())
        return logits.float().softmax(dim=1).mul_(self.share)


class Teacher:
    """A trained model that predicts the batches of a run.

    Args:
        model: The model; it is moved to the device.
        share: Share of each target that is its prediction, 0-1.
        hardware: Device and number format.
    """

    def __init__(self, model: TinyTransformer, share: float, hardware: Hardware) -> None:
        self._model = model.to(hardware.device).eval().requires_grad_(False)
        self._share = share
        self._hardware = hardware
        self._rows = self._model.output.weight.to(hardware.dtype)

    @torch.no_grad()
    def predict(self, inputs: Tensor, ids: Tensor | None, layout: Layout | None) -> SoftTargets:
        """Predict the targets of a batch.

        Args:
            inputs: Token ids, (B, T).
            ids: Pieces that the softmax runs over, (C,); None for all.
            layout: Layout of the batch, if it has one; then only the counted positions are predicted.
        """
        body, tokens = self._model.body, self._model.token_embedding(inputs)
        with self._hardware.autocast():
            hidden = body(tokens, layout.positions, layout.segments) if layout else body(tokens)
        hidden = hidden[layout.counted] if layout else hidden.flatten(0, 1)
        rows = self._rows if ids is None else self._rows[ids]
        return SoftTargets(self._share, hidden.to(self._hardware.dtype), rows)
