"""What all exported ONNX models have in common: their versions, the names of the cache, and the check.

In: a model's configuration, or the bytes of a graph. Out: names and counts, or ExportError. Does not know
torch or files.
"""

import onnx

from tinyedge.bundle.expected_graph import cache_parts
from tinyedge.core.config import ModelConfig
from tinyedge.core.errors import ExportError

OPSET = 20  # the first with Gelu as one node; LayerNormalization came with 17; onnxruntime 1.20 runs up to 21
IR_VERSION = 9  # the lowest that OPSET allows (both came with ONNX 1.15): older runtimes refuse a newer one


def cache_names(config: ModelConfig, prefix: str) -> list[str]:
    """Names of the cache's tensors in the graph's order: `{prefix}.0.key`, `{prefix}.0.value`, ..."""
    return [f"{prefix}.{part}" for part in cache_parts(config)]


def check_onnx(graph: bytes) -> int:
    """Validate a graph of standard operators, shapes included.

    Args:
        graph: The bytes of a `model.onnx` without operators of ONNX Runtime's own.

    Returns:
        The number of its nodes.

    Raises:
        ExportError: The graph is invalid; the message has the checker's first complaint.
    """
    model = onnx.load_model_from_string(graph)
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as failure:
        reason = str(failure).strip().splitlines()[0]
        raise ExportError(f"the exported graph is not valid ONNX: {reason}", "please report it") from None
    return len(model.graph.node)


def count_nodes(graph: bytes) -> int:
    """Number of nodes in a graph. Accepts ONNX Runtime's own operators, which `check_onnx` cannot check."""
    return len(onnx.load_model_from_string(graph).graph.node)
