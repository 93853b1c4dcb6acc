"""Where a model begins: heads that look back, whatever the shape, and the rest as it was drawn."""

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

from tinyedge.core.config import ModelConfig  # noqa: E402
from tinyedge.train.methods.init_local_heads import init_local_heads  # noqa: E402
from tinyedge.train.model import TinyTransformer  # noqa: E402


def first_attention(config: ModelConfig, heads: int) -> "torch.Tensor":
    """Weights of the first block's heads on random text: (H, T, T)."""
    torch.manual_seed(0)
    model = TinyTransformer(config)
    model.initialize(0.02)
    init_local_heads(model, heads)
    tokens = torch.randint(0, config.vocab_size, (8, config.max_seq_length))
    with torch.no_grad():
        rows = model.token_embedding(tokens) + model.position_embedding.weight
        q, k, _ = model.blocks[0].attention.heads(rows)
        scores = q @ k.transpose(-1, -2) / config.head_dim**0.5
        hidden = torch.ones_like(scores[0, 0], dtype=torch.bool).triu(1)
        return scores.masked_fill(hidden, -torch.inf).softmax(dim=-1).mean(dim=0)


@pytest.mark.parametrize(
    ("d_model", "nhead", "context"), [(128, 4, 128), (64, 2, 32), (65, 5, 64), (256, 4, 256), (512, 8, 512)]
)
def test_each_looks_a_token_further_back(d_model: int, nhead: int, context: int) -> None:
    config = ModelConfig(d_model=d_model, nhead=nhead, max_seq_length=context)
    weights = first_attention(config, heads=3)
    for head in range(min(3, nhead - 1)):
        back = torch.stack([weights[head].diagonal(-n)[8:].mean() for n in range(8)])
        assert int(back.argmax()) == head + 1
        assert back.max() > 3 / context
    last = weights[-1, -1]
    assert last.max() < 2 / context  # as it was drawn: a mean


def test_no_heads_is_no_change_of_matrices() -> None:
    torch.manual_seed(0)
    model = TinyTransformer(ModelConfig())
    before = model.blocks[0].attention.qkv.weight.clone()
    init_local_heads(model, 0)
    assert torch.equal(model.blocks[0].attention.qkv.weight, before)
