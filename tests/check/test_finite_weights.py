"""NaN and infinity are found wherever a graph can store a number."""

from pathlib import Path

import numpy as np
import pytest

from tinyedge.bundle.bundle import load_bundle
from tinyedge.check.finite_weights import _iterate_float_tensors, find_nonfinite


def test_a_bundles_weights(micro_bundle: Path, micro_bundle_fp32: Path) -> None:
    int8, fp32 = load_bundle(micro_bundle), load_bundle(micro_bundle_fp32)
    values, nonfinite = find_nonfinite(fp32.model)
    assert nonfinite == []
    assert values >= fp32.config.parameters
    assert find_nonfinite(int8.model)[1] == []
    assert find_nonfinite(int8.model)[0] < values


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_one_bad_value_is_found(micro_bundle_fp32: Path, bad: float) -> None:
    model = load_bundle(micro_bundle_fp32).model
    _, largest = max(_iterate_float_tensors(model), key=lambda named: named[1].size)
    at = model.index(largest[:16].tobytes())
    changed = model[:at] + np.float32(bad).tobytes() + model[at + 4 :]
    count, nonfinite = find_nonfinite(changed)
    assert count == find_nonfinite(model)[0]
    assert len(nonfinite) == 1


def test_every_place_that_a_number_may_be_in() -> None:
    onnx = pytest.importorskip("onnx", reason="makes the graph")
    helper, kinds = onnx.helper, onnx.TensorProto
    half = helper.make_tensor("half", kinds.FLOAT16, [2], [1.0, np.inf])
    tensors = [
        helper.make_tensor("typed", kinds.FLOAT, [2], [1.0, np.nan]),
        half,
        helper.make_tensor("sound", kinds.FLOAT, [2], [1.0, 2.0]),
        helper.make_tensor("whole", kinds.INT64, [2], [1, 2]),
    ]
    constant = helper.make_tensor("constant", kinds.FLOAT, [1], np.float32(np.inf).tobytes(), raw=True)
    nodes = [
        helper.make_node("Constant", [], ["a"], value=constant),
        helper.make_node("Gemm", ["a", "a"], ["b"], alpha=float("nan")),
    ]
    graph = helper.make_graph(nodes, "graph", [], [], tensors)
    count, nonfinite = find_nonfinite(helper.make_model(graph).SerializeToString())
    assert sorted(nonfinite) == ["Gemm", "constant", "half", "typed"]
    assert count == 2 + 2 + 2 + 1 + 1
