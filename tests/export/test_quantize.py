"""int8: what becomes int8, how far from fp32, and what is refused."""

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pytest

pytest.importorskip("torch", reason="export needs tinyedge[train]")
pytest.importorskip("onnx", reason="export needs tinyedge[train]")

from tinyedge.errors import ExportError
from tinyedge.export.quantize import LARGEST, Int8, quantize
from tinyedge.export.weights import EMBEDDING, Weights

if TYPE_CHECKING:
    from tinyedge.train.model import TinyTransformer


@pytest.fixture(scope="module")
def weights(model: "TinyTransformer") -> Weights:
    return Weights.of(model)


def test_every_matrix_becomes_int8_and_its_error_is_that_of_rounding(weights: Weights) -> None:
    done = quantize(weights)
    assert list(done.matrices) == list(done.errors) == [EMBEDDING, *weights.matrices]
    for name, weight in {EMBEDDING: weights.embedding, **weights.matrices}.items():
        found = done.matrices[name]
        assert found.values.dtype == np.int8
        assert np.abs(found.values.astype(int)).max() == LARGEST  # -128 would overflow the device's sums
        assert np.abs(found.values * found.scale - weight).max() <= 0.501 * found.scale
        expected = np.linalg.norm(found.values * found.scale - weight) / np.linalg.norm(weight)
        assert 0 < done.errors[name] < 0.02
        assert done.errors[name] == pytest.approx(expected)
    assert done.to_dict()["kept_fp32"] == []


def test_the_worst_is_named_and_what_is_kept_stays(weights: Weights) -> None:
    spoiled = {name: weight.copy() for name, weight in weights.matrices.items()}
    spoiled["blocks.1.linear2"][0, 0] = 10.0
    done = quantize(dataclasses.replace(weights, matrices=spoiled))
    assert done.worst == "blocks.1.linear2"
    assert done.to_dict()["worst_relative_error"] > 5 * quantize(weights).errors["blocks.1.linear2"]
    without = quantize(weights, ["output", EMBEDDING])
    assert not {"output", EMBEDDING} & {*without.matrices, *without.errors}
    assert without.to_dict()["kept_fp32"] == ["output", EMBEDDING]


def test_a_matrix_of_zeros_is_refused(weights: Weights) -> None:
    zeros = {**weights.matrices, "blocks.0.out": np.zeros_like(weights.matrices["blocks.0.out"])}
    with pytest.raises(ExportError, match=r"blocks\.0\.out is all zeros"):
        quantize(dataclasses.replace(weights, matrices=zeros))


def test_the_same_matrix_gives_the_same_steps(weights: Weights) -> None:
    one, two = (Int8.of(weights.embedding) for _ in range(2))
    assert one.scale == two.scale
    np.testing.assert_array_equal(one.values, two.values)
