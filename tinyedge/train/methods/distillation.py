"""Distillation: a model learns from its text and from the predictions of trained models, its teachers.

A text says of each position only what followed. The mean prediction of several models says what else could
have followed, and knows it better than any of them (Hinton, Vinyals and Dean, "Distilling the Knowledge in a
Neural Network", 2015). So a share of each target is the teachers' mean probability, and the rest is the
token that followed. On a small text this gains quality that more epochs cannot: Timiryasov and Tastet, "Baby
Llama: knowledge distillation from an ensemble of teachers trained on a small dataset with no performance
penalty" (2023).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tinyedge.train.data import Layout
from tinyedge.train.hardware import Hardware
from tinyedge.train.model import TinyTransformer


@dataclass(frozen=True)
class SoftTargets:
    """The teachers' share of the targets of N positions, over C pieces."""

    share: float
    """Share of each target that is theirs, 0-1."""

    predictions: Sequence[tuple[Tensor, Tensor]]
    """Of each teacher hidden states, (N, D), and rows of the output projection, (C, D), in one format."""

    def probabilities(self, part: slice, offsets: Tensor) -> Tensor:
        """Compute the share times the mean probability of some of the positions: (n, C).

        Args:
            part: The positions.
            offsets: Added to the logits, (C,).
        """
        low_offsets = offsets.to(self.predictions[0][0].dtype)
        total = offsets.new_zeros(())
        for hidden, rows in self.predictions:
            total = total + torch.addmm(low_offsets, hidden[part], rows.t()).float().softmax(dim=1)
        return total * (self.share / len(self.predictions))


class Teachers:
    """Trained models that predict the batches of a run.

    Args:
        models: The models; they are moved to the device.
        share: Share of each target that is theirs, 0-1.
        hardware: Device and number format.
    """

    def __init__(self, models: Sequence[TinyTransformer], share: float, hardware: Hardware) -> None:
        self._models = [model.to(hardware.device).eval().requires_grad_(False) for model in models]
        self._share = share
        self._hardware = hardware
        self._rows = [model.output.weight.to(hardware.dtype) for model in self._models]

    @torch.no_grad()
    def predict(self, inputs: Tensor, ids: Tensor | None, layout: Layout | None) -> SoftTargets:
        """Predict the targets of a batch.

        Args:
            inputs: Token ids, (B, T).
            ids: Pieces that the softmax runs over, (C,); None for all.
            layout: Layout of the batch, if it has one; then only the counted positions are predicted.
        """
        dtype = self._hardware.dtype
        found = []
        for model, rows in zip(self._models, self._rows, strict=True):
            tokens = model.token_embedding(inputs)
            with self._hardware.autocast():
                hidden = (
                    model.body(tokens, layout.positions, layout.segments) if layout else model.body(tokens)
                )
            hidden = hidden[layout.counted] if layout else hidden.flatten(0, 1)
            found.append((hidden.to(dtype), rows if ids is None else rows[ids]))
        return SoftTargets(self._share, found)
