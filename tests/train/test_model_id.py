"""The id of a model depends on weights, shape and tokenizer, and on nothing else."""

import dataclasses
from collections.abc import Callable

import pytest

pytest.importorskip("torch", reason="training needs the extra `train`")

import torch
from torch import Tensor

from tinyedge.core.config import ModelConfig
from tinyedge.train.model import TinyTransformer
from tinyedge.train.model_id import compute_model_id

CONFIG = ModelConfig(
    vocab_size=1000, d_model=64, nhead=2, num_layers=1, dim_feedforward=128, max_seq_length=32
)
TOKENIZER = "ab" * 32


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    torch.manual_seed(1)
    return dict(TinyTransformer(CONFIG).state_dict())


def test_the_id_is_12_hexadecimal_digits_and_does_not_depend_on_the_order(weights: dict[str, Tensor]) -> None:
    found = compute_model_id(weights, CONFIG, TOKENIZER)
    assert len(found) == 12
    assert int(found, 16) >= 0
    assert compute_model_id(dict(reversed(weights.items())), CONFIG, TOKENIZER) == found


def _change_one_weight(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    changed = weights["output.weight"].clone()
    changed[0, 0] = torch.nextafter(changed[0, 0], torch.tensor(9.0))
    return weights | {"output.weight": changed}


@pytest.mark.parametrize(
    "change",
    [
        _change_one_weight,
        lambda weights: weights | {"output.weight": weights["output.weight"].reshape(64, -1)},
        lambda weights: {name + "x": value for name, value in weights.items()},
    ],
)
def test_other_weights_have_another_id(
    weights: dict[str, Tensor], change: Callable[[dict[str, Tensor]], dict[str, Tensor]]
) -> None:
    found = compute_model_id(weights, CONFIG, TOKENIZER)
    assert compute_model_id(change(weights), CONFIG, TOKENIZER) != found


def test_another_number_of_heads_or_tokenizer_has_another_id(weights: dict[str, Tensor]) -> None:
    found = compute_model_id(weights, CONFIG, TOKENIZER)
    assert compute_model_id(weights, dataclasses.replace(CONFIG, nhead=4), TOKENIZER) != found
    assert compute_model_id(weights, CONFIG, "cd" * 32) != found
