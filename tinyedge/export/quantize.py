"""Quantizes fp32 matrices to int8, with one scale for each matrix.

In: `Weights`. Out: `Int8Matrix` by name. Does not know ONNX or text. Activations are quantized by the
graph while it runs.

Weights are signed with a zero point of 0: on a Cortex-A53 without dotprod, ONNX Runtime's kernel for signed
weights needs half the instructions of the kernel for unsigned weights (MLAS, QgemmS8S8KernelNeon.S and
QgemmU8X8KernelNeon.S). A matrix has one scale, because a scale for each column costs more for each output,
there and on x86 (docs/log.md). Weights are not clipped: clipping has a smaller squared error, but no fewer
bits per byte.

A bundle is the same model on every processor. x86 without VNNI adds the products of two neighbours in a
column, an even row and the next, in 16 bits with saturation (vpmaddubsw). Activations are unsigned 8-bit
values, so two weights whose sum is at most 128 cannot saturate: 128 x 255 = 32,640. A matrix is scaled so
that this holds. bench/x86 tests it.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyedge.core.errors import ExportError
from tinyedge.export.weights import EMBEDDING, Floats, Weights

MAX_MAGNITUDE = 127  # the sum of two products -128 * -128 overflows 16 bits


@dataclass(frozen=True)
class Int8Matrix:
    """A quantized matrix: `values` times `scale`."""

    values: npt.NDArray[np.int8]
    """The int8 values, (rows, columns)."""
    scale: Floats
    """Scale of all values, a scalar ()."""

    @classmethod
    def for_lookup(cls, rows: Floats) -> "Int8Matrix":
        """Quantize a lookup table: the largest weight becomes 127."""
        return cls._quantize(rows, np.abs(rows).max())

    @classmethod
    def for_matmul(cls, weight: Floats) -> "Int8Matrix":
        """Quantize a factor of a matrix product.

        The largest sum of two neighbours, or the largest weight if that is more, becomes 127. After rounding
        the sum of two neighbours is at most 128.
        """
        even = np.pad(weight, ((0, len(weight) % 2), (0, 0)))
        return cls._quantize(weight, max(np.abs(weight).max(), np.abs(even[0::2] + even[1::2]).max()))

    @classmethod
    def _quantize(cls, weight: Floats, largest: np.float32) -> "Int8Matrix":
        scale = np.asarray(largest / MAX_MAGNITUDE, dtype=np.float32)
        return cls(np.rint(weight / scale).astype(np.int8), scale)

    def relative_error(self, weight: Floats) -> float:
        """Compute |w - w'| / |w| in Frobenius norms; w' is the dequantized matrix."""
        return float(np.linalg.norm(weight - self.values * self.scale) / np.linalg.norm(weight))


@dataclass(frozen=True)
class Quantization:
    """The int8 matrices of a model."""

    matrices: Mapping[str, Int8Matrix]
    """The int8 matrices, by name."""
    relative_errors: Mapping[str, float]
    """Relative error of each int8 matrix, by name."""
    kept_fp32: tuple[str, ...] = ()
    """Names of matrices that stay fp32."""

    @property
    def worst_matrix(self) -> str:
        """Name of the int8 matrix with the largest relative error."""
        return max(self.relative_errors, key=self.relative_errors.__getitem__)

    def to_dict(self) -> dict[str, Any]:
        """The manifest's `quantization` field."""
        return {
            "method": "int8 weights with one scale a matrix, activations quantized as they come",
            "weight_type": "int8",
            "per_channel": False,
            "kept_fp32": list(self.kept_fp32),
            "worst_matrix": self.worst_matrix,
            "worst_relative_error": self.relative_errors[self.worst_matrix],
            "relative_errors": dict(self.relative_errors),
        }


def quantize(weights: Weights, kept_fp32: Collection[str] = ()) -> Quantization:
    """Quantize the token embedding and all matrices; norms and positions stay fp32.

    Args:
        weights: Weights of the model.
        kept_fp32: Names of matrices that are not quantized.

    Returns:
        The int8 matrices and their errors.

    Raises:
        ExportError: A matrix has only zeros.
    """
    matrices, errors = {}, {}
    for name, weight in {EMBEDDING: weights.embedding, **weights.matrices}.items():
        if not weight.any():
            raise ExportError(f"{name} is all zeros", "check the training")
        if name not in kept_fp32:
            matrices[name] = (Int8Matrix.for_lookup if name == EMBEDDING else Int8Matrix.for_matmul)(weight)
            errors[name] = matrices[name].relative_error(weight)
    return Quantization(matrices, errors, tuple(kept_fp32))
