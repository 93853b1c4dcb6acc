"""The graph that a device runs: as few nodes as ONNX Runtime can do the model in, and no copy of the cache.

In: weights, some of them int8. Out: the bytes of one `model.onnx`. Knows no torch, no files, no tokenizer.

Attention is GroupQueryAttention on a key-value cache of the whole context, which it writes in place; an
addition and its norm are one node, so are an int8 product and the scaling before and after it. The graph is
final: the session loads it with the optimizer off. After the logits it picks the K largest, because a sampler
that needs no others then looks at K numbers, not at V.

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
    """The graph as bytes; the same weights give the same bytes. `quantized`: what replaces which matrix."""
    return _FusedGraphBuilder(weights, quantized).build()


class _FusedGraphBuilder:
    """A graph on its way: its nodes and constants so far."""

    def __init__(self, weights: Weights, quantized: Mapping[str, Int8Matrix]) -> None:
        self._weights = weights
        self._quantized = quantized
        self._nodes: list[NodeProto] = []
        self._constants: list[TensorProto] = []

    def build(self) -> bytes:
        config = self._weights.config
        x = self._embed()
        for layer in range(config.num_layers):
            x = self._block(layer, x)
        logits = self._multiply(OUTPUT, x, "logits")
        self._node("TopK", [logits, "top_k"], "top_logits", "top_ids")
        cache = [1, config.nhead, config.max_seq_length, config.head_width]
        inputs = [
            _tensor("input_ids", TensorProto.INT64, [1, "sequence"]),
            _tensor("position_ids", TensorProto.INT64, [1, "sequence"]),
            _tensor("seqlens_k", TensorProto.INT32, [1]),
            _tensor("total_sequence_length", TensorProto.INT32, []),
            _tensor("top_k", TensorProto.INT64, [1]),
            *(_tensor(name, TensorProto.FLOAT, cache) for name in cache_names(config, "past_key_values")),
        ]
        outputs = [
            _tensor("logits", TensorProto.FLOAT, [1, 1, config.vocab_size]),
            _tensor("top_logits", TensorProto.FLOAT, [1, 1, "candidates"]),
            _tensor("top_ids", TensorProto.INT64, [1, 1, "candidates"]),
            *(_tensor(name, TensorProto.FLOAT, cache) for name in cache_names(config, "present")),
        ]
        model = helper.make_model(
            helper.make_graph(self._nodes, "tinyedge", inputs, outputs, self._constants),
            producer_name="tinyedge",
            ir_version=IR_VERSION,
            opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(CONTRIB, 1)],
        )
        return bytes(model.SerializeToString(deterministic=True))

    def _embed(self) -> str:
        found = self._quantized.get(EMBEDDING)
        if found:
            table = self._constant(EMBEDDING, found.values)
            row = self._node("Gather", [table, "input_ids"], "token_int8")
            scale = self._constant(f"{EMBEDDING}.scale", found.scale)
            token = self._node("DequantizeLinear", [row, scale], "token")
        else:
            table = self._constant(EMBEDDING, self._weights.embedding)
            token = self._node("Gather", [table, "input_ids"], "token")
        table = self._constant("position_embedding", self._weights.positions)
        position = self._node("Gather", [table, "position_ids"], "position")
        return self._node("Add", [token, position], "embedded")

    def _block(self, layer: int, x: str) -> str:
        """One block, and in the last one only what the last token's logits need."""
        config = self._weights.config
        block = f"blocks.{layer}"
        qkv = self._multiply(f"{block}.qkv", x)
        past, present = (
            [f"{side}.{layer}.{part}" for part in ("key", "value")] for side in ("past_key_values", "present")
        )
        attended = self._node(
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
            last = self._constant("last", np.array([-1]))
            attended = self._node("Gather", [attended, last], f"{block}.attended_of_last", axis=1)
            x = self._node("Gather", [x, last], f"{block}.input_of_last", axis=1)
        x = self._norm(f"{block}.norm1", self._multiply(f"{block}.out", attended), x)
        wide = self._multiply(f"{block}.linear1", x)
        active = self._node("Gelu", [wide], f"{block}.active", domain=CONTRIB)
        return self._norm(f"{block}.norm2", self._multiply(f"{block}.linear2", active), x)

    def _multiply(self, name: str, x: str, result: str = "") -> str:
        result = result or f"{name}.product"
        found = self._quantized.get(name)
        if not found:
            return self._node("MatMul", [x, self._constant(name, self._weights.matrices[name])], result)
        values = self._constant(name, found.values)
        scale = self._constant(f"{name}.scale", found.scale)
        return self._node("DynamicQuantizeMatMul", [x, values, scale], result, domain=CONTRIB)

    def _norm(self, name: str, x: str, skip: str) -> str:
        scale, bias = self._weights.norms[name]
        inputs = [x, skip, self._constant(f"{name}.scale", scale), self._constant(f"{name}.bias", bias)]
        return self._node("SkipLayerNormalization", inputs, name, domain=CONTRIB, epsilon=EPSILON)

    def _constant(self, name: str, value: npt.NDArray[np.generic]) -> str:
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def _node(self, kind: str, inputs: list[str], *outputs: str, domain: str = "", **attributes: Any) -> str:
        """Adds a node named after its first output, and returns that."""
        self._nodes.append(
            helper.make_node(kind, inputs, list(outputs), name=outputs[0], domain=domain, **attributes)
        )
        return outputs[0]


def _tensor(name: str, kind: int, shape: Sequence[int | str]) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)
