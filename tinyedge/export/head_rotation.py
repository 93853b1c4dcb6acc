"""Heads turned before they are quantized, so that no weight of theirs stands out.

A head that looks back keeps a few large weights, in its queries and in its keys, and one scale a matrix takes
its steps from the largest. But scores are products of a query and a key: any rotation of both leaves them as
they are, and what turns the values is undone by turning the rows that read them. So each head is turned by a
matrix whose elements are all about as large, which spreads a weight over its head, as QuaRot does (Ashkboos
et al., 2024, "QuaRot: Outlier-Free 4-Bit Inference in Rotated LLMs") with Hadamard matrices; the cosine
transform's is nearly as flat, and there is one for every width. What then still differs between values and
the rest is a factor, undone in the same rows.

In: `Weights`. Out: `Weights` of the same function, up to rounding.
"""

import dataclasses

import numpy as np
import numpy.typing as npt

from tinyedge.core.config import ModelConfig
from tinyedge.export.weights import Floats, Weights


def rotate_heads(weights: Weights) -> Weights:
    """Turns all heads of all blocks, and makes the largest value's weight as large as the largest other."""
    matrices = dict(weights.matrices)
    for layer in range(weights.config.num_layers):
        qkv, out = f"blocks.{layer}.qkv", f"blocks.{layer}.out"
        matrices[qkv], matrices[out] = _rotate_layer(matrices[qkv], matrices[out], weights.config)
    return dataclasses.replace(weights, matrices=matrices)


def _rotate_layer(qkv: Floats, out: Floats, config: ModelConfig) -> tuple[Floats, Floats]:
    """(D, 3 A) and (A, D), by one rotation of each head."""
    turn = np.eye(config.head_width)  # what the cache widens stays zero
    turn[: config.head_dim, : config.head_dim] = dct_matrix(config.head_dim)
    heads = (qkv.reshape(len(qkv), 3, config.nhead, config.head_width) @ turn).swapaxes(0, 1)
    readers = turn.T @ out.reshape(config.nhead, config.head_width, -1)
    scores, values = np.abs(heads[:2]).max(), np.abs(heads[2]).max()
    scale = scores / values if scores and values else 1.0
    heads[2] *= scale
    return (
        heads.swapaxes(0, 1).reshape(qkv.shape).astype(np.float32),
        (readers.reshape(out.shape) / scale).astype(np.float32),
    )


def dct_matrix(size: int) -> npt.NDArray[np.float64]:
    """The orthonormal DCT-II, (size, size): no element is larger than sqrt(2 / size)."""
    row, column = np.arange(size)[:, None], np.arange(size)
    matrix: npt.NDArray[np.float64] = np.sqrt(2 / size) * np.cos(np.pi * (column + 0.5) * row / size)
    matrix[0] /= np.sqrt(2)
    return matrix
