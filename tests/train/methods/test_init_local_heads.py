"""Initialization: local heads look back in any shape, and the other weights stay as drawn."""

import pytest

pytest.importorskip("torch", reason="training needs the extra `train`")

import torch

from tinyedge.core.config import ModelConfig
from tinyedge.train.methods.init_local_heads import init_local_heads
from tinyedge.train.model import Block, TinyTransformer


def get_first_block(model: TinyTransformer) -> Block:
    block = model.blocks[0]
    assert isinstance(block, Block)
    return block


def compute_attention(config: ModelConfig, heads: int) -> torch.Tensor:
    """Return the attention of the first block's heads on random text: (H, T, T)."""
    torch.manual_seed(0)
    model = TinyTransformer(config)
    model.initialize(0.02)
    init_local_heads(model, heads)
    tokens = torch.randint(0, config.vocab_size, (8, config.max_seq_length))
    with torch.no_grad():
        rows = model.token_embedding(tokens) + model.position_embedding.weight
        q, k, _ = get_first_block(model).attention.heads(rows)
        scores = q @ k.transpose(-1, -2) / config.head_dim**0.5
        hidden = torch.ones_like(scores[0, 0], dtype=torch.bool).triu(1)
        weights: torch.Tensor = scores.masked_fill(hidden, -torch.inf).softmax(dim=-1).mean(dim=0)
    return weights


@pytest.mark.parametrize(
    ("d_model", "nhead", "context"), [(128, 4, 128), (64, 2, 32), (65, 5, 64), (256, 4, 256), (512, 8, 512)]
)
def test_each_head_looks_one_token_further_back(d_model: int, nhead: int, context: int) -> None:
    config = ModelConfig(d_model=d_model, nhead=nhead, max_seq_length=context)
    weights = compute_attention(config, heads=3)
    for head in range(min(3, nhead - 1)):
        back = torch.stack([weights[head].diagonal(-n)[8:].mean() for n in range(8)])
        assert int(back.argmax()) == head + 1
        assert back.max() > 3 / context
    last = weights[-1, -1]
    assert last.max() < 2 / context  # unchanged: nearly uniform


def test_without_local_heads_no_matrix_changes() -> None:
    torch.manual_seed(0)
    model = TinyTransformer(ModelConfig())
    before = get_first_block(model).attention.qkv.weight.clone()
    init_local_heads(model, 0)
    assert torch.equal(get_first_block(model).attention.qkv.weight, before)
