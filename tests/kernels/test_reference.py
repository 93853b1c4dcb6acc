"""The reference is itself compared with exact fractions, with libm, and with ONNX Runtime."""

import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kernels import reference
from tests.kernels.models import make_random, read_bundle
from tests.kernels.reference_model import Model
from tinyedge.bundle.bundle import load_bundle
from tinyedge.runtime.session import OnnxRuntimeSession

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
LARGEST = float(np.finfo(np.float32).max)


def round_to_float32(exact: Fraction) -> float:
    """Round to the nearest float32; of two, to the one whose last bit is 0."""
    if abs(exact) >= Fraction(LARGEST):
        return math.nan  # not compared
    near = np.float32(float(exact))  # within one step, in spite of two roundings
    around = (np.nextafter(near, np.float32(-np.inf)), near, np.nextafter(near, np.float32(np.inf)))
    finite = [value for value in around if np.isfinite(value)]
    return float(
        min(finite, key=lambda value: (abs(Fraction(float(value)) - exact), value.view(np.int32) & 1))
    )


@given(FLOATS, FLOATS, FLOATS)
def test_fma_rounds_once(a: float, b: float, c: float) -> None:
    expected = round_to_float32(Fraction(a) * Fraction(b) + Fraction(c))
    if math.isfinite(expected):
        assert float(reference.fma(np.float32(a), np.float32(b), np.float32(c))) == expected


def test_fma_rounds_once_where_float64_would_round_twice() -> None:
    # 1 + 2^-23 + 2^-24 lies between two float32 values; the last term says which one is nearer.
    a, c = np.float32(1 + 2**-23), np.float32(2**-24)
    for tiny in (2**-40, -(2**-40)):
        b = np.float32(1)
        exact = Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c))
        assert float(reference.fma(a, b, c)) == round_to_float32(exact)
        product = reference.fma(np.float32(2**-30), np.float32(tiny * 2**30), a)
        assert float(product) == round_to_float32(Fraction(float(a)) + Fraction(tiny))


def test_exp_is_near_libm() -> None:
    x = np.linspace(-87, 0, 100_001, dtype=np.float32)
    exact = np.exp(x.astype(np.float64))
    assert np.abs(reference.exp(x) / exact - 1).max() < 2**-21


def test_exp_of_doubles_is_near_libm() -> None:
    x = np.linspace(-706.9, 0, 100_001)
    assert np.abs(reference.exp_double(x) / np.exp(x) - 1).max() < 2**-51
    assert reference.exp_double(np.array([0.0, -707.0, -1e308, -np.inf])).tolist() == [1, 0, 0, 0]


def test_log_of_doubles_is_near_libm() -> None:
    for x in (1.0, 1 + 2**-52, *np.geomspace(1.1, 1e5, 1001).tolist()):
        assert reference.log_double(x) == pytest.approx(math.log(x), rel=2**-51, abs=2**-51)


def test_gelu_is_near_libm() -> None:
    x = np.linspace(-12, 12, 20_001, dtype=np.float32)
    exact = np.array([0.5 * v * (1 + math.erf(v / math.sqrt(2))) for v in x.astype(np.float64)])
    assert np.abs(reference.gelu(x) - exact).max() < 1e-6


def test_fp32_logits_are_near_those_of_onnxruntime(micro_bundle_fp32: Path) -> None:
    weights, bundle = read_bundle(micro_bundle_fp32), load_bundle(micro_bundle_fp32)
    tokens = [7, 300, 5, 999, 41, 8]
    expected = OnnxRuntimeSession(bundle.model, bundle.config).decoder().prefill(tokens)
    model = Model("", weights.config, weights.attention_scale, weights.tensors)
    found = np.frombuffer(model.decoder().logits(tokens, 0), np.float32)
    assert np.abs(found - expected).max() < 1e-4


@pytest.mark.parametrize("precision", ["int8", "fp32", "mixed"])
def test_a_prompt_at_once_equals_token_by_token(precision: str) -> None:
    weights = make_random((40, 21, 3, 8, 2, 17, 9), precision, seed=1)
    model = Model("", weights.config, weights.attention_scale, weights.tensors)
    at_once, one_by_one = model.decoder(), model.decoder()
    for start, token in enumerate([3, 39, 0, 0, 11, 5, 20, 1, 2]):
        logits = one_by_one.logits([token], start)
    assert at_once.logits([3, 39, 0, 0, 11, 5, 20, 1, 2], 0) == logits
