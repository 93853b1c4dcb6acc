"""One optimizer step: a batch in, its loss out, the weights moved.

Knows the model, its loss, its optimizers and the hardware; no tokens on disk, no epochs, no files.
"""

from typing import Any

import torch
from torch import Tensor, nn

from tinyedge.train.hardware import Hardware
from tinyedge.train.loss import output_cross_entropy
from tinyedge.train.model import TinyTransformer
from tinyedge.train.optimizer import Optimizers
from tinyedge.train.recipe import TrainConfig


class Objective(nn.Module):
    """The model and its loss as one module: (B, T) inputs and targets to a scalar, in nats per token."""

    def __init__(self, model: TinyTransformer, hardware: Hardware) -> None:
        super().__init__()
        self.model = model
        self._hardware = hardware

    def forward(self, inputs: Tensor, targets: Tensor) -> Tensor:
        device, dtype = self._hardware.device, self._hardware.dtype
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=dtype is torch.bfloat16):
            hidden = self.model.hidden(inputs)
        return output_cross_entropy(hidden, self.model.output.weight, targets, dtype)


class Learner:
    """A model that learns, batch by batch. All randomness is a function of (seed, step)."""

    def __init__(self, model: TinyTransformer, config: TrainConfig, hardware: Hardware) -> None:
        self.model = model.to(hardware.device)
        self._config = config
        self._hardware = hardware
        self._objective = Objective(model, hardware)
        self._optimizers = Optimizers(model, config)

    def learn(self, inputs: Tensor, targets: Tensor, step: int, rate_factor: float) -> tuple[float, float]:
        """One step on a batch, (B, T) each; `step` counts from the run's begin, from 0.

        Returns the mean loss in nats per token and AdamW's learning rate.
        """
        device = self._hardware.device
        loss = self._objective(inputs.to(device), targets.to(device))
        loss.backward()
        return loss.item(), self._optimizers.step(rate_factor)

    def state_dict(self) -> dict[str, Any]:
        """The optimizers' state; the weights are the model's own."""
        return self._optimizers.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores what `state_dict` gave. Raises KeyError or ValueError when it is another recipe's."""
        self._optimizers.load_state_dict(state)
