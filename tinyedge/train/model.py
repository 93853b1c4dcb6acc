"""The guide's TinyTransformer.

In: token ids. Out: logits. Does not know tokenizers or files.

Post-norm, as in "Attention Is All You Need" (Vaswani et al., 2017): x = norm(x + sublayer(x)). No linear
layer has a bias; the output projection is not tied to the embedding. Shapes: B batch, T positions, D d_model,
H heads, V vocabulary.
"""

import dataclasses

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tinyedge.core.config import PRESETS, ModelConfig


class Attention(nn.Module):
    """Causal multi-head self-attention. Query, key and value share one matrix product."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.nhead = config.nhead
        self.qkv = nn.Linear(config.d_model, 3 * config.d_model, bias=False)
        self.out = nn.Linear(config.d_model, config.d_model, bias=False)

    def forward(self, x: Tensor, visible: Tensor | None = None) -> Tensor:
        """Attend to all earlier positions, or to those that are visible: (B, T, D) to (B, T, D).

        Args:
            x: Rows.
            visible: Which positions each one attends to, (B, 1, T, T) bool, if not to all earlier ones.
        """
        q, k, v = self.heads(x)
        if q.dtype is torch.bfloat16 and q.device.type == "cpu":
            return self.merge(_plain_attention(q, k, v, visible))
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=visible, is_causal=visible is None)
        return self.merge(attended)

    def heads(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Compute query, key and value of every head: (B, T, D) to three times (B, H, T, D/H)."""
        batch, length, width = x.shape
        qkv = self.qkv(x).view(batch, length, 3, self.nhead, width // self.nhead)  # (B, T, 3, H, D/H)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # each (B, H, T, D/H)
        return q, k, v

    def merge(self, heads: Tensor) -> Tensor:
        """Concatenate the heads and project them: (B, H, T, D/H) to (B, T, D)."""
        return self.out(heads.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


def _plain_attention(q: Tensor, k: Tensor, v: Tensor, visible: Tensor | None = None) -> Tensor:
    """Attention as plain matrix products, scores in fp32: three times (B, H, T, D/H) to the same.

    For bf16 on a CPU, where the backward pass of torch's own takes a quarter of a step (docs/log.md).
    """
    length, width = q.shape[-2:]
    if visible is None:
        visible = torch.ones(length, length, dtype=torch.bool, device=q.device).tril()
    scores = (q @ k.transpose(-1, -2)).float() * width**-0.5
    attended: Tensor = scores.masked_fill(~visible, -torch.inf).softmax(dim=-1).to(v.dtype) @ v
    return attended


class Block(nn.Module):
    """Attention, add, norm; feed-forward, add, norm."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.attention = Attention(config)
        self.norm1 = nn.LayerNorm(config.d_model)
        self.linear1 = nn.Linear(config.d_model, config.dim_feedforward, bias=False)
        self.linear2 = nn.Linear(config.dim_feedforward, config.d_model, bias=False)
        self.norm2 = nn.LayerNorm(config.d_model)

    def forward(self, x: Tensor, visible: Tensor | None = None) -> Tensor:
        """Compute the block: (B, T, D) to (B, T, D). `visible` is that of `Attention`."""
        return self.after_attention(x, self.attention(x, visible))

    def after_attention(self, x: Tensor, attended: Tensor) -> Tensor:
        """Compute the rest of the block. The exported graphs compute attention with a cache instead."""
        x = self.norm1(x + attended)
        return self.norm2(x + self.linear2(F.gelu(self.linear1(x))))  # type: ignore[no-any-return]


class TinyTransformer(nn.Module):
    """A decoder-only transformer with learned positions.

    Args:
        config: Shape of the model; by default the guide's.
        shape: Fields of ModelConfig that replace those of `config`, as in
            `TinyTransformer(vocab_size=8000, d_model=128)`.

    Raises:
        TypeError: A name in `shape` is no field of ModelConfig.
        UsageError: A value is outside its range, or `nhead` does not divide `d_model`.
    """

    def __init__(self, config: ModelConfig = PRESETS["tiny"], **shape: int) -> None:
        super().__init__()
        config = dataclasses.replace(config, **shape)
        self.config = config
        self.token_embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.position_embedding = nn.Embedding(config.max_seq_length, config.d_model)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.num_layers))
        self.output = nn.Linear(config.d_model, config.vocab_size, bias=False)

    def initialize(self, std: float) -> None:
        """Draw every matrix from N(0, std). Otherwise torch's defaults apply, as in the guide."""
        for parameter in self.parameters():
            if parameter.dim() == 2:
                nn.init.normal_(parameter, std=std)

    def forward(self, input_ids: Tensor) -> Tensor:
        """Compute logits: (B, T) to (B, T, V). T is at most max_seq_length."""
        return self.output(self.hidden(input_ids))  # type: ignore[no-any-return]

    def hidden(self, input_ids: Tensor) -> Tensor:
        """Compute everything except the output projection: (B, T) to (B, T, D)."""
        return self.body(self.token_embedding(input_ids))

    def body(self, tokens: Tensor, positions: Tensor | None = None, segments: Tensor | None = None) -> Tensor:
        """Compute everything between the two tables: token embeddings (B, T, D) to (B, T, D).

        Args:
            tokens: Token embeddings.
            positions: Position of each token in its segment, (B, T); by default its place in the row.
            segments: Number of each token's segment, (B, T): a token attends to its own segment only. None if
                each row is one.
        """
        if positions is None:
            positions = torch.arange(tokens.shape[1], device=tokens.device)
        visible = None
        if segments is not None:
            visible = (segments[:, :, None] == segments[:, None, :]).tril()[:, None]
        x = tokens + self.position_embedding(positions)
        for block in self.blocks:
            x = block(x, visible)
        return x  # type: ignore[no-any-return]
