"""The device's graph: few nodes, torch's logits for all shapes in the ranges, and nothing else inside."""

import dataclasses
import random
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pytest

pytest.importorskip("torch", reason="export needs tinyedge[train]")
pytest.importorskip("onnx", reason="export needs tinyedge[train]")

import onnx
import torch

from tinyedge.bundle.onnx_scan import check_graph
from tinyedge.core.config import MODEL_RANGES, PRESETS
from tinyedge.export.fused_graph import build_fused_graph
from tinyedge.export.quantize import quantize
from tinyedge.export.weights import Weights
from tinyedge.runtime.session import OnnxRuntimeSession

if TYPE_CHECKING:
    from tinyedge.train.model import TinyTransformer


def sample_shapes(count: int) -> list[dict[str, int]]:
    """Random shapes in the ranges; a width is a multiple of its heads, but not always of eight."""
    draw = random.Random(0)
    shapes = []
    for _ in range(count):
        shape = {name: draw.randint(low, high) for name, (low, high) in MODEL_RANGES.items()}
        shape["vocab_size"] = draw.randint(1000, 3000)  # the range goes to 32,000, which only takes time
        low, high = MODEL_RANGES["d_model"]
        shape["d_model"] = (
            draw.randrange(-(-low // shape["nhead"]), high // shape["nhead"] + 1) * shape["nhead"]
        )
        shapes.append(shape)
    return shapes


EDGES = [{name: edge[end] for name, edge in MODEL_RANGES.items()} | {"vocab_size": 1000} for end in (0, 1)]
SHAPES = [*EDGES, *sample_shapes(10)]


def compute_torch_logits(model: "TinyTransformer", tokens: list[int]) -> npt.NDArray[np.float32]:
    with torch.no_grad():
        logits: npt.NDArray[np.float32] = model(torch.tensor([tokens]))[0].numpy()
    return logits


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "-".join(map(str, shape.values())))
def test_any_shape_of_the_ranges_runs_and_is_the_model(
    make_model: "Callable[..., TinyTransformer]", shape: dict[str, int]
) -> None:
    model = make_model(**shape)
    weights = Weights.from_model(model)
    tokens = np.random.default_rng(1).integers(shape["vocab_size"], size=min(40, shape["max_seq_length"]))
    expected = compute_torch_logits(model, tokens.tolist())
    allowed = 1e-4 * max(1.0, float(np.abs(expected).max()))
    graph = build_fused_graph(weights, {})
    check_graph(graph, Path("fused.onnx"))
    decoder = OnnxRuntimeSession(graph, model.config).decoder()
    np.testing.assert_allclose(decoder.prefill(tokens[:7].tolist()), expected[6], rtol=0, atol=allowed)
    for place, token in enumerate(tokens[7:].tolist(), 7):
        np.testing.assert_allclose(decoder.step(token), expected[place], rtol=0, atol=allowed)
    int8 = OnnxRuntimeSession(build_fused_graph(weights, quantize(weights).matrices), model.config).decoder()
    worst = np.abs(int8.prefill(tokens[:7].tolist()) - expected[6]).max()
    assert 0 < worst < 0.25 * np.abs(expected).max()


def test_presets_are_among_what_runs() -> None:
    for preset in PRESETS.values():
        for name, value in dataclasses.asdict(preset).items():
            low, high = MODEL_RANGES[name]
            assert low <= value <= high


def test_nodes_are_as_few_as_they_can_be(model: "TinyTransformer") -> None:
    weights = Weights.from_model(model)
    model_file = onnx.load_model_from_string(build_fused_graph(weights, quantize(weights).matrices))
    assert model_file.ir_version == 9  # ONNX Runtime 1.17 refuses a newer one
    parsed = model_file.graph
    kinds = [node.op_type for node in parsed.node]
    layers = model.config.num_layers
    # two lookups, one of int8 rows, their sum; eight a block; two to leave the last token; logits, candidates
    assert len(kinds) == 4 + 8 * layers + 2 + 2
    assert kinds.count("DynamicQuantizeMatMul") == 4 * layers + 1
    assert kinds.count("GroupQueryAttention") == layers
    assert {tensor.data_type for tensor in parsed.initializer if len(tensor.dims) == 2} == {
        onnx.TensorProto.INT8,
        onnx.TensorProto.FLOAT,  # the positions
    }


def test_a_narrow_head_is_widened_with_zeros(make_model: "Callable[..., TinyTransformer]") -> None:
    model = make_model(d_model=100, nhead=4)
    weights = Weights.from_model(model)
    assert model.config.head_width == 32
    assert weights.matrices["blocks.0.qkv"].shape == (100, 3 * 4 * 32)
    assert weights.matrices["blocks.0.out"].shape == (4 * 32, 100)
    heads = weights.matrices["blocks.0.qkv"].reshape(100, 12, 32)
    assert not heads[:, :, 25:].any()
    assert heads[:, :, :25].all()


def test_same_weights_give_the_same_bytes_and_no_traces(
    model: "TinyTransformer", strip_weights: Callable[[bytes], bytes], capfd: pytest.CaptureFixture[str]
) -> None:
    weights = Weights.from_model(model)
    graph = build_fused_graph(weights, quantize(weights).matrices)
    assert graph == build_fused_graph(weights, quantize(weights).matrices)
    assert len(graph) < 0.32 * len(build_fused_graph(weights, {}))
    for trace in (b"site-packages", b".py", b"torch", b"/home"):
        assert trace not in strip_weights(graph)
    assert capfd.readouterr() == ("", "")
