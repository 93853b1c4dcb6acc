"""Parity: the right graph passes, and any wrong one doesn't."""

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
from tinyedge.runtime.session import Session
from tinyedge.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from tinyedge.train.model import TinyTransformer


def bumped(*index: int) -> Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]:
    def bump(value: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        value[index] += 0.5
        return value

    return bump


def standard(model: "TinyTransformer", graph: bytes | None = None) -> IncrementalDecoder:
    pytest.importorskip("onnxscript", reason="torch's ONNX exporter needs it")
    from tests.support.standard_graph import StandardDecoder, export_standard_graph

    return StandardDecoder(graph or export_standard_graph(model), model.config)


def fused(model: "TinyTransformer", graph: bytes | None = None) -> IncrementalDecoder:
    return Session(graph or build_fused_graph(Weights.from_model(model), {}), model.config).decoder()


def portable(model: "TinyTransformer") -> IncrementalDecoder:
    return PortableDecoder(build_portable_graph(convert_to_opt(model), model.config), model.config)


def parity_of(model: "TinyTransformer", decoder: IncrementalDecoder) -> Parity:
    return check_parity(model, decoder, "the graph")


@pytest.fixture(params=[standard, fused])
def decodes(request: pytest.FixtureRequest) -> "Callable[..., IncrementalDecoder]":
    return request.param  # type: ignore[no-any-return]


def test_exported_graphs_are_the_model(
    model: "TinyTransformer", decodes: "Callable[..., IncrementalDecoder]"
) -> None:
    parity = parity_of(model, decodes(model))
    assert parity.prompts >= 40
    assert parity.tokens_compared == parity.prompts * GREEDY_TOKENS
    assert 0 < parity.max_abs_logit_difference < 1e-4
    assert parity.to_dict()["greedy_tokens_equal"] is True


def test_all_four_are_one_model(model: "TinyTransformer") -> None:
    """torch, the graph of torch's own exporter, the fused graph and the portable one, on one text."""
    tokens = np.random.default_rng(3).integers(model.config.vocab_size, size=12).tolist()
    decoders = [make(model) for make in (standard, fused, portable)]
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
    plain = parity_of(wide, fused(wide))
    real = check_parity(wide, fused(wide), "the graph", Tokenizer(byte_fallback_model))
    assert real.prompts > plain.prompts
    assert real.positions > plain.positions


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("blocks.0.linear1", bumped(3, 5)),
        ("blocks.1.qkv", bumped(0, 0)),
        ("output", bumped(0, 999)),
        ("position_embedding", bumped(31, 0)),  # shows in a full context only
        ("mask", lambda value: np.zeros_like(value)),  # shows in a prefill only; the standard graph has one
    ],
)
def test_a_wrong_constant_is_found(
    model: "TinyTransformer",
    request: pytest.FixtureRequest,
    changed: Callable[..., bytes],
    decodes: "Callable[..., IncrementalDecoder]",
    name: str,
    change: Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]],
) -> None:
    if decodes is standard:
        graph = request.getfixturevalue("standard_graph")
        wrong = changed(graph, "position_embedding.weight" if name == "position_embedding" else name, change)
    elif name == "mask":
        pytest.skip("the fused graph has no mask")
    else:
        wrong = changed(build_fused_graph(Weights.from_model(model), {}), name, change)
    with pytest.raises(ExportError, match="a logit differs by"):
        parity_of(model, decodes(model, wrong))


def test_a_tie_is_counted_and_not_refused(model: "TinyTransformer") -> None:
    tied = copy.deepcopy(model)
    with torch.no_grad():
        tied.output.weight[1::2] = tied.output.weight[::2]  # each logit twice
        other = copy.deepcopy(tied)
        other.output.weight[1::2] *= 1 + 1e-6  # which of two is larger now differs
    parity = parity_of(tied, fused(other))
    assert parity.ties > 0
    assert parity.max_abs_logit_difference < 1e-3
