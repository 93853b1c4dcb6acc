"""The graph that the device runs: as few ONNX Runtime nodes as possible, and no copy of the cache.

In: weights, some of them int8. Out: the bytes of one `model.onnx`. Does not know torch, files or the
tokenizer.

Attention is GroupQueryAttention on a key-value cache of the complete context, which it writes in place. An
addition and its norm are one node, and so are an int8 product and the scaling before and after it. The graph
is final: the session loads it with the optimizer off. After the logits the graph selects the K largest, so
that a sampler that needs no others reads K numbers instead of V.

Shapes: S new tokens, H heads, W width of a head in the cache, C context, V vocabulary, K candidates.
    input_ids, position_ids (1, S), seqlens_k (1,), total_sequence_length (), top_k (1,)
    past_key_values.{i}.key and .value, present.{i}.key and .value (1, H, C, W), the same memory
    logits (1, 1, V) of the last new token, top_logits and top_ids (1, 1, K), largest first
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from tinyedge.export.onnx_model import IR_VERSION, OPSET, cache_names
from tinyedge.export.quantize import Int8Matrix
from tinyedge.export.weights import EMBEDDING, OUTPUT, Weights

CONTRIB = "com.microsoft"
EPSILON = 1e-5  # torch.nn.LayerNorm's default


def build_fused_graph(weights: Weights, quantized: Mapping[str, Int8Matrix]) -> bytes:
    """Build the graph; the same weights give the same bytes.

    Args:
        weights: All weights in fp32.
        quantized: Matrices that are int8, by name; they replace those of `weights`.

    Returns:
        The bytes of `model.onnx`.
    """
    return _FusedGraphBuilder(weights, quantized).build()


class _FusedGraphBuilder:
    """The nodes and constants of a graph that is being built."""

    def __init__(self, weights: Weights, quantized: Mapping[str, Int8Matrix]) -> None:
        self._weights = weights
        self._quantized = quantized
        self._nodes: list[NodeProto] = []
        self._constants: list[TensorProto] = []

    def build(self) -> bytes:
        config = self._weights.config
        x = self._add_embedding()
        for layer in range(config.num_layers):
            x = self._add_block(layer, x)
        logits = self._add_matmul(OUTPUT, x, "logits")
        self._add_node("TopK", [logits, "top_k"], "top_logits", "top_ids")
        cache = [1, config.nhead, config.max_seq_length, config.head_width]
        inputs = [
            _describe_tensor("input_ids", TensorProto.INT64, [1, "sequence"]),
            _describe_tensor("position_ids", TensorProto.INT64, [1, "sequence"]),
            _describe_tensor("seqlens_k", TensorProto.INT32, [1]),
            _describe_tensor("total_sequence_length", TensorProto.INT32, []),
            _describe_tensor("top_k", TensorProto.INT64, [1]),
            *(
                _describe_tensor(name, TensorProto.FLOAT, cache)
                for name in cache_names(config, "past_key_values")
            ),
        ]
        outputs = [
            _describe_tensor("logits", TensorProto.FLOAT, [1, 1, config.vocab_size]),
            _describe_tensor("top_logits", TensorProto.FLOAT, [1, 1, "candidates"]),
            _describe_tensor("top_ids", TensorProto.INT64, [1, 1, "candidates"]),
            *(_describe_tensor(name, TensorProto.FLOAT, cache) for name in cache_names(config, "present")),
        ]
        model = helper.make_model(
            helper.make_graph(self._nodes, "tinyedge", inputs, outputs, self._constants),
            producer_name="tinyedge",
            ir_version=IR_VERSION,
            opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(CONTRIB, 1)],
        )
        return bytes(model.SerializeToString(deterministic=True))

    def _add_embedding(self) -> str:
        quantized = self._quantized.get(EMBEDDING)
        if quantized:
            table = self._add_constant(EMBEDDING, quantized.values)
            row = self._add_node("Gather", [table, "input_ids"], "token_int8")
            scale = self._add_constant(f"{EMBEDDING}.scale", quantized.scale)
            token = self._add_node("DequantizeLinear", [row, scale], "token")
        else:
            table = self._add_constant(EMBEDDING, self._weights.embedding)
            token = self._add_node("Gather", [table, "input_ids"], "token")
        table = self._add_constant("position_embedding", self._weights.positions)
        position = self._add_node("Gather", [table, "position_ids"], "position")
        return self._add_node("Add", [token, position], "embedded")

    def _add_block(self, layer: int, x: str) -> str:
        """One block; the last block computes only what the last token's logits need."""
        config = self._weights.config
        block = f"blocks.{layer}"
        qkv = self._add_matmul(f"{block}.qkv", x)
        past, present = (
            [f"{side}.{layer}.{part}" for part in ("key", "value")] for side in ("past_key_values", "present")
        )
        attended = self._add_node(
            "GroupQueryAttention",
            [qkv, "", "", *past, "seqlens_k", "total_sequence_length"],
            f"{block}.attended",
            *present,
            domain=CONTRIB,
            num_heads=config.nhead,
            kv_num_heads=config.nhead,
            scale=config.head_dim**-0.5,
        )
        if layer == config.num_layers - 1:
            last = self._add_constant("last", np.array([-1]))
            attended = self._add_node("Gather", [attended, last], f"{block}.attended_of_last", axis=1)
            x = self._add_node("Gather", [x, last], f"{block}.input_of_last", axis=1)
        x = self._add_norm(f"{block}.norm1", self._add_matmul(f"{block}.out", attended), x)
        wide = self._add_matmul(f"{block}.linear1", x)
        active = self._add_node("Gelu", [wide], f"{block}.active", domain=CONTRIB)
        return self._add_norm(f"{block}.norm2", self._add_matmul(f"{block}.linear2", active), x)

    def _add_matmul(self, name: str, x: str, result: str = "") -> str:
        result = result or f"{name}.product"
        quantized = self._quantized.get(name)
        if not quantized:
            return self._add_node(
                "MatMul", [x, self._add_constant(name, self._weights.matrices[name])], result
            )
        values = self._add_constant(name, quantized.values)
        scale = self._add_constant(f"{name}.scale", quantized.scale)
        return self._add_node("DynamicQuantizeMatMul", [x, values, scale], result, domain=CONTRIB)

    def _add_norm(self, name: str, x: str, skip: str) -> str:
        scale, bias = self._weights.norms[name]
        inputs = [
            x,
            skip,
            self._add_constant(f"{name}.scale", scale),
            self._add_constant(f"{name}.bias", bias),
        ]
        return self._add_node("SkipLayerNormalization", inputs, name, domain=CONTRIB, epsilon=EPSILON)

    def _add_constant(self, name: str, value: npt.NDArray[np.generic]) -> str:
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def _add_node(
        self, kind: str, inputs: list[str], *outputs: str, domain: str = "", **attributes: Any
    ) -> str:
        """Add a node that is named after its first output, and return that name."""
        self._nodes.append(
            helper.make_node(kind, inputs, list(outputs), name=outputs[0], domain=domain, **attributes)
        )
        return outputs[0]


def _describe_tensor(name: str, kind: int, shape: Sequence[int | str]) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)
