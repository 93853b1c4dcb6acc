"""int8: what becomes int8, how far from fp32, and that it still runs."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pytest

pytest.importorskip("torch", reason="export needs tinyedge[train]")
pytest.importorskip("onnx", reason="export needs tinyedge[train]")

import onnx

from tinyedge.errors import ExportError
from tinyedge.export.onnx import check_onnx, matrix_names
from tinyedge.export.quantize import quantize_int8
from tinyedge.runtime.session import Session

if TYPE_CHECKING:
    from tinyedge.train.model import TinyTransformer


def test_every_matrix_becomes_int8_and_attention_stays_float(model: "TinyTransformer", graph: bytes) -> None:
    quantized, done = quantize_int8(graph)
    names = ["token_embedding.weight", *matrix_names(model.config)]
    assert list(done.errors) == names
    parsed = onnx.load_model_from_string(quantized)
    constants = {tensor.name: tensor for tensor in parsed.graph.initializer}
    for name in names:
        assert name not in constants
        weight = onnx.numpy_helper.to_array(constants[f"{name}_quantized"])
        if name in matrix_names(
            model.config
        ):  # the embedding is looked up, not multiplied: any 8 bits will do
            assert weight.dtype == np.int8
            assert weight.min() >= -127  # two products of -128 * -128 overflow the device's 16 bits
            assert np.abs(weight).max() == 127
    operators = [node.op_type for node in parsed.graph.node]
    assert operators.count("MatMulInteger") == len(names) - 1
    assert operators.count("MatMul") == 2 * model.config.num_layers
    assert len(quantized) < 0.32 * len(graph)
    check_onnx(quantized)


def test_errors_are_those_of_rounding_and_the_worst_is_named(
    graph: bytes, changed: Callable[..., bytes]
) -> None:
    def with_outlier(value: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        value[0, 0] = 10.0
        return value

    _, plain = quantize_int8(graph)
    assert all(0 < error < 0.02 for error in plain.errors.values())
    _, spoiled = quantize_int8(changed(graph, "blocks.1.linear2", with_outlier))
    assert spoiled.worst == "blocks.1.linear2"
    assert spoiled.to_dict()["worst_relative_error"] > 5 * plain.errors["blocks.1.linear2"]


def test_int8_file_runs_near_fp32_and_holds_no_traces(
    model: "TinyTransformer", graph: bytes, without_weights: Callable[[bytes], bytes]
) -> None:
    quantized, _ = quantize_int8(graph)
    tokens = list(range(20))
    fp32 = Session(graph, model.config).prefill(tokens)
    int8 = Session(quantized, model.config).prefill(tokens)
    assert 0 < np.abs(int8 - fp32).max() < 0.2 * np.abs(fp32).max()
    for trace in (b"site-packages", b".py", b"onnxruntime", b"onnx."):
        assert trace not in without_weights(quantized)


def test_same_graph_gives_same_bytes_in_silence(graph: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    assert quantize_int8(graph) == quantize_int8(graph)
    assert capfd.readouterr() == ("", "")


def test_a_matrix_of_zeros_is_refused(graph: bytes, changed: Callable[..., bytes]) -> None:
    with pytest.raises(ExportError, match=r"blocks\.0\.out is all zeros"):
        quantize_int8(changed(graph, "blocks.0.out", np.zeros_like))
