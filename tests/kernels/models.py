"""Models for the tests: those of the micro bundles, and random ones of any shape and precision."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from tests.kernels.reference_model import Tensor
from tinyedge.bundle.bundle import load_bundle

BLOCK_TENSORS = (
    "qkv",
    "out",
    "linear1",
    "linear2",
    "norm1.scale",
    "norm1.bias",
    "norm2.scale",
    "norm2.bias",
)


@dataclass(frozen=True)
class Weights:
    """What `Model` of the extension, and of the reference, takes."""

    config: tuple[int, int, int, int, int, int, int]
    attention_scale: float
    tensors: list[Tensor]

    @property
    def vocab_size(self) -> int:
        """V."""
        return self.config[0]

    @property
    def context(self) -> int:
        """C."""
        return self.config[6]


def read_bundle(folder: Path) -> Weights:
    """Read the weights of a bundle."""
    bundle = load_bundle(folder)
    arrays = {
        tensor.name: numpy_helper.to_array(tensor)
        for tensor in onnx.load_from_string(bundle.model).graph.initializer
    }
    shape = bundle.config
    config = (
        shape.vocab_size,
        shape.d_model,
        shape.nhead,
        shape.head_width,
        shape.num_layers,
        shape.dim_feedforward,
        shape.max_seq_length,
    )
    tensors: list[Tensor] = []
    for name in tensor_names(shape.num_layers):
        scale = arrays.get(f"{name}.scale") if arrays[name].dtype == np.int8 else None
        tensors.append((arrays[name].tobytes(), None if scale is None else scale.tobytes()))
    return Weights(config, shape.head_dim**-0.5, tensors)


def tensor_names(layers: int) -> list[str]:
    """Return the names of a model's tensors, in the extension's order."""
    blocks = [f"blocks.{layer}.{name}" for layer in range(layers) for name in BLOCK_TENSORS]
    return ["token_embedding", "position_embedding", *blocks, "output"]


def tensor_shapes(config: tuple[int, int, int, int, int, int, int]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a model's tensors by name, in the extension's order."""
    vocab_size, width, heads, head_width, layers, feedforward, context = config
    attention = heads * head_width
    in_block: dict[str, tuple[int, ...]] = {
        "qkv": (width, 3 * attention),
        "out": (attention, width),
        "linear1": (width, feedforward),
        "linear2": (feedforward, width),
    }
    shapes: dict[str, tuple[int, ...]] = {
        "token_embedding": (vocab_size, width),
        "position_embedding": (context, width),
        "output": (width, vocab_size),
    }
    for layer in range(layers):
        for name in BLOCK_TENSORS:
            shapes[f"blocks.{layer}.{name}"] = in_block.get(name, (width,))
    return {name: shapes[name] for name in tensor_names(layers)}


def make_random(
    config: tuple[int, int, int, int, int, int, int], precision: str, seed: int, spread: float = 1.0
) -> Weights:
    """Make a model whose activations stay in the range of a trained one.

    Args:
        config: The extension's shape.
        precision: "int8", "fp32", or "mixed", where each matrix is either.
        seed: The same seed gives the same weights.
        spread: Factor of the standard deviation of all weights.
    """
    draw = np.random.default_rng(seed)
    tensors: list[Tensor] = []
    for name, shape in tensor_shapes(config).items():
        is_matrix = len(shape) == 2 and name != "position_embedding"
        if is_matrix and (precision == "int8" or (precision == "mixed" and draw.random() < 0.5)):
            values = draw.integers(-127, 128, size=shape, dtype=np.int8)
            deviation = 73.0  # of the integers, uniform in -127..127
            scale = np.float32(spread / deviation / np.sqrt(shape[0]))
            tensors.append((values.tobytes(), scale.tobytes()))
            continue
        deviation = spread / np.sqrt(shape[0]) if is_matrix else 0.5 * spread
        weights = draw.normal(size=shape) * deviation + (name.endswith(".scale"))
        tensors.append((weights.astype(np.float32).tobytes(), None))
    return Weights(config, (config[3] or 1) ** -0.5, tensors)
