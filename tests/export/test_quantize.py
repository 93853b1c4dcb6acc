"""int8: what is quantized, its error compared with fp32, and what is rejected."""

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pytest

pytest.importorskip("torch", reason="export needs tinyedge[train]")
pytest.importorskip("onnx", reason="export needs tinyedge[train]")

from tinyedge.core.errors import ExportError
from tinyedge.export.quantize import MAX_MAGNITUDE, Int8Matrix, quantize
from tinyedge.export.weights import EMBEDDING, Weights

if TYPE_CHECKING:
    from tinyedge.train.model import TinyTransformer


@pytest.fixture(scope="module")
def weights(model: "TinyTransformer") -> Weights:
    return Weights.from_model(model)


def test_every_matrix_becomes_int8_and_its_error_is_that_of_rounding(weights: Weights) -> None:
    done = quantize(weights)
    assert list(done.matrices) == list(done.relative_errors) == [EMBEDDING, *weights.matrices]
    for name, weight in {EMBEDDING: weights.embedding, **weights.matrices}.items():
        found = done.matrices[name]
        assert found.values.dtype == np.int8
        assert np.abs(found.values.astype(int)).max() <= MAX_MAGNITUDE  # -128 would overflow
        assert np.abs(found.values * found.scale - weight).max() <= 0.501 * found.scale
        expected = np.linalg.norm(found.values * found.scale - weight) / np.linalg.norm(weight)
        assert 0 < done.relative_errors[name] < 0.02
        assert done.relative_errors[name] == pytest.approx(expected)
    assert done.to_dict()["kept_fp32"] == []


def test_the_worst_is_named_and_what_is_kept_stays(weights: Weights) -> None:
    damaged = {name: weight.copy() for name, weight in weights.matrices.items()}
    damaged["blocks.1.linear2"][0, 0] = 10.0
    done = quantize(dataclasses.replace(weights, matrices=damaged))
    assert done.worst_matrix == "blocks.1.linear2"
    assert done.to_dict()["worst_relative_error"] > 5 * quantize(weights).relative_errors["blocks.1.linear2"]
    without = quantize(weights, ["output", EMBEDDING])
    assert not {"output", EMBEDDING} & {*without.matrices, *without.relative_errors}
    assert without.to_dict()["kept_fp32"] == ["output", EMBEDDING]


def test_a_matrix_of_zeros_is_refused(weights: Weights) -> None:
    zeros = {**weights.matrices, "blocks.0.out": np.zeros_like(weights.matrices["blocks.0.out"])}
    with pytest.raises(ExportError, match=r"blocks\.0\.out is all zeros"):
        quantize(dataclasses.replace(weights, matrices=zeros))


def test_the_same_matrix_gives_the_same_steps(weights: Weights) -> None:
    for make in (Int8Matrix.for_lookup, Int8Matrix.for_matmul):
        one, two = (make(weights.embedding) for _ in range(2))
        assert one.scale == two.scale
        np.testing.assert_array_equal(one.values, two.values)


@pytest.mark.parametrize("rows", [1, 2, 75, 128])
def test_no_two_neighbours_overflow_16_bits(rows: int) -> None:
    """x86 without VNNI adds the products of activations up to 255 with an even row and the next one."""
    random = np.random.default_rng(rows)
    for weight in (random.standard_t(2, (rows, 300)), random.choice([-1.0, 1.0], (rows, 300))):
        values = Int8Matrix.for_matmul(weight.astype(np.float32)).values.astype(int)
        even = np.pad(values, ((0, rows % 2), (0, 0)))
        pairs = np.stack((even[0::2], even[1::2]))
        assert 255 * pairs.clip(min=0).sum(axis=0).max() < 1 << 15
        assert 255 * pairs.clip(max=0).sum(axis=0).min() >= -(1 << 15)


def test_no_step_is_lost_without_need(weights: Weights) -> None:
    """The largest weight of a table, or sum of neighbours in a matrix, uses the complete range."""
    assert np.abs(Int8Matrix.for_lookup(weights.embedding).values.astype(int)).max() == MAX_MAGNITUDE
    values = Int8Matrix.for_matmul(weights.matrices["output"]).values.astype(int)
    largest = max(np.abs(values).max(), np.abs(values[0::2] + values[1::2]).max())
    assert MAX_MAGNITUDE - 1 <= largest <= MAX_MAGNITUDE + 1
    alternating = np.tile(np.array([[1.0], [-1.0]], np.float32), (4, 3))  # sums are 0, so all 8 bits are used
    assert np.abs(Int8Matrix.for_matmul(alternating).values).max() == MAX_MAGNITUDE
