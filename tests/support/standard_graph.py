"""The standard ONNX graph, a test oracle: torch's own exporter traces the model, with the cache in and out.

The product builds its graphs by hand and checks them against torch. This graph comes from another route, so
tests compare all of them with it. Tracing needs onnxscript, which the product does not.

In: a model. Out: the bytes of one `model.onnx`, without external data, local paths or tool names.

Shapes: S new tokens, P past tokens (0 at the start), T = P + S, H heads, D d_model, V vocabulary.
    input_ids (1, S), past_key_values.{i}.key and .value (1, H, P, D/H)
    logits (1, V) of the last new token, present.{i}.key and .value (1, H, T, D/H)
"""

import contextlib
import logging
import warnings
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from onnx import GraphProto, ModelProto
from torch import Tensor, nn
from torch.export import Dim

from tinyedge.core.arrays import Logits
from tinyedge.core.config import ModelConfig
from tinyedge.export.onnx_model import IR_VERSION, OPSET, cache_names
from tinyedge.export.portable.decoder import PortableDecoder
from tinyedge.train.model import Block, TinyTransformer

TRACED_PAST, TRACED_NEW = 5, 3  # any lengths above 1; torch.export treats 0 and 1 as constants
SEQUENCE, PAST, TOTAL = "sequence", "past", "past + sequence"


def export_standard_graph(model: TinyTransformer) -> bytes:
    """Trace the model; the same weights give the same bytes."""
    config = model.config
    past = [torch.zeros(1, config.nhead, TRACED_PAST, config.head_dim) for _ in cache_names(config, "")]
    with _silence_exporter(), torch.no_grad():
        program = torch.onnx.export(
            CachedTransformer(model).eval(),
            (torch.zeros(1, TRACED_NEW, dtype=torch.int64), past),
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            input_names=["input_ids", *cache_names(config, "past_key_values")],
            output_names=["logits", *cache_names(config, "present")],
            dynamic_shapes=({1: Dim.DYNAMIC}, [{2: Dim.DYNAMIC}] * len(past)),
        )
    assert program is not None, "torch.onnx made no graph"
    model_proto = program.model_proto
    _name_lengths(model_proto.graph)
    _name_weights(model_proto.graph, config)
    return _serialize(model_proto)


def matrix_names(config: ModelConfig) -> list[str]:
    """Names of the weight matrices in the graph's order."""
    parts = ("qkv", "out", "linear1", "linear2")
    return [f"blocks.{layer}.{part}" for layer in range(config.num_layers) for part in parts] + ["output"]


class StandardDecoder(PortableDecoder):
    """An ONNX Runtime session of the standard graph: its inputs are the token ids and the cache alone."""

    def _feed(self, tokens: Sequence[int]) -> Logits:
        feeds = dict(zip(self._names, self._cache, strict=True))
        logits, *self._cache = self._session.run(
            self._outputs, {"input_ids": np.array([tokens], dtype=np.int64), **feeds}
        )
        last: Logits = logits[0]
        return last


class CachedTransformer(nn.Module):
    """The model as the graph computes it: same weights and result, with the cache as input and output.

    The causal mask is a table whose rows are sliced. The scale of attention is part of the query weights.
    Only the last token's logits are needed, so the last block computes what the cache does not need for that
    token alone, and needs no mask there.
    """

    mask: Tensor

    def __init__(self, model: TinyTransformer) -> None:
        super().__init__()
        self.config = model.config
        self.model = model
        width, context = self.config.d_model, self.config.max_seq_length
        self.qkv = nn.ParameterList()  # each (D, 3 D)
        for block in _blocks(model):
            weight = block.attention.qkv.weight.detach().clone()
            weight[:width] *= self.config.head_dim**-0.5
            self.qkv.append(nn.Parameter(weight.T.contiguous(), requires_grad=False))
        self.register_buffer("mask", torch.full((context, context), float("-inf")).triu(1))

    def forward(self, input_ids: Tensor, past: list[Tensor]) -> tuple[Tensor, ...]:
        """Return the logits (1, V) of the last token, and the longer cache."""
        heads, head_dim = self.config.nhead, self.config.head_dim
        new = input_ids.shape[1]
        start = past[0].shape[2]
        end = start + new
        torch._check(end <= self.config.max_seq_length)
        x = self.model.token_embedding(input_ids) + self.model.position_embedding.weight[start:end]
        mask = self.mask[start:end, :end]  # (S, T)
        present: list[Tensor] = []
        for layer, block in enumerate(_blocks(self.model)):
            qkv = (x @ self.qkv[layer]).view(1, new, 3 * heads, head_dim).transpose(1, 2)
            query, key, value = qkv.split(heads, dim=1)  # each (1, H, S, D/H)
            key = torch.cat((past[2 * layer], key), dim=2)  # (1, H, T, D/H)
            value = torch.cat((past[2 * layer + 1], value), dim=2)
            present += [key, value]
            if layer < self.config.num_layers - 1:
                weights = torch.softmax(query @ key.transpose(2, 3) + mask, dim=-1)  # (1, H, S, T)
                attended = block.attention.merge(weights @ value)  # (1, S, D)
            else:
                x = x[:, -1:]  # (1, 1, D)
                weights = torch.softmax(query[:, :, -1:] @ key.transpose(2, 3), dim=-1)  # (1, H, 1, T)
                attended = block.attention.out((weights @ value).view(1, 1, -1))  # (1, 1, D)
            x = block.after_attention(x, attended)
        return self.model.output(x).view(1, -1), *present


def _serialize(model: ModelProto) -> bytes:
    """Drop stack traces with local paths, tool names and notes; return the bytes of the file."""
    graph = model.graph
    assert not model.functions
    assert not any(tensor.external_data for tensor in graph.initializer)
    model.ir_version = IR_VERSION
    model.producer_name, model.producer_version, model.doc_string = "tinyedge", "", ""
    graph.name, graph.doc_string = "tinyedge", ""
    del model.metadata_props[:], graph.metadata_props[:], graph.value_info[:]
    for part in (*graph.node, *graph.initializer, *graph.input, *graph.output):
        part.doc_string = ""
        del part.metadata_props[:]
    return bytes(model.SerializeToString(deterministic=True))


def _blocks(model: TinyTransformer) -> Iterator[Block]:
    return (block for block in model.blocks if isinstance(block, Block))  # nn.ModuleList has no element type


def _name_lengths(graph: GraphProto) -> None:
    """Give each of the three variable lengths one name."""
    graph.input[0].type.tensor_type.shape.dim[1].dim_param = SEQUENCE
    for tensors, length in ((graph.input[1:], PAST), (graph.output[1:], TOTAL)):
        for tensor in tensors:
            tensor.type.tensor_type.shape.dim[2].dim_param = length


def _name_weights(graph: GraphProto, config: ModelConfig) -> None:
    """Name the weights after their layers; constant folding leaves names such as `val_49`."""
    constants = {tensor.name for tensor in graph.initializer}
    found = [n.input[1] for n in graph.node if n.op_type == "MatMul" and n.input[1] in constants]
    names = matrix_names(config)
    renamed = {name: name.removeprefix("model.") for name in constants} | dict(zip(found, names, strict=True))
    for tensor in graph.initializer:
        tensor.name = renamed[tensor.name]
    for node in graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]


@contextlib.contextmanager
def _silence_exporter() -> Iterator[None]:
    """Silence torch's exporter."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)  # a warning for each torchvision operator, thousands of debugging notes
    try:
        with warnings.catch_warnings():
            # torch's own use of its own deprecated class, through copyreg
            warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)
            yield
    finally:
        logging.disable(disabled)
