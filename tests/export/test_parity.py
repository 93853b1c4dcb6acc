"""Parity: the exported graphs pass, and a graph with a wrong constant does not."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pytest

pytest.importorskip("torch", reason="export needs tinyedge[train]")
pytest.importorskip("onnx", reason="export needs tinyedge[train]")

import copy

import torch

from tinyedge.core.errors import ExportError
from tinyedge.export.fused_graph import build_fused_graph
from tinyedge.export.parity import GREEDY_TOKENS, TOLERANCE, IncrementalDecoder, Parity, check_parity
from tinyedge.export.portable.decoder import PortableDecoder
from tinyedge.export.portable.graph import build_portable_graph
from tinyedge.export.portable.opt_layout import convert_to_opt
from tinyedge.export.weights import Weights
from tinyedge.runtime.session import OnnxRuntimeSession
from tinyedge.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from tinyedge.train.model import TinyTransformer


def make_bump(*index: int) -> Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]:
    def bump(value: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        value[index] += 0.5
        return value

    return bump


def make_standard_decoder(model: "TinyTransformer", graph: bytes | None = None) -> IncrementalDecoder:
    pytest.importorskip("onnxscript", reason="torch's ONNX exporter needs it")
    from tests.support.standard_graph import StandardDecoder, export_standard_graph

    return StandardDecoder(graph or export_standard_graph(model), model.config)


def make_fused_decoder(model: "TinyTransformer", graph: bytes | None = None) -> IncrementalDecoder:
    graph = graph or build_fused_graph(Weights.from_model(model), {})
    return OnnxRuntimeSession(graph, model.config).decoder()


def make_portable_decoder(model: "TinyTransformer") -> IncrementalDecoder:
    return PortableDecoder(build_portable_graph(convert_to_opt(model), model.config), model.config)


def measure_parity(model: "TinyTransformer", decoder: IncrementalDecoder) -> Parity:
    return check_parity(model, decoder, "the graph")


@pytest.fixture(params=[make_standard_decoder, make_fused_decoder])
def make_decoder(request: pytest.FixtureRequest) -> "Callable[..., IncrementalDecoder]":
    return request.param  # type: ignore[no-any-return]


def test_exported_graphs_are_the_model(
    model: "TinyTransformer", make_decoder: "Callable[..., IncrementalDecoder]"
) -> None:
    parity = measure_parity(model, make_decoder(model))
    assert parity.prompts >= 40
    assert parity.tokens_compared == parity.prompts * GREEDY_TOKENS
    assert 0 < parity.max_abs_logit_difference < 1e-4
    assert parity.to_dict()["greedy_tokens_equal"] is True


def test_torch_and_the_three_graphs_are_the_same_model(model: "TinyTransformer") -> None:
    """The graph of torch's exporter, the fused and the portable graph give torch's logits and tokens."""
    tokens = np.random.default_rng(3).integers(model.config.vocab_size, size=12).tolist()
    decoders = [make(model) for make in (make_standard_decoder, make_fused_decoder, make_portable_decoder)]
    logits = [decoder.prefill(tokens[:7]) for decoder in decoders]
    for end in range(7, model.config.max_seq_length):
        with torch.no_grad():
            expected = model(torch.tensor([tokens[:end]]))[0, -1].numpy()
        allowed = TOLERANCE * max(1.0, float(np.abs(expected).max()))
        for found in logits:
            np.testing.assert_allclose(found, expected, rtol=0, atol=allowed)
        assert len({int(each.argmax()) for each in (expected, *logits)}) == 1
        if end == len(tokens):
            tokens.append(int(expected.argmax()))
        logits = [decoder.step(tokens[end]) for decoder in decoders]


def test_a_tokenizer_adds_real_prompts(
    make_model: "Callable[..., TinyTransformer]", byte_fallback_model: bytes
) -> None:
    wide = make_model(vocab_size=1100, num_layers=1)
    plain = measure_parity(wide, make_fused_decoder(wide))
    real = check_parity(wide, make_fused_decoder(wide), "the graph", Tokenizer(byte_fallback_model))
    assert real.prompts > plain.prompts
    assert real.positions > plain.positions


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("blocks.0.linear1", make_bump(3, 5)),
        ("blocks.1.qkv", make_bump(0, 0)),
        ("output", make_bump(0, 999)),
        ("position_embedding", make_bump(31, 0)),  # visible in a full context only
        (
            "mask",
            lambda value: np.zeros_like(value),
        ),  # visible in a prefill only; only the standard graph has a mask
    ],
)
def test_a_wrong_constant_is_found(
    model: "TinyTransformer",
    request: pytest.FixtureRequest,
    change_constant: Callable[..., bytes],
    make_decoder: "Callable[..., IncrementalDecoder]",
    name: str,
    change: Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]],
) -> None:
    if make_decoder is make_standard_decoder:
        graph = request.getfixturevalue("standard_graph")
        wrong = change_constant(
            graph, "position_embedding.weight" if name == "position_embedding" else name, change
        )
    elif name == "mask":
        pytest.skip("the fused graph has no mask")
    else:
        wrong = change_constant(build_fused_graph(Weights.from_model(model), {}), name, change)
    with pytest.raises(ExportError, match="a logit differs by"):
        measure_parity(model, make_decoder(model, wrong))


def test_a_tie_is_counted_and_not_refused(model: "TinyTransformer") -> None:
    tied = copy.deepcopy(model)
    with torch.no_grad():
        tied.output.weight[1::2] = tied.output.weight[::2]  # each logit twice
        other = copy.deepcopy(tied)
        other.output.weight[1::2] *= 1 + 1e-6  # which of two is larger now differs
    parity = measure_parity(tied, make_fused_decoder(other))
    assert parity.ties > 0
    assert parity.max_abs_logit_difference < 1e-3
