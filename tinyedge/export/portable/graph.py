"""The graph that any ONNX runtime loads: OPT's inputs and outputs by the names that Hugging Face gives them.

In: OPT's tensors. Out: the bytes of one `model.onnx` without external data, with no operator but ONNX's own.
Texts of a batch are padded on the left; the mask has a 0 there.

Shapes: B texts, S new tokens, P past tokens (0 at the start), T = P + S, H heads, D d_model, V vocabulary.
    input_ids, position_ids (B, S), attention_mask (B, T), past_key_values.{i}.key and .value (B, H, P, D/H)
    logits (B, S, V), present.{i}.key and .value (B, H, T, D/H)
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from tinyedge.core.config import ModelConfig
from tinyedge.export.onnx_model import IR_VERSION, OPSET, cache_names
from tinyedge.export.portable.opt_layout import (
    OUTPUT,
    POSITION_OFFSET,
    POSITIONS,
    TOKENS,
    Floats,
    layer_prefix,
)

EPSILON = 1e-5  # torch.nn.LayerNorm's default
MASKED = np.finfo(np.float32).min  # not -inf: a row that is all padding must not become NaN
BATCH, SEQUENCE, PAST = "batch_size", "sequence_length", "past_sequence_length"
TOTAL = f"{PAST} + {SEQUENCE}"


def build_portable_graph(tensors: Mapping[str, Floats], config: ModelConfig) -> bytes:
    """The graph as bytes; the same weights give the same bytes."""
    return _PortableGraphBuilder(tensors, config).build()


class _PortableGraphBuilder:
    """A graph on its way: its nodes and constants so far."""

    def __init__(self, tensors: Mapping[str, Floats], config: ModelConfig) -> None:
        self._tensors = tensors
        self._config = config
        self._nodes: list[NodeProto] = []
        self._constants: dict[str, TensorProto] = {}

    def build(self) -> bytes:
        config = self._config
        past = self._node("Shape", ["past_key_values.0.key"], "past", start=2, end=3)  # (1,)
        x = self._embed()
        bias = self._mask(past)
        for index in range(config.num_layers):
            x = self._block(index, x, bias)
        self._node("MatMul", [x, self._constant("lm_head", self._tensors[OUTPUT].T)], "logits")
        inputs = [
            _tensor("input_ids", TensorProto.INT64, [BATCH, SEQUENCE]),
            _tensor("attention_mask", TensorProto.INT64, [BATCH, TOTAL]),
            _tensor("position_ids", TensorProto.INT64, [BATCH, SEQUENCE]),
            *self._caches("past_key_values", PAST),
        ]
        outputs = [
            _tensor("logits", TensorProto.FLOAT, [BATCH, SEQUENCE, config.vocab_size]),
            *self._caches("present", TOTAL),
        ]
        model = helper.make_model(
            helper.make_graph(self._nodes, "tinyedge", inputs, outputs, list(self._constants.values())),
            producer_name="tinyedge",
            ir_version=IR_VERSION,
            opset_imports=[helper.make_opsetid("", OPSET)],
        )
        return bytes(model.SerializeToString(deterministic=True))

    def _caches(self, prefix: str, length: str) -> list[ValueInfoProto]:
        shape: list[int | str] = [BATCH, self._config.nhead, length, self._config.head_dim]
        return [_tensor(name, TensorProto.FLOAT, shape) for name in cache_names(self._config, prefix)]

    def _embed(self) -> str:
        """Rows of both tables, added: (B, S, D)."""
        rows = self._node("Add", ["position_ids", self._integers("offset", POSITION_OFFSET)], "rows")
        table = self._constant("embed_positions", self._tensors[POSITIONS])
        position = self._node("Gather", [table, rows], "position")
        table = self._constant("embed_tokens", self._tensors[TOKENS])
        token = self._node("Gather", [table, "input_ids"], "token")
        return self._node("Add", [token, position], "embedded")

    def _mask(self, past: str) -> str:
        """What is added to attention's scores: 0 where a token may look, else `MASKED`. (B, 1, S, T)"""
        shape = self._node("Shape", ["attention_mask"], "mask_shape")
        total = self._node("Gather", [shape, self._integers("one", 1)], "total")  # ()
        first, step = self._integers("zero", 0), self._integers("one", 1)
        keys = self._node("Range", [first, total, step], "keys")  # (T,)
        new = self._node("Slice", [keys, past, self._integers("end", [1 << 62])], "queries")  # (S,)
        queries = self._node("Unsqueeze", [new, self._integers("second", [1])], "queries_down")  # (S, 1)
        causal = self._node("LessOrEqual", [keys, queries], "causal")  # (S, T)
        text = self._node("Cast", ["attention_mask"], "is_text", to=TensorProto.BOOL)
        middle = self._integers("middle", [1, 2])
        text = self._node("Unsqueeze", [text, middle], "is_text_across")  # (B, 1, 1, T)
        allowed = self._node("And", [causal, text], "allowed")
        nothing = self._constant("nothing", np.array(0, dtype=np.float32))
        masked = self._constant("masked", np.array(MASKED, dtype=np.float32))
        return self._node("Where", [allowed, nothing, masked], "bias")

    def _block(self, index: int, x: str, bias: str) -> str:
        config, prefix = self._config, f"layers.{index}"
        matrices = [self._tensors[f"{layer_prefix(index)}.self_attn.{part}_proj.weight"] for part in "qkv"]
        matrices[0] = matrices[0] * np.float32(config.head_dim**-0.5)  # attention's scale, paid for once
        weights = self._constant(f"{prefix}.qkv_proj", np.concatenate(matrices).T)  # (D, 3 D)
        qkv = self._node("MatMul", [x, weights], f"{prefix}.qkv")
        apart = self._integers("heads_apart", [0, 0, 3 * config.nhead, config.head_dim])
        qkv = self._node("Reshape", [qkv, apart], f"{prefix}.apart")
        qkv = self._node("Transpose", [qkv], f"{prefix}.heads", perm=[0, 2, 1, 3])  # (B, 3 H, S, D/H)
        parts = [f"{prefix}.{part}" for part in ("query", "key", "value")]
        self._node("Split", [qkv], *parts, axis=1, num_outputs=3)
        keys, values = (
            self._node("Concat", [f"past_key_values.{index}.{part}", new], f"present.{index}.{part}", axis=2)
            for part, new in (("key", parts[1]), ("value", parts[2]))
        )
        keys_transposed = self._node("Transpose", [keys], f"{prefix}.keys", perm=[0, 1, 3, 2])
        scores = self._node("MatMul", [parts[0], keys_transposed], f"{prefix}.scores")  # (B, H, S, T)
        scores = self._node("Add", [scores, bias], f"{prefix}.masked_scores")
        shares = self._node("Softmax", [scores], f"{prefix}.shares", axis=-1)
        heads = self._node("MatMul", [shares, values], f"{prefix}.attended_heads")
        heads = self._node("Transpose", [heads], f"{prefix}.attended_apart", perm=[0, 2, 1, 3])
        together = self._integers("heads_together", [0, 0, config.d_model])
        attended = self._node("Reshape", [heads, together], f"{prefix}.attended")  # (B, S, D)
        x = self._norm(
            index, "self_attn_layer_norm", x, self._multiply(index, "self_attn.out_proj", attended)
        )
        active = self._node("Gelu", [self._multiply(index, "fc1", x)], f"{prefix}.active", approximate="none")
        return self._norm(index, "final_layer_norm", x, self._multiply(index, "fc2", active))

    def _multiply(self, index: int, part: str, x: str) -> str:
        name = f"layers.{index}.{part}"
        weight = self._constant(name, self._tensors[f"{layer_prefix(index)}.{part}.weight"].T)
        return self._node("MatMul", [x, weight], f"{name}.product")

    def _norm(self, index: int, part: str, x: str, added: str) -> str:
        name = f"layers.{index}.{part}"
        scale, bias = (
            self._constant(f"{name}.{kind}", self._tensors[f"{layer_prefix(index)}.{part}.{kind}"])
            for kind in ("weight", "bias")
        )
        total = self._node("Add", [x, added], f"{name}.sum")
        return self._node("LayerNormalization", [total, scale, bias], name, axis=-1, epsilon=EPSILON)

    def _integers(self, name: str, value: int | list[int]) -> str:
        return self._constant(name, np.array(value, dtype=np.int64))

    def _constant(self, name: str, value: npt.NDArray[np.generic]) -> str:
        self._constants[name] = numpy_helper.from_array(np.array(value, order="C"), name)
        return name

    def _node(self, kind: str, inputs: list[str], *outputs: str, **attributes: Any) -> str:
        """Adds a node named after its first output, and returns that."""
        self._nodes.append(helper.make_node(kind, inputs, list(outputs), name=outputs[0], **attributes))
        return outputs[0]


def _tensor(name: str, kind: int, shape: Sequence[int | str]) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)
