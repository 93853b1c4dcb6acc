"""What a model begins with, before it has seen any text: positions that heads can tell apart.

A post-norm block meets the embeddings as they are. While those are small all scores of the first block are
near zero, so every head takes the mean of what came before, and no gradient tells it better: after eight
epochs it still did (docs/log.md). So positions begin as the sinusoids of Vaswani et al. ("Attention Is All
You Need", 2017), where a place some tokens back is a rotation of this one, and some heads begin with that
rotation: the first looks one token back, the second two. To begin where trained models end is the idea of
Trockman and Kolter ("Mimetic Initialization of Self-Attention Layers", 2023).
"""

import torch

from tinyedge.train.model import Block, TinyTransformer

SLOWEST = 1000.0  # how much quicker the first pair of dimensions turns than the last
GAIN = 2.0  # of queries and of keys: the token looked for gets half of a head's weight in the end


@torch.no_grad()
def init_local_heads(model: TinyTransformer, heads: int) -> None:
    """Gives positions their sinusoids, and up to `heads` heads of the first block their rotation.

    One head at least is left as it was drawn.
    """
    config = model.config
    pairs = config.d_model // 2
    rates = SLOWEST ** (-torch.arange(pairs) / pairs)  # radians a token
    angles = torch.arange(config.max_seq_length)[:, None] * rates
    table = model.position_embedding.weight
    table[:, 0 : 2 * pairs : 2], table[:, 1 : 2 * pairs : 2] = angles.sin(), angles.cos()
    width = config.head_dim // 2 * 2  # a head reads the quickest pairs, two dimensions each
    first: Block = model.blocks[0]  # type: ignore[assignment]
    weight = first.attention.qkv.weight
    for head in range(min(heads, config.nhead - 1)):
        query = head * config.head_dim
        key = config.d_model + query
        weight[query : query + width, :width] += GAIN * _rotation(-(head + 1) * rates[: width // 2])
        weight[key : key + width, :width] += GAIN * torch.eye(width)


def _rotation(angles: torch.Tensor) -> torch.Tensor:
    """(P,) angles to (2P, 2P): each turns one pair (sin a, cos a) to (sin(a + angle), cos(a + angle))."""
    cosines, sines = angles.cos(), angles.sin()
    turns = torch.stack((torch.stack((cosines, sines), dim=1), torch.stack((-sines, cosines), dim=1)), dim=1)
    whole: torch.Tensor = torch.block_diag(*turns)  # type: ignore[no-untyped-call]
    return whole
