"""The arithmetic of a decoder step in numpy: slow, and exact to the last bit.

In: arrays. Out: the numbers that the native kernels must give, bit for bit. Knows no model and no extension.
numpy has no fused multiply-add, so `fma` builds one from float64: the product of two float32 values is exact
there, TwoSum gives the rounding error of the addition, and rounding to odd keeps the second rounding, to
float32, correct (Boldo and Melquiond, "Emulation of FMA and correctly rounded sums", 2008).
Shapes: T token rows, K inputs, N outputs, H heads, W head width, P positions.
"""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float32]
Int8: TypeAlias = npt.NDArray[np.int8]
Int32: TypeAlias = npt.NDArray[np.int32]

LANES = 4
EPSILON = np.float32(1e-5)  # torch.nn.LayerNorm's default
ONE, HALF = np.float32(1), np.float32(0.5)
INV_SQRT2 = np.float32(0.7071067811865476)


class NotFiniteError(Exception):
    """A step met NaN or infinity."""


def fma(a: npt.ArrayLike, b: npt.ArrayLike, c: npt.ArrayLike) -> Floats:
    """Compute a * b + c of float32 values with one rounding; the arguments broadcast."""
    product = np.multiply(a, b, dtype=np.float64)
    addend = np.asarray(c, dtype=np.float64)
    total = np.asarray(product + addend)
    part = total - product
    error = (product - (total - part)) + (addend - part)
    bits = total.view(np.int64)
    to_odd = np.isfinite(total) & (error != 0) & (bits & 1 == 0)
    outwards = (error > 0) == (total > 0)  # the exact value has the larger magnitude
    odd = np.where(to_odd, bits + np.where(outwards, 1, -1), bits).view(np.float64)
    return odd.astype(np.float32)


def sum4(lanes: Floats) -> Floats:
    """Add the last axis, four lanes, as (0 + 1) + (2 + 3)."""
    total: Floats = (lanes[..., 0] + lanes[..., 1]) + (lanes[..., 2] + lanes[..., 3])
    return total


def into_lanes(rows: Floats) -> Floats:
    """Cut (..., K) into (..., K / 4, 4); missing values are 0."""
    missing = -rows.shape[-1] % LANES
    padded = np.pad(rows, [(0, 0)] * (rows.ndim - 1) + [(0, missing)])
    return padded.reshape(*rows.shape[:-1], -1, LANES)


def quantize_rows(x: Floats) -> tuple[Int32, Floats]:
    """Quantize each row of (T, K) to 8 bits, as DynamicQuantizeLinear does.

    Returns:
        Values minus their row's zero point, (T, K), and scales (T, 1).

    Raises:
        NotFiniteError: A value is NaN or infinite, or the range of a row is.
    """
    low = np.minimum(x.min(axis=1, keepdims=True), np.float32(0))
    high = np.maximum(x.max(axis=1, keepdims=True), np.float32(0))
    span = high - low
    if not np.isfinite(span).all():
        raise NotFiniteError
    scale = np.where(span == 0, ONE, span / np.float32(255))
    zero = np.rint(np.clip(np.float32(0) - low / scale, np.float32(0), np.float32(255)))
    quantized = np.clip(np.rint(x / scale) + zero, np.float32(0), np.float32(255))
    return (quantized - zero).astype(np.int32), scale


def multiply_int8(x: Floats, weights: Int8, scale: np.float32) -> Floats:
    """Multiply (T, K) by int8 weights (K, N): exact integer sums, then two roundings."""
    quantized, row_scale = quantize_rows(x)
    sums = quantized.astype(np.float64) @ weights.astype(np.float64)  # integers below 2^53: exact
    return sums.astype(np.float32) * (row_scale * scale)


def multiply_fp32(x: Floats, weights: Floats) -> Floats:
    """Multiply (T, K) by (K, N): each output is a chain of fused multiply-adds from 0, in the order of K."""
    total = np.zeros((len(x), weights.shape[1]), dtype=np.float32)
    for k in range(len(weights)):
        total = fma(x[:, k : k + 1], weights[k], total)
    return total


def add_and_norm(x: Floats, y: Floats, scale: Floats, bias: Floats) -> Floats:
    """Add two (T, K) and normalize each row; sums run over four lanes."""
    added = x + y
    width = np.float32(added.shape[1])
    mean = sum4(_add_in_order(into_lanes(added))) / width
    centred = added - mean[:, None]
    squares = np.zeros((len(x), LANES), dtype=np.float32)
    for step in np.moveaxis(into_lanes(centred), 1, 0):
        squares = fma(step, step, squares)
    factor = ONE / np.sqrt(sum4(squares) / width + EPSILON)
    return fma(centred * factor[:, None], scale, bias)


def _add_in_order(lanes: Floats) -> Floats:
    """Add (T, steps, 4) over the steps, one after the other."""
    total = np.zeros((len(lanes), LANES), dtype=np.float32)
    for step in np.moveaxis(lanes, 1, 0):
        total = total + step
    return total


def attend(queries: Floats, keys: Floats, values: Floats, scale: np.float32) -> Floats:
    """Compute causal attention of the last T positions.

    Args:
        queries: (T, H, W), of the positions P - T to P - 1.
        keys: (P, H, W).
        values: (P, H, W).
        scale: Factor of the scores.

    Returns:
        (T, H, W).
    """
    tokens, positions = len(queries), len(keys)
    first_row = [max(0, position - (positions - tokens)) for position in range(positions)]  # that sees it
    scores = np.full((*queries.shape[:2], positions), -np.inf, dtype=np.float32)
    for position, row in enumerate(first_row):
        lanes = np.zeros((tokens - row, queries.shape[1], LANES), dtype=np.float32)
        for at in range(0, queries.shape[2], LANES):
            step = slice(at, at + LANES)
            lanes = fma(queries[row:, :, step], keys[position, :, step], lanes)
        scores[row:, :, position] = scale * sum4(lanes)
    weights = exp(scores - scores.max(axis=2, keepdims=True))
    sums = np.zeros((*queries.shape[:2], LANES), dtype=np.float32)
    mixed = np.zeros_like(queries)
    for position, row in enumerate(first_row):
        sums[row:, :, position % LANES] += weights[row:, :, position]
        mixed[row:] = fma(weights[row:, :, position, None], values[position], mixed[row:])
    return mixed * (ONE / sum4(sums))[:, :, None]


LOG2E = np.float32(1.4426950408889634)
LN2_HIGH, LN2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)
# Minimax polynomial of (exp(r) - 1 - r) / r^2 for |r| <= ln(2) / 2: Cephes, expf.
EXP_FACTORS = tuple(
    np.float32(factor)
    for factor in (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 0.5)
)
EXP_LOWEST = np.float32(-87.0)


def exp(x: Floats) -> Floats:
    """Compute e^x for x <= 0; a NaN stays one."""
    clamped = np.maximum(x, EXP_LOWEST)
    power = np.rint(clamped * LOG2E)
    rest = fma(-power, LN2_LOW, fma(-power, LN2_HIGH, clamped))
    total = np.full_like(rest, EXP_FACTORS[0])
    for factor in EXP_FACTORS[1:]:
        total = fma(total, rest, factor)
    total = fma(total, rest * rest, rest) + ONE
    result: Floats = np.ldexp(total, np.nan_to_num(power).astype(np.int32))
    return result


# Abramowitz and Stegun, 7.1.26: |error| < 1.5e-7.
ERF_P = np.float32(0.3275911)
ERF_FACTORS = tuple(
    np.float32(factor) for factor in (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592)
)


def gelu(x: Floats) -> Floats:
    """Compute 0.5 * x * (1 + erf(x / sqrt(2)))."""
    scaled = x * INV_SQRT2
    magnitude = np.abs(scaled)
    t = ONE / fma(ERF_P, magnitude, ONE)
    total = np.full_like(t, ERF_FACTORS[0])
    for factor in ERF_FACTORS[1:]:
        total = fma(total, t, factor)
    erf = np.copysign(ONE - total * t * exp(-magnitude * magnitude), scaled)
    result: Floats = HALF * x * (ONE + erf)
    return result
