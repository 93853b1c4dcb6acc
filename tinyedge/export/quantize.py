"""fp32 graph to int8 graph: weights as int8, activations quantized as they come (dynamic quantization).

In: the bytes of `export_onnx`. Out: the int8 file's bytes and what was done. Knows no model and no text.

The scheme is signed 8-bit weights with one scale a matrix; docs/log.md has the figures of the other ten.
Signed, because on a Cortex-A53 without dotprod onnxruntime's kernel for signed weights needs half the
instructions of the one for unsigned (MLAS, QgemmS8S8KernelNeon.S and QgemmU8X8KernelNeon.S). One scale a
matrix, because one a column is more work for each output and no visible change in bits per byte. All 8
bits, because 7 (`reduce_range`) triple the divergence; they only serve x86 processors without VNNI, whose
fast kernel saturates, and there `tinyedge.runtime.session` asks for the exact one. So the sums are the
same everywhere.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import ModelProto
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.quant_utils import add_pre_process_metadata

from tinyedge.errors import ExportError
from tinyedge.export.onnx import clean

METHOD = "dynamic, one scale a matrix"
OPERATORS = ("Gather", "MatMul")
QUANTIZED = "_quantized"  # what onnxruntime appends to a quantized weight's name

Matrix = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Quantization:
    """What was done to the weights.

    errors: of each matrix |w - w'| / |w| (Frobenius norms, w' the dequantized weights), in the graph's order.
    """

    errors: dict[str, float]

    @property
    def worst(self) -> str:
        """The matrix that lost most."""
        return max(self.errors, key=self.errors.__getitem__)

    def to_dict(self) -> dict[str, Any]:
        """As the manifest's `quantization` field."""
        return {
            "method": METHOD,
            "operators": list(OPERATORS),
            "weight_type": "int8",
            "per_channel": False,
            "reduce_range": False,
            "worst_matrix": self.worst,
            "worst_relative_error": self.errors[self.worst],
            "relative_errors": self.errors,
        }


def quantize_int8(graph: bytes) -> tuple[bytes, Quantization]:
    """Makes every weight matrix and the token embedding int8; attention's own products stay float.

    Raises ExportError when a matrix was left in fp32 or holds nothing but zeros.
    """
    model = onnx.load_model_from_string(graph)
    weights = _matrices(model)
    add_pre_process_metadata(model)  # it is as clean as can be; without this mark there is a warning
    with tempfile.TemporaryDirectory(prefix="tinyedge-") as folder:
        path = Path(folder) / "int8.onnx"
        quantize_dynamic(
            model, path, op_types_to_quantize=list(OPERATORS), weight_type=QuantType.QInt8, per_channel=False
        )
        quantized = onnx.load(path)
    return clean(quantized), Quantization(_errors(weights, quantized))


def _matrices(model: ModelProto) -> dict[str, Matrix]:
    """The constants that OPERATORS work on, by name."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    operand = {"Gather": 0, "MatMul": 1}
    names = [node.input[operand[node.op_type]] for node in model.graph.node if node.op_type in operand]
    return {name: onnx.numpy_helper.to_array(constants[name]) for name in names if name in constants}


def _errors(weights: dict[str, Matrix], quantized: ModelProto) -> dict[str, float]:
    found = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in quantized.graph.initializer}
    errors = {}
    for name, weight in weights.items():
        if name + QUANTIZED not in found:
            raise ExportError(f"quantization left {name} in fp32", "export with --quantize none")
        size = float(np.linalg.norm(weight))
        if not size:
            raise ExportError(f"{name} is all zeros", "check the training")
        steps = found[name + QUANTIZED].astype(np.float32) - found[f"{name}_zero_point"]
        errors[name] = float(np.linalg.norm(weight - steps * found[f"{name}_scale"])) / size
    return errors
