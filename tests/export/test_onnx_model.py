"""Common parts of the exported graphs: the check rejects a broken one, and the cache has names."""

from typing import TYPE_CHECKING

import pytest

pytest.importorskip("torch", reason="export needs tinyedge[train]")
pytest.importorskip("onnx", reason="export needs tinyedge[train]")

import onnx

from tinyedge.core.errors import ExportError
from tinyedge.export.onnx_model import cache_names, check_onnx, count_nodes
from tinyedge.export.portable.graph import build_portable_graph
from tinyedge.export.portable.opt_layout import convert_to_opt

if TYPE_CHECKING:
    from tinyedge.train.model import TinyTransformer


def test_checker_counts_nodes_and_refuses_a_broken_graph(model: "TinyTransformer") -> None:
    graph = build_portable_graph(convert_to_opt(model), model.config)
    broken = onnx.load_model_from_string(graph)
    assert check_onnx(graph) == count_nodes(graph) == len(broken.graph.node)
    del broken.graph.node[5]
    with pytest.raises(ExportError, match="not valid ONNX"):
        check_onnx(broken.SerializeToString())
    wrong_shape = onnx.load_model_from_string(graph)
    next(t for t in wrong_shape.graph.initializer if t.name == "lm_head").dims[:] = [1000, 64]
    with pytest.raises(ExportError, match="not valid ONNX"):
        check_onnx(wrong_shape.SerializeToString())


def test_cache_names_follow_the_layers(model: "TinyTransformer") -> None:
    assert cache_names(model.config, "present") == [
        "present.0.key",
        "present.0.value",
        "present.1.key",
        "present.1.value",
    ]
