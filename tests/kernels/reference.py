"""The arithmetic of a decoder step in numpy: slow, and exact to the last bit.

In: arrays. Out: the numbers that the native kernels must give, bit for bit. Knows no model and no extension.
numpy has no fused multiply-add, so `fma` builds one from float64: the product of two float32 values is exact
there, TwoSum gives the rounding error of the addition, and rounding to odd keeps the second rounding, to
float32, correct (Boldo and Melquiond, "Emulation of FMA and correctly rounded sums", 2008).
Shapes: T token rows, K inputs, N outputs, H heads, W head width, P positions.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float32]
Doubles: TypeAlias = npt.NDArray[np.float64]
Int8: TypeAlias = npt.NDArray[np.int8]
Int32: TypeAlias = npt.NDArray[np.int32]

LANES = 4
EPSILON = np.float32(1e-5)  # torch.nn.LayerNorm's default
ONE, HALF = np.float32(1), np.float32(0.5)


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
    scale = (high - low) / np.float32(255)
    if not np.isfinite(scale).all():
        raise NotFiniteError("a row that is to be quantized has NaN, infinity, or too large a range")
    scale = np.where(scale == 0, ONE, scale)  # all zeros, or too close to them
    zero = np.rint(np.minimum(np.float32(0) - low / scale, np.float32(255)))
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
    variance = sum4(squares) / width
    factor = np.where(np.isinf(variance), np.float32(np.nan), ONE / np.sqrt(variance + EPSILON))
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
    below = scores - scores.max(axis=2, keepdims=True)
    weights = exp(below)
    sums = np.zeros((*queries.shape[:2], LANES), dtype=np.float32)
    mixed = np.zeros_like(queries)
    for position, row in enumerate(first_row):
        sums[row:, :, position % LANES] += weights[row:, :, position]
        mixed[row:] = fma(weights[row:, :, position, None], values[position], mixed[row:])
    seen = np.arange(positions) <= np.arange(positions - tokens, positions)[:, None]
    overflowed = (np.isinf(below) & seen[:, None, :]).any(axis=2)
    return mixed * np.where(overflowed, np.float32(np.nan), ONE / sum4(sums))[:, :, None]


ROUNDING = np.float32(1.5 * 2**23 + 127)  # the integer in the low bits of a sum with it is an exponent
LOG2E, LN2 = np.float32(1.44269504), np.float32(0.693147181)
EXP_LOWEST = np.float32(-87)
# p in e^r = 1 + r + r^2 p(r), |r| <= ln(2) / 2; constant first. From lanes.h, which says how it was fitted.
EXP_FACTORS = [np.float32(v) for v in (0.499992311, 0.166671142, 0.0418901145, 0.00831252523)]


def exp(x: Floats) -> Floats:
    """Compute e^x for x <= 0, at least e^-87; a NaN stays one."""
    clamped = np.maximum(x, EXP_LOWEST)
    shifted = fma(clamped, LOG2E, ROUNDING)
    rest = fma(shifted - ROUNDING, -LN2, clamped)
    square = rest * rest
    low, high = fma(rest, EXP_FACTORS[1], EXP_FACTORS[0]), fma(rest, EXP_FACTORS[3], EXP_FACTORS[2])
    power = (shifted.view(np.int32) << 23).view(np.float32)
    result: Floats = fma(fma(high, square, low), square, rest + ONE) * power
    return result


DOUBLE_ROUNDING = 1.5 * 2.0**52  # a sum with it has no fraction
DOUBLE_LOG2E = 1.4426950408889634
LN2_HIGH, LN2_LOW = float.fromhex("0x1.62e42fefp-1"), float.fromhex("0x1.473de6af278edp-34")
EXP_DOUBLE_LOWEST = -707.0
EXP_SERIES = [1 / math.factorial(n) for n in range(13, 1, -1)]


def exp_double(x: Doubles) -> Doubles:
    """Compute e^x for x <= 0 in float64, the same on every machine; 0 from -707 down."""
    is_zero, x = x <= EXP_DOUBLE_LOWEST, np.maximum(x, EXP_DOUBLE_LOWEST)
    n = (x * DOUBLE_LOG2E + DOUBLE_ROUNDING) - DOUBLE_ROUNDING
    rest = (x - n * LN2_HIGH) - n * LN2_LOW
    series = np.zeros_like(x)
    for factor in EXP_SERIES:
        series = series * rest + factor
    result: Doubles = np.where(is_zero, 0, np.ldexp(1 + (rest + rest * rest * series), n.astype(np.int32)))
    return result


def log_double(x: float) -> float:
    """Compute ln x for x >= 1 in float64, by Newton's method for e^y = x."""
    fraction, exponent = math.frexp(x)
    y = (exponent - 1 + (2 * fraction - 1)) * math.log(2)
    for _ in range(4):
        y += x * float(exp_double(np.array(-y))) - 1
    return y


def log_sum_exp(logits: Floats) -> float:
    """Compute the logarithm of the sum of all e^logit of (V,); every fourth is added up by itself."""
    highest = np.float64(logits.max())
    weights = np.zeros(-(-len(logits) // LANES) * LANES)
    weights[: len(logits)] = exp_double(logits - highest)
    sums = np.add.accumulate(weights.reshape(-1, LANES))[-1]
    return float(highest + log_double(float((sums[0] + sums[1]) + (sums[2] + sums[3]))))


CDF_LIMIT, CDF_SCALE = np.float32(5.25), np.float32(0.0725623593)
# p in P(N <= x) = 1/2 + x p(u), u = 2 (x / 5.25)^2 - 1; constant first. From rows.c, which says how
# it was fitted.
CDF_FACTORS = [
    np.float32(v)
    for v in (
        *(0.134659365, -0.0671266094, 0.049643863, -0.0397700891),
        *(0.0320647061, -0.0249819681, 0.0183240417, -0.0130032608),
        *(0.00907420553, -0.00503129372, 0.00186604203, -0.00140296516),
        *(0.00145772798, -0.000535670551),
    )
]


def gelu(x: Floats) -> Floats:
    """Compute x * P(N <= x) for a standard normal N: the GELU with erf."""
    clamped = np.minimum(np.maximum(x, -CDF_LIMIT), CDF_LIMIT)
    u = fma(clamped * clamped, CDF_SCALE, -ONE)
    powers = (u, u * u, (u * u) * u)
    groups = []  # of four coefficients, which make short chains
    for at in range(0, len(CDF_FACTORS), 4):
        constant, *factors = CDF_FACTORS[at : at + 4]
        group = np.full_like(u, constant)
        for power, factor in zip(powers, factors, strict=False):
            group = fma(power, factor, group)
        groups.append(group)
    total = groups.pop()
    while groups:
        total = fma(powers[1] * powers[1], total, groups.pop())
    result: Floats = x * (clamped * total + HALF)
    return result


BLOCK = 1024  # tokens whose exponentials are added in single precision
LOG_SERIES = [1 / n for n in (17, 15, 13, 11, 9, 7, 5, 3)]


@dataclass(frozen=True)
class Row:
    """What may follow a context in a table of n-grams."""

    tokens: Int32
    """Increasing, (R,)."""
    alphas: Floats
    """(R,)."""

    @property
    def gamma(self) -> float:
        """Weight of the shorter context."""
        return 1.0 - float(self.alphas.sum(dtype=np.float64))


@dataclass(frozen=True)
class Mixture:
    """Numbers that order as the probabilities of the tokens do, and their logarithms."""

    numbers: Floats
    """(V,)."""
    logs: Floats
    """(V,)."""


def log_of(x: Doubles) -> Doubles:
    """Compute ln x in float64 for normal x > 0: by the series of (1 + s) / (1 - s)."""
    fraction, exponent = np.frexp(x)
    fraction, exponent = 2 * fraction, exponent - 1
    is_large = fraction.view(np.int64) >= np.array(math.sqrt(2)).view(np.int64)
    fraction, exponent = np.where(is_large, fraction / 2, fraction), exponent + is_large
    s = (fraction - 1) / (fraction + 1)
    series = np.zeros_like(s)
    for factor in LOG_SERIES:
        series = (series + factor) * (s * s)
    return np.asarray(exponent * math.log(2) + 2 * (s + s * series))


def add_exponentials(e: Floats) -> float:
    """Add (V,) in blocks: 16 sums of every 16th number in float32; the sums of the blocks in float64."""
    total = 0.0
    for first in range(0, len(e), BLOCK):
        block = e[first : first + BLOCK]
        steps = np.pad(block, (0, -len(block) % (LANES * LANES))).reshape(-1, LANES * LANES)
        sums = np.zeros(LANES * LANES, np.float32)
        for step in steps:
            sums = sums + step
        total += float(sum4(sum4(sums.reshape(LANES, LANES))))
    return total


def mix(logits: Floats, unigrams: Floats, rows: Sequence[Row], weight: np.float32) -> Mixture:
    """Mix a model with what may follow its text.

    Args:
        logits: (V,).
        unigrams: Probabilities of the tokens without context, (V,).
        rows: Continuations of the contexts that have some, the shortest context first.
        weight: Weight of the table, 0-1.
    """
    highest = logits.max()
    e = exp(logits - highest)
    total = add_exponentials(e)
    if weight == 0:
        log_sum = log_of(np.array(total)).astype(np.float32)
        return Mixture(logits, np.maximum((logits - highest) - log_sum, np.finfo(np.float32).min))
    factors, factor = [], float(weight)
    for row in reversed(rows):
        factors.append(np.float32(factor))
        factor *= row.gamma
    model = e * np.float32((1.0 - float(weight)) / total)
    numbers = np.maximum(fma(unigrams, np.float32(factor), model), np.finfo(np.float32).tiny)
    for row, row_factor in zip(rows, reversed(factors), strict=True):
        numbers[row.tokens] = fma(row.alphas, row_factor, numbers[row.tokens])
    return Mixture(numbers, log_of(numbers.astype(np.float64)).astype(np.float32))
