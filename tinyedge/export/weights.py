"""A model's weights as arrays by name: the form in which they are quantized and written into a graph.

In: a TinyTransformer. Out: `Weights`. Does not know ONNX. Shapes: D d_model, F dim_feedforward, V vocabulary,
C context, A = heads x `head_width`. A matrix is stored as the graph multiplies with it: (inputs, outputs).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tinyedge.core.config import ModelConfig
from tinyedge.train.model import TinyTransformer

Floats = npt.NDArray[np.float32]

EMBEDDING = "token_embedding"
OUTPUT = "output"


@dataclass(frozen=True)
class Weights:
    """All weights of a model."""

    config: ModelConfig
    """The model's shape."""
    embedding: Floats
    """Token embedding, (V, D)."""
    positions: Floats
    """Position embedding, (C, D)."""
    matrices: Mapping[str, Floats]
    """Matrices by name, in the graph's order: "blocks.0.qkv" (D, 3 A), "blocks.0.out" (A, D),
    "blocks.0.linear1" (D, F), "blocks.0.linear2" (F, D), ..., "output" (D, V)."""
    norms: Mapping[str, tuple[Floats, Floats]]
    """Scale and bias, each (D,), of "blocks.0.norm1", "blocks.0.norm2", ..."""

    @classmethod
    def from_model(cls, model: TinyTransformer) -> "Weights":
        """Copy the model's parameters; heads are padded with zeros to the cache's width."""
        state = {name: tensor.detach().numpy().copy() for name, tensor in model.state_dict().items()}
        config = model.config
        matrices, norms = {}, {}
        for layer in range(config.num_layers):
            block = f"blocks.{layer}"
            matrices[f"{block}.qkv"] = _pad_heads(state[f"{block}.attention.qkv.weight"], config).T
            matrices[f"{block}.out"] = _pad_heads(state[f"{block}.attention.out.weight"].T, config)
            for name in ("linear1", "linear2"):
                matrices[f"{block}.{name}"] = state[f"{block}.{name}.weight"].T
            for name in ("norm1", "norm2"):
                norms[f"{block}.{name}"] = (state[f"{block}.{name}.weight"], state[f"{block}.{name}.bias"])
        matrices[OUTPUT] = state["output.weight"].T
        return cls(
            config, state["token_embedding.weight"], state["position_embedding.weight"], matrices, norms
        )


def _pad_heads(rows: Floats, config: ModelConfig) -> Floats:
    """Pad each head of (n x head_dim, D) with zero rows: (n x head_width, D)."""
    heads = rows.reshape(-1, config.head_dim, rows.shape[1])
    missing = config.head_width - config.head_dim
    return np.pad(heads, ((0, 0), (0, missing), (0, 0))).reshape(-1, rows.shape[1])
