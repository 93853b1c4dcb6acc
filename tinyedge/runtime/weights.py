"""The weights of a bundle's model as the kernels take them: views of its verified bytes, in one order.

In: the views that the scan of model.onnx found. Out: a list of them. Nothing is copied, and no numpy.
"""

from collections.abc import Iterator, Mapping

from tinyedge.bundle.expected_graph import EMBEDDING
from tinyedge.core.config import ModelConfig

MATRICES = ("qkv", "out", "linear1", "linear2")  # of a block
NORMS = ("norm1.scale", "norm1.bias", "norm2.scale", "norm2.bias")


def list_tensors(
    weights: Mapping[str, memoryview], config: ModelConfig
) -> list[tuple[memoryview, memoryview | None]]:
    """List the tensors of a model, each with the scale of an int8 matrix, or None.

    Args:
        weights: Content of the graph's tensors, by name.
        config: Shape of the model.

    Returns:
        The token embedding, the position embedding, the matrices and norms of each block, the output.

    Raises:
        KeyError: A tensor is missing.
    """
    return [(weights[name], weights.get(f"{name}.scale")) for name in _list_names(config)]


def _list_names(config: ModelConfig) -> Iterator[str]:
    yield from (EMBEDDING, "position_embedding")
    for layer in range(config.num_layers):
        yield from (f"blocks.{layer}.{part}" for part in (*MATRICES, *NORMS))
    yield "output"
