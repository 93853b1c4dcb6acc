"""Initialization of positions and of local attention heads, after Trockman and Kolter.

A post-norm block reads the embeddings unnormalized. While they are small, all scores of the first block are
near zero. Every head then averages all earlier positions, and no gradient changes that: it was still so after
eight epochs (docs/log.md). Positions therefore start as the sinusoids of Vaswani et al. ("Attention Is All
You Need", 2017), where moving by some tokens is a rotation, and some heads start with that rotation: the
first looks one token back, the second two, and so on. Starting from the structure of trained models is the
idea of Trockman and Kolter ("Mimetic Initialization of Self-Attention Layers", 2023).
"""

import torch

from tinyedge.train.model import Block, TinyTransformer

SLOWEST = 1000.0  # how much faster the first pair of dimensions rotates than the last
GAIN = 2.0  # of queries and of keys: half of a head's attention goes to the intended token


@torch.no_grad()
def init_local_heads(model: TinyTransformer, heads: int) -> None:
    """Set positions to sinusoids, and add rotations to heads of the first block.

    Args:
        model: Model to initialize.
        heads: How many heads become local. At least one head of the block keeps its weights.
    """
    config = model.config
    pairs = config.d_model // 2
    rates = SLOWEST ** (-torch.arange(pairs) / pairs)  # radians per token
    angles = torch.arange(config.max_seq_length)[:, None] * rates
    table = model.position_embedding.weight
    table[:, 0 : 2 * pairs : 2], table[:, 1 : 2 * pairs : 2] = angles.sin(), angles.cos()
    width = config.head_dim // 2 * 2  # a head reads the fastest pairs, two dimensions each
    first: Block = model.blocks[0]  # type: ignore[assignment]
    weight = first.attention.qkv.weight
    for head in range(min(heads, config.nhead - 1)):
        query = head * config.head_dim
        key = config.d_model + query
        weight[query : query + width, :width] += GAIN * _rotation(-(head + 1) * rates[: width // 2])
        weight[key : key + width, :width] += GAIN * torch.eye(width)


def _rotation(angles: torch.Tensor) -> torch.Tensor:
    """Return the matrix that maps each pair (sin a, cos a) to (sin(a + angle), cos(a + angle)).

    Args:
        angles: One for each pair, (P,).

    Returns:
        Matrix, (2P, 2P).
    """
    cosines, sines = angles.cos(), angles.sin()
    blocks = torch.stack((torch.stack((cosines, sines), dim=1), torch.stack((-sines, cosines), dim=1)), dim=1)
    matrix: torch.Tensor = torch.block_diag(*blocks)
    return matrix
