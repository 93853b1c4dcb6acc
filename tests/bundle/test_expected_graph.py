"""A bundle's graph is the one that export writes for its configuration, or the bundle is refused."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, helper, numpy_helper

from tests.support.hostile import MICRO, change_model
from tinyedge.bundle.bundle import load_bundle
from tinyedge.bundle.expected_graph import check_expected
from tinyedge.bundle.onnx_scan import check_graph
from tinyedge.core.config import ModelConfig
from tinyedge.core.errors import BundleError
from tinyedge.export.fused_graph import build_fused_graph
from tinyedge.export.head_rotation import rotate_heads
from tinyedge.export.quantize import quantize
from tinyedge.export.weights import Weights
from tinyedge.train.model import TinyTransformer

PATH = Path("model.onnx")
CONFIGS = (
    ModelConfig(1000, 64, 2, 1, 128, 32),
    ModelConfig(1000, 96, 8, 3, 144, 40),  # heads of 12 are padded to 16
    ModelConfig(1200, 70, 7, 2, 128, 33),
)


def check(model: bytes, config: ModelConfig) -> None:
    check_expected(check_graph(model, PATH), config, PATH)


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_every_graph_that_export_writes_is_accepted(config: ModelConfig) -> None:
    weights = rotate_heads(Weights.from_model(TinyTransformer(config)))
    check(build_fused_graph(weights, {}), config)
    for kept_fp32 in ((), ("output",), ("token_embedding", "blocks.0.qkv"), ("blocks.0.linear2",)):
        check(build_fused_graph(weights, quantize(weights, kept_fp32).matrices), config)


def _replace_node(index: int, operator: str, domain: str = "") -> Callable[[ModelProto], object]:
    def change(model: ModelProto) -> None:
        node = model.graph.node[index]
        node.CopyFrom(helper.make_node(operator, node.input, node.output, node.name, domain=domain))

    return change


def _add_matrix(model: ModelProto) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.zeros((4, 4), np.float32), "more"))


def _reshape(model: ModelProto) -> None:
    tensor = next(t for t in model.graph.initializer if t.name == "position_embedding")
    tensor.dims[:] = [tensor.dims[1], tensor.dims[0]]


def _change_attribute(model: ModelProto) -> None:
    node = next(n for n in model.graph.node if n.op_type == "GroupQueryAttention")
    next(a for a in node.attribute if a.name == "num_heads").i = 1 << 40


CHANGES: dict[str, Callable[[ModelProto], object]] = {
    "an integer operator": _replace_node(5, "MatMulInteger"),
    "a division": _replace_node(4, "Div"),
    "another allowed operator": _replace_node(4, "Gelu", "com.microsoft"),
    "one node less": lambda m: m.graph.node.pop(),
    "one node twice": lambda m: m.graph.node.append(m.graph.node[3]),
    "another input": lambda m: m.graph.node[0].input.__setitem__(0, "position_embedding"),
    "another order": lambda m: m.graph.node.insert(0, m.graph.node.pop()),
    "another output name": lambda m: m.graph.node[1].output.__setitem__(0, "other"),
    "an attribute more": lambda m: m.graph.node[0].attribute.append(helper.make_attribute("axis", 1)),
    "a list as attribute": lambda m: m.graph.node[0].attribute.append(helper.make_attribute("axis", [1])),
    "another number of heads": _change_attribute,
    "a tensor more": _add_matrix,
    "another shape": _reshape,
    "an input more": lambda m: m.graph.input.append(helper.make_tensor_value_info("x", 1, [65536, 65536])),
    "another input shape": lambda m: setattr(
        m.graph.input[5].type.tensor_type.shape.dim[2], "dim_value", 60000
    ),
    "an output more": lambda m: m.graph.output.append(helper.make_tensor_value_info("token", 1, [1])),
    "intermediate values": lambda m: m.graph.value_info.append(
        helper.make_tensor_value_info("token", 1, [1])
    ),
    "another opset": lambda m: setattr(m.opset_import[0], "version", 19),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_any_other_graph_is_refused(change: Callable[[ModelProto], object]) -> None:
    bundle = load_bundle(MICRO)
    check(bundle.model, bundle.config)
    with pytest.raises(BundleError, match=r"model\.onnx is not a valid model of a bundle"):
        check(change_model(bundle.model, change), bundle.config)


def test_the_graph_of_another_shape_is_refused() -> None:
    bundle = load_bundle(MICRO)
    for name, value in {"nhead": 4, "num_layers": 3, "max_seq_length": 33, "vocab_size": 1001}.items():
        other = ModelConfig.from_dict({**bundle.config.to_dict(), name: value})
        with pytest.raises(BundleError, match="configuration requires"):
            check(bundle.model, other)
