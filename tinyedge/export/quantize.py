"""fp32 matrices to int8, one scale a matrix.

In: `Weights`. Out: `Int8Matrix` by name. Knows no ONNX and no text. Activations are quantized by the
graph while it runs.

Weights are signed, with zero at zero: on a Cortex-A53 without dotprod ONNX Runtime's kernel for signed
weights needs half the instructions of the one for unsigned (MLAS, QgemmS8S8KernelNeon.S and
QgemmU8X8KernelNeon.S). One scale a matrix, because one a column costs more for each output, there and on
x86 (docs/log.md). Nothing is clipped: that has less squared error and no fewer bits per byte.

A bundle is the same model on every processor. x86 without VNNI adds the products of two neighbours in a
column, an even row and the next, in 16 bits that saturate (vpmaddubsw): activations have 8 bits without a
sign, so two weights that sum to no more than 128 can't get there, 128 x 255 = 32,640. A matrix is scaled to
that. bench/x86 proves it.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyedge.core.errors import ExportError
from tinyedge.export.weights import EMBEDDING, Floats, Weights

MAX_MAGNITUDE = 127  # two products of -128 * -128 overflow the device's 16 bits


@dataclass(frozen=True)
class Int8Matrix:
    """A quantized matrix: values (rows, columns) times scale ()."""

    values: npt.NDArray[np.int8]
    scale: Floats

    @classmethod
    def for_lookup(cls, rows: Floats) -> "Int8Matrix":
        """A table that nothing is multiplied with: steps of a 127th of the largest weight."""
        return cls._quantize(rows, np.abs(rows).max())

    @classmethod
    def for_matmul(cls, weight: Floats) -> "Int8Matrix":
        """A matrix of products: steps of a 127th of the largest sum of neighbours, or weight if that is more.

        Rounded, two neighbours sum to 128 at most.
        """
        even = np.pad(weight, ((0, len(weight) % 2), (0, 0)))
        return cls._quantize(weight, max(np.abs(weight).max(), np.abs(even[0::2] + even[1::2]).max()))

    @classmethod
    def _quantize(cls, weight: Floats, largest: np.float32) -> "Int8Matrix":
        scale = np.asarray(largest / MAX_MAGNITUDE, dtype=np.float32)
        return cls(np.rint(weight / scale).astype(np.int8), scale)

    def relative_error(self, weight: Floats) -> float:
        """|w - w'| / |w| in Frobenius norms, w' the dequantized matrix."""
        return float(np.linalg.norm(weight - self.values * self.scale) / np.linalg.norm(weight))


@dataclass(frozen=True)
class Quantization:
    """What was done: the matrices that are int8 now, how far each is off, and which were left in fp32."""

    matrices: Mapping[str, Int8Matrix]
    relative_errors: Mapping[str, float]
    kept_fp32: tuple[str, ...] = ()

    @property
    def worst_matrix(self) -> str:
        """The int8 matrix that lost most."""
        return max(self.relative_errors, key=self.relative_errors.__getitem__)

    def to_dict(self) -> dict[str, Any]:
        """As the manifest's `quantization` field."""
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
    """Makes the token embedding and every matrix int8 but those `kept`; norms and positions stay float.

    Raises ExportError when a matrix holds nothing but zeros.
    """
    found, errors = {}, {}
    for name, weight in {EMBEDDING: weights.embedding, **weights.matrices}.items():
        if not weight.any():
            raise ExportError(f"{name} is all zeros", "check the training")
        if name not in kept_fp32:
            found[name] = (Int8Matrix.for_lookup if name == EMBEDDING else Int8Matrix.for_matmul)(weight)
            errors[name] = found[name].relative_error(weight)
    return Quantization(found, errors, tuple(kept_fp32))
