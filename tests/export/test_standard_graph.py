"""The standard graph, which other tests use as an oracle: its shape, its logits, and nothing else inside."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pytest

pytest.importorskip("torch", reason="export needs tinyedge[train]")
pytest.importorskip("onnx", reason="export needs tinyedge[train]")
pytest.importorskip("onnxscript", reason="torch's ONNX exporter needs it")

import onnx
import onnxruntime
import torch

from tests.support.standard_graph import export_standard_graph, matrix_names
from tinyedge.export.onnx_model import OPSET, check_onnx

if TYPE_CHECKING:
    from tinyedge.train.model import TinyTransformer


def compute_cached_logits(graph: bytes, tokens: list[int], past: int) -> npt.NDArray[np.float32]:
    """Feeds tokens[:past], then the rest in one call; the logits of the last."""
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    caches = session.get_inputs()[1:]
    state = [np.zeros((1, cache.shape[1], 0, cache.shape[3]), dtype=np.float32) for cache in caches]
    logits = np.empty(0, dtype=np.float32)
    for part in (tokens[:past], tokens[past:]):
        if part:
            feed = {"input_ids": np.array([part]), **{c.name: s for c, s in zip(caches, state, strict=True)}}
            logits, *state = session.run(None, feed)
    return logits


def compute_torch_logits(model: "TinyTransformer", tokens: list[int]) -> npt.NDArray[np.float32]:
    with torch.no_grad():
        logits: npt.NDArray[np.float32] = model(torch.tensor([tokens]))[:, -1].numpy()
    return logits


@pytest.mark.parametrize(
    ("past", "new"), [(0, 1), (0, 17), (0, 32), (5, 1), (1, 1), (5, 9), (31, 1), (1, 31)]
)
def test_every_split_of_past_and_new_tokens_gives_torchs_logits(
    model: "TinyTransformer", standard_graph: bytes, past: int, new: int
) -> None:
    tokens = np.random.default_rng(past).integers(1000, size=past + new).tolist()
    found, expected = compute_cached_logits(standard_graph, tokens, past), compute_torch_logits(model, tokens)
    assert found.shape == (1, 1000)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_inputs_and_outputs_are_the_contracts(standard_graph: bytes) -> None:
    parsed = onnx.load_model_from_string(standard_graph).graph
    described = [
        (tensor.name, kind.elem_type, [axis.dim_param or axis.dim_value for axis in kind.shape.dim])
        for tensor in (*parsed.input, *parsed.output)
        for kind in [tensor.type.tensor_type]
    ]
    names = [f"{layer}.{part}" for layer in (0, 1) for part in ("key", "value")]
    assert described == [
        ("input_ids", onnx.TensorProto.INT64, [1, "sequence"]),
        *((f"past_key_values.{n}", onnx.TensorProto.FLOAT, [1, 4, "past", 16]) for n in names),
        ("logits", onnx.TensorProto.FLOAT, [1, 1000]),
        *((f"present.{n}", onnx.TensorProto.FLOAT, [1, 4, "past + sequence", 16]) for n in names),
    ]


def test_graph_is_small(standard_graph: bytes) -> None:
    model = onnx.load_model_from_string(standard_graph)
    operators = [node.op_type for node in model.graph.node]
    assert len(operators) <= 55
    assert operators.count("LayerNormalization") == 4
    assert operators.count("Gelu") == 2
    assert operators.count("MatMul") == 9 + 4  # nine weight matrices, two products in each attention
    assert not {"Where", "Expand", "Cast", "Range", "ConstantOfShape", "Identity", "Gemm"} & set(operators)


def test_file_holds_nothing_but_the_graph(
    standard_graph: bytes, model: "TinyTransformer", strip_weights: Callable[[bytes], bytes]
) -> None:
    for trace in (b"torch", b".py", b"site-packages", str(Path.cwd()).encode(), b"pkg."):
        assert trace not in strip_weights(standard_graph)
    parsed = onnx.load_model_from_string(standard_graph)
    assert [(opset.domain, opset.version) for opset in parsed.opset_import] == [("", OPSET)]
    assert not parsed.metadata_props
    assert not parsed.graph.metadata_props
    assert not any(node.metadata_props or node.doc_string for node in parsed.graph.node)
    assert not any(tensor.external_data for tensor in parsed.graph.initializer)
    named = {tensor.name for tensor in parsed.graph.initializer}
    assert set(matrix_names(model.config)) <= named


def test_same_weights_give_same_bytes_in_silence(
    standard_graph: bytes, model: "TinyTransformer", capfd: pytest.CaptureFixture[str]
) -> None:
    assert export_standard_graph(model) == standard_graph
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "shape",
    [
        {"num_layers": 1, "nhead": 2, "max_seq_length": 33},
        {"num_layers": 3, "d_model": 96, "nhead": 3, "dim_feedforward": 200, "vocab_size": 1501},
        {"num_layers": 1, "d_model": 512, "nhead": 8, "dim_feedforward": 1024, "max_seq_length": 512},
        {"num_layers": 6, "nhead": 8},
    ],
)
def test_other_shapes_export_and_agree(
    shape: dict[str, int], make_model: "Callable[..., TinyTransformer]"
) -> None:
    model = make_model(**shape)
    graph = export_standard_graph(model)
    check_onnx(graph)
    tokens = np.random.default_rng(0).integers(1000, size=model.config.max_seq_length).tolist()
    expected = compute_torch_logits(model, tokens)
    np.testing.assert_allclose(
        compute_cached_logits(graph, tokens, 20), expected, atol=1e-4 * np.abs(expected).max()
    )
