"""Rotated heads: the same model, without outliers."""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pytest

pytest.importorskip("torch", reason="export needs tinyedge[train]")
pytest.importorskip("onnx", reason="export needs tinyedge[train]")

from tinyedge.export.fused_graph import build_fused_graph
from tinyedge.export.head_rotation import compute_dct_matrix, rotate_heads
from tinyedge.export.quantize import quantize
from tinyedge.export.weights import Weights
from tinyedge.runtime.bundle_model import BundleModel
from tinyedge.runtime.session import OnnxRuntimeSession
from tinyedge.train.methods.init_local_heads import init_local_heads

if TYPE_CHECKING:
    from tinyedge.train.model import TinyTransformer


@pytest.mark.parametrize("size", [1, 5, 12, 32, 64])
def test_the_transform_is_a_flat_rotation(size: int) -> None:
    matrix = compute_dct_matrix(size)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(size), atol=1e-12)
    assert np.abs(matrix).max() <= np.sqrt(2 / size) + 1e-12


@pytest.mark.parametrize("shape", [{}, {"d_model": 66, "nhead": 6}, {"d_model": 65, "nhead": 5}])
def test_rotated_heads_are_the_same_model(
    make_model: "Callable[..., TinyTransformer]", shape: dict[str, int]
) -> None:
    """Also widths that are no multiple of eight, which the cache pads with zeros."""
    model = make_model(**shape)
    weights = Weights.from_model(model)
    tokens = np.arange(5, 35, dtype=np.uint16)
    before, after = (
        np.stack([*BundleModel(OnnxRuntimeSession(build_fused_graph(w, {}), model.config)).logits(tokens, 0)])
        for w in (weights, rotate_heads(weights))
    )
    np.testing.assert_allclose(after, before, atol=1e-5 * np.abs(before).max())
    width = model.config.head_width
    heads = rotate_heads(weights).matrices["blocks.0.qkv"].reshape(-1, width)
    assert not heads[:, model.config.head_dim :].any()


def test_heads_that_look_back_lose_less(make_model: "Callable[..., TinyTransformer]") -> None:
    model = make_model(d_model=128, nhead=4)
    init_local_heads(model, 3)
    weights = Weights.from_model(model)
    plain, better = quantize(weights), quantize(rotate_heads(weights))
    assert plain.worst_matrix == "blocks.0.qkv"
    assert better.relative_errors["blocks.0.qkv"] < 0.6 * plain.relative_errors["blocks.0.qkv"]
    assert better.relative_errors["blocks.0.out"] < 1.5 * plain.relative_errors["blocks.0.out"]


def test_values_of_nothing_stay_nothing(make_model: "Callable[..., TinyTransformer]") -> None:
    weights = Weights.from_model(make_model())
    qkv = weights.matrices["blocks.0.qkv"].copy()
    qkv[:, 2 * qkv.shape[1] // 3 :] = 0
    done = rotate_heads(dataclasses.replace(weights, matrices={**weights.matrices, "blocks.0.qkv": qkv}))
    assert all(np.isfinite(matrix).all() for matrix in done.matrices.values())
