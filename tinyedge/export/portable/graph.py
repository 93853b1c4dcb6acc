"""The graph for any ONNX runtime: OPT's inputs and outputs with Hugging Face's names.

In: OPT's tensors. Out: the bytes of one `model.onnx` without external data, with standard ONNX operators
only. Texts of a batch are padded on the left; the mask is 0 there.

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
TO_THE_END = (1 << 63) - 1  # Slice's usual end; tract takes no other large number for it
MASKED = np.finfo(np.float32).min  # not -inf: a row of padding alone would become NaN
BATCH, SEQUENCE, PAST = "batch_size", "sequence_length", "past_sequence_length"
TOTAL = f"{PAST} + {SEQUENCE}"


def build_portable_graph(tensors: Mapping[str, Floats], config: ModelConfig) -> bytes:
    """Build the graph; the same weights give the same bytes."""
    return _PortableGraphBuilder(tensors, config).build()


class _PortableGraphBuilder:
    """The nodes and constants of a graph that is being built."""

    def __init__(self, tensors: Mapping[str, Floats], config: ModelConfig) -> None:
        self._tensors = tensors
        self._config = config
        self._nodes: list[NodeProto] = []
        self._constants: dict[str, TensorProto] = {}

    def build(self) -> bytes:
        config = self._config
        past = self._add_node("Shape", ["past_key_values.0.key"], "past", start=2, end=3)  # (1,)
        x = self._add_embedding()
        bias = self._add_attention_bias(past)
        for index in range(config.num_layers):
            x = self._add_block(index, x, bias)
        self._add_node("MatMul", [x, self._add_constant("lm_head", self._tensors[OUTPUT].T)], "logits")
        inputs = [
            _describe_tensor("input_ids", TensorProto.INT64, [BATCH, SEQUENCE]),
            _describe_tensor("attention_mask", TensorProto.INT64, [BATCH, TOTAL]),
            _describe_tensor("position_ids", TensorProto.INT64, [BATCH, SEQUENCE]),
            *self._describe_caches("past_key_values", PAST),
        ]
        outputs = [
            _describe_tensor("logits", TensorProto.FLOAT, [BATCH, SEQUENCE, config.vocab_size]),
            *self._describe_caches("present", TOTAL),
        ]
        model = helper.make_model(
            helper.make_graph(self._nodes, "tinyedge", inputs, outputs, list(self._constants.values())),
            producer_name="tinyedge",
            ir_version=IR_VERSION,
            opset_imports=[helper.make_opsetid("", OPSET)],
        )
        return bytes(model.SerializeToString(deterministic=True))

    def _describe_caches(self, prefix: str, length: str) -> list[ValueInfoProto]:
        shape: list[int | str] = [BATCH, self._config.nhead, length, self._config.head_dim]
        return [
            _describe_tensor(name, TensorProto.FLOAT, shape) for name in cache_names(self._config, prefix)
        ]

    def _add_embedding(self) -> str:
        """Add token and position embedding: (B, S, D)."""
        rows = self._add_node("Add", ["position_ids", self._add_integers("offset", POSITION_OFFSET)], "rows")
        table = self._add_constant("embed_positions", self._tensors[POSITIONS])
        position = self._add_node("Gather", [table, rows], "position")
        table = self._add_constant("embed_tokens", self._tensors[TOKENS])
        token = self._add_node("Gather", [table, "input_ids"], "token")
        return self._add_node("Add", [token, position], "embedded")

    def _add_attention_bias(self, past: str) -> str:
        """Bias of the attention scores, (B, 1, S, T): 0 where a token may attend, else `MASKED`."""
        shape = self._add_node("Shape", ["attention_mask"], "mask_shape")
        total = self._add_node("Gather", [shape, self._add_integers("one", 1)], "total")  # ()
        first, step = self._add_integers("zero", 0), self._add_integers("one", 1)
        keys = self._add_node("Range", [first, total, step], "keys")  # (T,)
        end = self._add_integers("end", [TO_THE_END])
        new = self._add_node("Slice", [keys, past, end], "queries")  # (S,)
        queries = self._add_node(
            "Unsqueeze", [new, self._add_integers("second", [1])], "queries_down"
        )  # (S, 1)
        causal = self._add_node("LessOrEqual", [keys, queries], "causal")  # (S, T)
        text = self._add_node("Cast", ["attention_mask"], "is_text", to=TensorProto.BOOL)
        middle = self._add_integers("middle", [1, 2])
        text = self._add_node("Unsqueeze", [text, middle], "is_text_across")  # (B, 1, 1, T)
        allowed = self._add_node("And", [causal, text], "allowed")
        nothing = self._add_constant("nothing", np.array(0, dtype=np.float32))
        masked = self._add_constant("masked", np.array(MASKED, dtype=np.float32))
        return self._add_node("Where", [allowed, nothing, masked], "bias")

    def _add_block(self, index: int, x: str, bias: str) -> str:
        config, prefix = self._config, f"layers.{index}"
        matrices = [self._tensors[f"{layer_prefix(index)}.self_attn.{part}_proj.weight"] for part in "qkv"]
        matrices[0] = matrices[0] * np.float32(
            config.head_dim**-0.5
        )  # the scale of attention is part of the query weights
        weights = self._add_constant(f"{prefix}.qkv_proj", np.concatenate(matrices).T)  # (D, 3 D)
        qkv = self._add_node("MatMul", [x, weights], f"{prefix}.qkv")
        apart = self._add_integers("heads_apart", [0, 0, 3 * config.nhead, config.head_dim])
        qkv = self._add_node("Reshape", [qkv, apart], f"{prefix}.apart")
        qkv = self._add_node("Transpose", [qkv], f"{prefix}.heads", perm=[0, 2, 1, 3])  # (B, 3 H, S, D/H)
        parts = [f"{prefix}.{part}" for part in ("query", "key", "value")]
        self._add_node("Split", [qkv], *parts, axis=1, num_outputs=3)
        keys, values = (
            self._add_node(
                "Concat", [f"past_key_values.{index}.{part}", new], f"present.{index}.{part}", axis=2
            )
            for part, new in (("key", parts[1]), ("value", parts[2]))
        )
        keys_transposed = self._add_node("Transpose", [keys], f"{prefix}.keys", perm=[0, 1, 3, 2])
        scores = self._add_node("MatMul", [parts[0], keys_transposed], f"{prefix}.scores")  # (B, H, S, T)
        scores = self._add_node("Add", [scores, bias], f"{prefix}.masked_scores")
        shares = self._add_node("Softmax", [scores], f"{prefix}.shares", axis=-1)
        heads = self._add_node("MatMul", [shares, values], f"{prefix}.attended_heads")
        heads = self._add_node("Transpose", [heads], f"{prefix}.attended_apart", perm=[0, 2, 1, 3])
        together = self._add_integers("heads_together", [0, 0, config.d_model])
        attended = self._add_node("Reshape", [heads, together], f"{prefix}.attended")  # (B, S, D)
        x = self._add_norm(
            index, "self_attn_layer_norm", x, self._add_matmul(index, "self_attn.out_proj", attended)
        )
        active = self._add_node(
            "Gelu", [self._add_matmul(index, "fc1", x)], f"{prefix}.active", approximate="none"
        )
        return self._add_norm(index, "final_layer_norm", x, self._add_matmul(index, "fc2", active))

    def _add_matmul(self, index: int, part: str, x: str) -> str:
        name = f"layers.{index}.{part}"
        weight = self._add_constant(name, self._tensors[f"{layer_prefix(index)}.{part}.weight"].T)
        return self._add_node("MatMul", [x, weight], f"{name}.product")

    def _add_norm(self, index: int, part: str, x: str, added: str) -> str:
        name = f"layers.{index}.{part}"
        scale, bias = (
            self._add_constant(f"{name}.{kind}", self._tensors[f"{layer_prefix(index)}.{part}.{kind}"])
            for kind in ("weight", "bias")
        )
        total = self._add_node("Add", [x, added], f"{name}.sum")
        return self._add_node("LayerNormalization", [total, scale, bias], name, axis=-1, epsilon=EPSILON)

    def _add_integers(self, name: str, value: int | list[int]) -> str:
        return self._add_constant(name, np.array(value, dtype=np.int64))

    def _add_constant(self, name: str, value: npt.NDArray[np.generic]) -> str:
        self._constants[name] = numpy_helper.from_array(np.array(value, order="C"), name)
        return name

    def _add_node(self, kind: str, inputs: list[str], *outputs: str, **attributes: Any) -> str:
        """Add a node that is named after its first output, and return that name."""
        self._nodes.append(helper.make_node(kind, inputs, list(outputs), name=outputs[0], **attributes))
        return outputs[0]


def _describe_tensor(name: str, kind: int, shape: Sequence[int | str]) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)
