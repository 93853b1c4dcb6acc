"""The optimizers of a run: rates and weight decay of a step."""

import dataclasses

import pytest
import torch

from tinyedge.core.config import ModelConfig
from tinyedge.train.methods.optimizer import Optimizers
from tinyedge.train.model import TinyTransformer
from tinyedge.train.recipe import FAST, TrainConfig

SMALL = ModelConfig(
    vocab_size=1000, d_model=64, nhead=2, num_layers=1, dim_feedforward=128, max_seq_length=32
)


def decay_once(config: TrainConfig, rate_factor: float) -> dict[str, float]:
    """Return the share of each weight that a step without a gradient takes away."""
    model = TinyTransformer(SMALL)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(1.0)
            parameter.grad = torch.zeros_like(parameter)
    Optimizers(model, config).step(rate_factor)
    return {name: 1 - float(value.detach().mean()) for name, value in model.named_parameters()}


@pytest.mark.parametrize("rate_factor", [1.0, 0.5, 0.1])
@pytest.mark.parametrize("scheduled", [False, True])
def test_decay_is_rate_times_decay_which_may_fall_with_the_rate(rate_factor: float, scheduled: bool) -> None:
    config = dataclasses.replace(FAST, scheduled_decay=scheduled)
    taken = decay_once(config, rate_factor)
    share = rate_factor**2 if scheduled else rate_factor
    table = config.learning_rate * config.weight_decay * share
    matrix = config.matrix_learning_rate * config.matrix_weight_decay * share
    assert taken["token_embedding.weight"] == pytest.approx(table, rel=0.01)
    assert taken["blocks.0.linear1.weight"] == pytest.approx(matrix, rel=0.01)
    assert taken["blocks.0.norm1.weight"] == 0
    assert taken["position_embedding.weight"] == 0


def test_the_decay_of_a_step_does_not_depend_on_the_steps_before() -> None:
    model = TinyTransformer(SMALL)
    optimizers = Optimizers(model, FAST)
    for rate_factor in (0.1, 1.0):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.fill_(1.0)
                parameter.grad = torch.zeros_like(parameter)
        optimizers.step(rate_factor)
    expected = 1 - FAST.learning_rate * FAST.weight_decay
    assert float(model.output.weight.detach().mean()) == pytest.approx(expected, rel=1e-5)
