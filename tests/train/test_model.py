"""The guide's model: size, order of operations, causality."""

import math

import pytest

pytest.importorskip("torch", reason="training needs the extra `train`")

import torch

from tinyedge.core.config import ModelConfig
from tinyedge.train.model import Block, TinyTransformer

SMALL = ModelConfig(
    vocab_size=1000, d_model=64, nhead=2, num_layers=2, dim_feedforward=128, max_seq_length=32
)


def test_the_model_has_the_guides_parameters_and_no_bias() -> None:
    model = TinyTransformer(ModelConfig())
    assert sum(p.numel() for p in model.parameters()) == 2_327_552
    biases = [name for name, _ in model.named_parameters() if name.endswith("bias")]
    assert all("norm" in name for name in biases)
    assert model.output.weight is not model.token_embedding.weight


@pytest.mark.parametrize("std", [0.0, 0.02])
def test_the_untrained_loss_is_that_of_a_uniform_guess(std: float) -> None:
    torch.manual_seed(0)
    model = TinyTransformer(ModelConfig())
    if std:
        model.initialize(std)
    tokens = torch.randint(0, 8000, (4, 129))
    loss = torch.nn.functional.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())
    # torch's own initialization gives logits of variance 1/3, which adds half of that to the uniform loss
    assert math.log(8000) - 0.02 < loss.item() < math.log(8000) + 0.25


def test_a_block_equals_post_norm_written_by_hand() -> None:
    """The forward pass in plain matrix products, one head and one position at a time."""
    torch.manual_seed(1)
    model = TinyTransformer(SMALL).double().eval()
    for name, parameter in model.named_parameters():
        if "norm" in name:
            torch.nn.init.normal_(parameter)
    tokens = torch.tensor([5, 77, 900, 3, 5])
    x = model.token_embedding.weight[tokens] + model.position_embedding.weight[:5]
    for block in model.blocks:
        assert isinstance(block, Block)
        query, key, value = (x @ block.attention.qkv.weight.T).split(64, dim=1)
        rows = []
        for t in range(5):
            heads = []
            for h in range(2):
                part = slice(32 * h, 32 * h + 32)
                scores = (
                    torch.tensor([(query[t, part] @ key[s, part]).item() for s in range(t + 1)]) / 32**0.5
                )
                weights = torch.exp(scores.double()) / torch.exp(scores.double()).sum()
                heads.append(sum(weights[s] * value[s, part] for s in range(t + 1)))
            rows.append(torch.cat(heads))
        attended = torch.stack(rows) @ block.attention.out.weight.T
        x = _normalize(x + attended, block.norm1)  # add, then norm: post-norm
        inner = x @ block.linear1.weight.T
        inner = inner * 0.5 * (1 + torch.erf(inner / 2**0.5))
        x = _normalize(x + inner @ block.linear2.weight.T, block.norm2)
    expected = x @ model.output.weight.T
    torch.testing.assert_close(model(tokens[None])[0], expected, atol=1e-5, rtol=1e-5)


def _normalize(x: torch.Tensor, norm: torch.nn.LayerNorm) -> torch.Tensor:
    mean = x.mean(1, keepdim=True)
    variance = ((x - mean) ** 2).mean(1, keepdim=True)
    return (x - mean) / (variance + norm.eps).sqrt() * norm.weight + norm.bias


def test_later_tokens_are_not_seen() -> None:
    torch.manual_seed(2)
    model = TinyTransformer(SMALL).eval()
    tokens = torch.randint(0, 1000, (1, 16))
    changed = tokens.clone()
    changed[0, 9] = (changed[0, 9] + 1) % 1000
    before, after = model(tokens), model(changed)
    torch.testing.assert_close(before[:, :9], after[:, :9], atol=0, rtol=0)
    assert not torch.allclose(before[:, 9:], after[:, 9:])


def test_plain_attention_equals_torchs_own() -> None:
    """In bf16 on a CPU, forward and backward, within the precision of bf16."""
    torch.manual_seed(0)
    block = TinyTransformer(ModelConfig()).blocks[0]
    assert isinstance(block, Block)
    rows = torch.randn(2, 128, 128)
    results = []
    for dtype in (torch.float32, torch.bfloat16):
        given = rows.clone().requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype is torch.bfloat16):
            block.attention(given).float().square().sum().backward()
        results.append(given.grad)
    expected, found = results
    assert expected is not None
    assert found is not None
    assert (found - expected).norm() < 0.02 * expected.norm()
