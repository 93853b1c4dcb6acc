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

from tinyedge.errors import ExportError
from tinyedge.export.onnx import export_onnx
from tinyedge.export.parity import GREEDY_TOKENS, TOLERANCE, check_parity
from tinyedge.tokenizer import Tokenizer

if TYPE_CHECKING:
    from tinyedge.train.model import TinyTransformer


def bumped(*index: int) -> Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]:
    def bump(value: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        value[index] += 0.5
        return value

    return bump


def test_exported_graph_is_the_model(model: "TinyTransformer", graph: bytes) -> None:
    parity = check_parity(model, graph)
    assert parity.prompts >= 12
    assert parity.tokens_compared == parity.prompts * GREEDY_TOKENS
    assert 0 < parity.max_abs_logit_difference < 1e-4
    assert parity.to_dict()["greedy_tokens_equal"] is True


def test_a_tokenizer_adds_real_prompts(
    make_model: "Callable[..., TinyTransformer]", byte_fallback_model: bytes
) -> None:
    wide = make_model(vocab_size=1100, num_layers=1)
    graph = export_onnx(wide)
    plain, real = check_parity(wide, graph), check_parity(wide, graph, Tokenizer(byte_fallback_model))
    assert real.prompts > plain.prompts
    assert real.positions > plain.positions


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("blocks.0.linear1", bumped(3, 5)),
        ("blocks.1.qkv", bumped(0, 0)),
        ("output", bumped(0, 999)),
        ("position_embedding.weight", bumped(31, 0)),  # shows in a full context only
        ("mask", lambda value: np.zeros_like(value)),  # shows in a prefill only
    ],
)
def test_a_wrong_constant_is_found(
    model: "TinyTransformer",
    graph: bytes,
    changed: Callable[..., bytes],
    name: str,
    change: Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]],
) -> None:
    with pytest.raises(ExportError, match="a logit differs by"):
        check_parity(model, changed(graph, name, change))


def test_a_tie_is_counted_and_not_refused(model: "TinyTransformer") -> None:
    tied = copy.deepcopy(model)
    with torch.no_grad():
        tied.output.weight[1::2] = tied.output.weight[::2]  # each logit twice
        other = copy.deepcopy(tied)
        other.output.weight[1::2] *= 1 + 1e-6  # which of two is larger now differs
    parity = check_parity(tied, export_onnx(other))
    assert parity.ties > 0
    assert parity.max_abs_logit_difference < TOLERANCE
