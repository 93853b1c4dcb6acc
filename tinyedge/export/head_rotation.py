"""Rotates attention heads before they are quantized, to remove outliers from their weights.

A head that attends to earlier tokens has a few large weights in its queries and keys. A matrix has a single
scale, which depends on its largest weight. Attention scores are products of a query and a key, so a rotation
of both does not change them. A rotation of the values is undone by rotating the rows of the matrix that reads
them. Each head is rotated by a matrix whose elements have similar magnitudes, which spreads an outlier over
the head. QuaRot uses Hadamard matrices for this (Ashkboos et al., 2024, "QuaRot: Outlier-Free 4-Bit Inference
in Rotated LLMs"). The elements of the cosine transform's matrix are nearly as similar, and it exists for
every width. The values are then scaled to the magnitude of queries and keys, and the same rows undo that.

In: `Weights`. Out: `Weights` of the same function, up to rounding.
"""

import dataclasses

import numpy as np
import numpy.typing as npt

from tinyedge.core.config import ModelConfig
from tinyedge.export.weights import Floats, Weights


def rotate_heads(weights: Weights) -> Weights:
    """Rotate all heads of all blocks, and scale the value weights to the magnitude of the others."""
    matrices = dict(weights.matrices)
    for layer in range(weights.config.num_layers):
        qkv, out = f"blocks.{layer}.qkv", f"blocks.{layer}.out"
        matrices[qkv], matrices[out] = _rotate_layer(matrices[qkv], matrices[out], weights.config)
    return dataclasses.replace(weights, matrices=matrices)


def _rotate_layer(qkv: Floats, out: Floats, config: ModelConfig) -> tuple[Floats, Floats]:
    """Rotate each head of `qkv`, (D, 3 A), and the rows of `out`, (A, D), that read it."""
    rotation = np.eye(config.head_width)  # the padding of a head stays zero
    rotation[: config.head_dim, : config.head_dim] = compute_dct_matrix(config.head_dim)
    heads = (qkv.reshape(len(qkv), 3, config.nhead, config.head_width) @ rotation).swapaxes(0, 1)
    readers = rotation.T @ out.reshape(config.nhead, config.head_width, -1)
    scores, values = np.abs(heads[:2]).max(), np.abs(heads[2]).max()
    scale = scores / values if scores and values else 1.0
    heads[2] *= scale
    return (
        heads.swapaxes(0, 1).reshape(qkv.shape).astype(np.float32),
        (readers.reshape(out.shape) / scale).astype(np.float32),
    )


def compute_dct_matrix(size: int) -> npt.NDArray[np.float64]:
    """Compute the orthonormal DCT-II, (size, size); no element is larger than sqrt(2 / size)."""
    row, column = np.arange(size)[:, None], np.arange(size)
    matrix: npt.NDArray[np.float64] = np.sqrt(2 / size) * np.cos(np.pi * (column + 0.5) * row / size)
    matrix[0] /= np.sqrt(2)
    return matrix
