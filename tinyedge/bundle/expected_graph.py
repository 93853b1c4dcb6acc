"""The one graph that export writes for a model's configuration, to compare a bundle's graph with.

In: a scanned graph and the configuration. Out: nothing, or a BundleError that names the first difference.
Only the precision of each matrix may vary, int8 or fp32. So a bundle cannot contain operators, shapes or
connections that were never tested, some of which end the process of ONNX Runtime. And the memory that the
graph needs follows from the configuration. `tinyedge.export.fused_graph` writes the graph and describes it.
"""

import struct
from collections.abc import Mapping
from pathlib import Path

from tinyedge.bundle.manifest import EXPORT_AGAIN, format_untrusted
from tinyedge.bundle.onnx_scan import FLOAT32, INT8, INT32, INT64, Graph, Node, Tensor
from tinyedge.core.config import ModelConfig
from tinyedge.core.errors import BundleError

CONTRIB = "com.microsoft"
EMBEDDING = "token_embedding"


def check_expected(graph: Graph, config: ModelConfig, path: Path) -> None:
    """Raise BundleError unless a graph is the one that export writes for a configuration.

    Args:
        graph: The scanned graph.
        config: Shape of the model, from the manifest.
        path: Path of the file, for the error message.
    """
    expected = _ExpectedGraph(config, graph.tensors)
    for kind, found_tensors, expected_tensors in (
        ("tensor", graph.tensors, expected.tensors),
        ("input", graph.inputs, expected.inputs),
        ("output", graph.outputs, expected.outputs),
    ):
        if found_tensors != expected_tensors:
            names = sorted(found_tensors.keys() | expected_tensors.keys())
            name = next(n for n in names if found_tensors.get(n) != expected_tensors.get(n))
            _fail(path, f"{kind} {format_untrusted(name)} is not as the model's configuration requires")
    if len(graph.nodes) != len(expected.nodes):
        _fail(
            path, f"it has {len(graph.nodes)} nodes, the model's configuration requires {len(expected.nodes)}"
        )
    for number, (found, required) in enumerate(zip(graph.nodes, expected.nodes, strict=True), 1):
        if found != required:
            _fail(
                path,
                f"node {number}, {format_untrusted(found.operator)}, is not the {required.operator} that the"
                " model's configuration requires",
            )


def cache_parts(config: ModelConfig) -> list[str]:
    """Return the names of the cache's parts in the graph's order: "0.key", "0.value", "1.key", ..."""
    return [f"{layer}.{part}" for layer in range(config.num_layers) for part in ("key", "value")]


def cache_shape(config: ModelConfig) -> tuple[int, int, int, int]:
    """Return the shape of the keys, or of the values, of a full context: (1, heads, context, head_width)."""
    return 1, config.nhead, config.max_seq_length, config.head_width


def _fail(path: Path, reason: str) -> None:
    raise BundleError(f"{path} is not a valid model of a bundle: {reason}", EXPORT_AGAIN)


class _ExpectedGraph:
    """The graph of a configuration, with the precisions of the matrices of a given graph."""

    def __init__(self, config: ModelConfig, found: Mapping[str, Tensor]) -> None:
        self._found = found
        self.nodes: list[Node] = []
        self.tensors: dict[str, Tensor] = {}
        width, attention = config.d_model, config.nhead * config.head_width
        self._add_embedding(config)
        x = "embedded"
        for layer in range(config.num_layers):
            x = self._add_block(layer, x, config, attention)
        self._add_matmul("output", x, "logits", (width, config.vocab_size))
        self._add("TopK", ["logits", "top_k"], ["top_logits", "top_ids"])
        cache, parts = Tensor(FLOAT32, cache_shape(config)), cache_parts(config)
        self.inputs = {
            "input_ids": Tensor(INT64, (1, "sequence")),
            "position_ids": Tensor(INT64, (1, "sequence")),
            "seqlens_k": Tensor(INT32, (1,)),
            "total_sequence_length": Tensor(INT32, ()),
            "top_k": Tensor(INT64, (1,)),
            **{f"past_key_values.{part}": cache for part in parts},
        }
        self.outputs = {
            "logits": Tensor(FLOAT32, (1, 1, config.vocab_size)),
            "top_logits": Tensor(FLOAT32, (1, 1, "candidates")),
            "top_ids": Tensor(INT64, (1, 1, "candidates")),
            **{f"present.{part}": cache for part in parts},
        }

    def _add_embedding(self, config: ModelConfig) -> None:
        if self._add_matrix(EMBEDDING, (config.vocab_size, config.d_model)):
            self._add("Gather", [EMBEDDING, "input_ids"], ["token_int8"])
            self._add("DequantizeLinear", ["token_int8", f"{EMBEDDING}.scale"], ["token"])
        else:
            self._add("Gather", [EMBEDDING, "input_ids"], ["token"])
        self.tensors["position_embedding"] = Tensor(FLOAT32, (config.max_seq_length, config.d_model))
        self._add("Gather", ["position_embedding", "position_ids"], ["position"])
        self._add("Add", ["token", "position"], ["embedded"])

    def _add_block(self, layer: int, x: str, config: ModelConfig, attention: int) -> str:
        block, width, wide = f"blocks.{layer}", config.d_model, config.dim_feedforward
        qkv = self._add_matmul(f"{block}.qkv", x, "", (width, 3 * attention))
        past, present = (
            [f"{side}.{layer}.{part}" for part in ("key", "value")] for side in ("past_key_values", "present")
        )
        attended = f"{block}.attended"
        self._add(
            "GroupQueryAttention",
            [qkv, "", "", *past, "seqlens_k", "total_sequence_length"],
            [attended, *present],
            CONTRIB,
            num_heads=config.nhead,
            kv_num_heads=config.nhead,
            scale=struct.pack("<f", config.head_dim**-0.5),
        )
        if layer == config.num_layers - 1:
            self.tensors["last"] = Tensor(INT64, (1,))
            self._add("Gather", [attended, "last"], [f"{block}.attended_of_last"], axis=1)
            self._add("Gather", [x, "last"], [f"{block}.input_of_last"], axis=1)
            attended, x = f"{block}.attended_of_last", f"{block}.input_of_last"
        x = self._add_norm(
            f"{block}.norm1", self._add_matmul(f"{block}.out", attended, "", (attention, width)), x, width
        )
        product = self._add_matmul(f"{block}.linear1", x, "", (width, wide))
        self._add("Gelu", [product], [f"{block}.active"], CONTRIB)
        product = self._add_matmul(f"{block}.linear2", f"{block}.active", "", (wide, width))
        return self._add_norm(f"{block}.norm2", product, x, width)

    def _add_matmul(self, name: str, x: str, result: str, shape: tuple[int, int]) -> str:
        result = result or f"{name}.product"
        if self._add_matrix(name, shape):
            self._add("DynamicQuantizeMatMul", [x, name, f"{name}.scale"], [result], CONTRIB)
        else:
            self._add("MatMul", [x, name], [result])
        return result

    def _add_norm(self, name: str, x: str, skip: str, width: int) -> str:
        self.tensors[f"{name}.scale"] = self.tensors[f"{name}.bias"] = Tensor(FLOAT32, (width,))
        inputs = [x, skip, f"{name}.scale", f"{name}.bias"]
        self._add("SkipLayerNormalization", inputs, [name], CONTRIB, epsilon=struct.pack("<f", 1e-5))
        return name

    def _add_matrix(self, name: str, shape: tuple[int, int]) -> bool:
        """Add a matrix; return whether it is int8, and then has a scale."""
        is_int8 = name in self._found and self._found[name].kind == INT8
        self.tensors[name] = Tensor(INT8 if is_int8 else FLOAT32, shape)
        if is_int8:
            self.tensors[f"{name}.scale"] = Tensor(FLOAT32, (1,))
        return is_int8

    def _add(
        self,
        operator: str,
        inputs: list[str],
        outputs: list[str],
        domain: str = "",
        **attributes: object,
    ) -> None:
        self.nodes.append(Node(domain, operator, tuple(inputs), tuple(outputs), attributes))
