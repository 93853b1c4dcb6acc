"""TinyTransformer to ONNX: one graph that serves prefill and decode, the KV cache passed in and out.

In: a model. Out: the bytes of one `model.onnx` without external data, names of the exporting machine or
anything else but the graph. Knows no files and no tokenizer.

Shapes: S new tokens, P past tokens (0 at the start), T = P + S, H heads, D d_model, V vocabulary.
    input_ids (1, S), past_key_values.{i}.key and .value (1, H, P, D/H)
    logits (1, V) of the last new token, present.{i}.key and .value (1, H, T, D/H)
"""

import contextlib
import logging
import warnings
from collections.abc import Iterator

import onnx
import torch
from onnx import GraphProto, ModelProto
from torch import Tensor, nn
from torch.export import Dim

from tinyedge.core.config import ModelConfig
from tinyedge.core.errors import ExportError
from tinyedge.runtime.session import cache_parts
from tinyedge.train.model import Block, TinyTransformer

OPSET = 20  # the first with Gelu as one node; LayerNormalization came with 17; onnxruntime 1.20 runs up to 21
IR_VERSION = 10  # of the same time as OPSET: older runtimes refuse a newer one
TRACED_PAST, TRACED_NEW = 5, 3  # any lengths above 1, which torch.export would take for constants
SEQUENCE, PAST, TOTAL = "sequence", "past", "past + sequence"


def export_onnx(model: TinyTransformer) -> bytes:
    """The graph as bytes; the same weights give the same bytes.

    Raises ExportError when the traced graph isn't the one this module describes.
    """
    config = model.config
    past = [torch.zeros(1, config.nhead, TRACED_PAST, config.head_dim) for _ in cache_names(config, "")]
    with _quiet(), torch.no_grad():
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
    if program is None:
        raise ExportError("torch.onnx made no graph", "install the versions that tinyedge[train] names")
    model_proto = program.model_proto
    _name_lengths(model_proto.graph)
    _name_weights(model_proto.graph, config)
    return clean(model_proto)


def check_onnx(graph: bytes) -> int:
    """Has onnx check the graph, shapes included, and returns its number of nodes.

    Raises ExportError with the checker's first complaint.
    """
    model = onnx.load_model_from_string(graph)
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as failure:
        reason = str(failure).strip().splitlines()[0]
        raise ExportError(f"the exported graph is not valid ONNX: {reason}", "please report it") from None
    return len(model.graph.node)


def count_nodes(graph: bytes) -> int:
    """How many nodes a graph has; operators of ONNX Runtime's own, which onnx cannot check, included."""
    return len(onnx.load_model_from_string(graph).graph.node)


def cache_names(config: ModelConfig, prefix: str) -> list[str]:
    """Names of the cache's tensors in the graph's order: `{prefix}.0.key`, `{prefix}.0.value`, ..."""
    return [f"{prefix}.{part}" for part in cache_parts(config)]


def matrix_names(config: ModelConfig) -> list[str]:
    """Names of the weight matrices that the graph multiplies with, in its order."""
    parts = ("qkv", "out", "linear1", "linear2")
    return [f"blocks.{layer}.{part}" for layer in range(config.num_layers) for part in parts] + ["output"]


class CachedTransformer(nn.Module):
    """The model as the graph computes it: same weights, same result, less work.

    The causal mask is a table whose rows are sliced; the scale of attention is part of the query weights; and
    since only the last token's logits are wanted, the last block does for that token alone whatever isn't
    needed for the cache, which also spares its mask.
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
        heads, head_dim = self.config.nhead, self.config.head_dim
        new = input_ids.shape[1]
        start = past[0].shape[2]
        end = start + new
        torch._check(end <= self.config.max_seq_length)  # type: ignore[no-untyped-call]
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


def clean(model: ModelProto) -> bytes:
    """The file's bytes, without what isn't the graph: stack traces with local paths, tools' names, notes."""
    graph = model.graph
    if model.functions or any(tensor.external_data for tensor in graph.initializer):
        raise ExportError("the exported graph has functions or external data", "please report it")
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
    """Gives the three lengths that vary the same name wherever they stand."""
    graph.input[0].type.tensor_type.shape.dim[1].dim_param = SEQUENCE
    for tensors, length in ((graph.input[1:], PAST), (graph.output[1:], TOTAL)):
        for tensor in tensors:
            tensor.type.tensor_type.shape.dim[2].dim_param = length


def _name_weights(graph: GraphProto, config: ModelConfig) -> None:
    """Gives the weights the names of their layers, where constant folding left `val_49`."""
    constants = {tensor.name for tensor in graph.initializer}
    found = [n.input[1] for n in graph.node if n.op_type == "MatMul" and n.input[1] in constants]
    names = matrix_names(config)
    if len(found) != len(names):
        raise ExportError(
            f"the exported graph has {len(found)} weight matrices, the model {len(names)}", "please report it"
        )
    renamed = {name: name.removeprefix("model.") for name in constants} | dict(zip(found, names, strict=True))
    for tensor in graph.initializer:
        tensor.name = renamed[tensor.name]
    for node in graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps torch's exporter from talking: it has nothing to say that a user of tinyedge could act on."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)  # a warning for each torchvision operator, thousands of debugging notes
    try:
        with warnings.catch_warnings():
            # torch's own use of its own deprecated class, through copyreg
            warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)
            yield
    finally:
        logging.disable(disabled)
