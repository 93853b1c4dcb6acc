#!/usr/bin/env bash
# ONNX Runtime takes numpy arrays in big-endian byte order without an error, and reads their bytes as little-endian.
#
# Version:   onnxruntime 1.32.0, onnx 1.22.0, safetensors 0.8.0, numpy 2.3.5, Linux x86-64.
# Guess:     refused ("unexpected input data type"), as float64 is where float32 is declared; or converted, as strides are.
# Reality:   an array of dtype ">f4" or ">i8" passes the type check of run() and of OrtValue, and its bytes are read as
#            they lie: 1.0 becomes 4.6e-41, the id 1 becomes 72057594037927936. A view that is not contiguous is copied
#            first, and the copy keeps the wrong order. Such arrays come from np.load of a file of another machine, FITS, IDX,
#            AIFF or network data. onnx refuses them (ValueError), safetensors converts them: three tools, three answers.
# Output seen:
#   run float: [4.600602988224807e-41, 8.96831017167883e-44, 2.304855714121459e-41]
#   run int64: [72057594037927936, 144115188075855872]
#   run int64, every second value: [72057594037927936, 216172782113783808]
#   OrtValue: [4.600602988224807e-41, 8.96831017167883e-44, 2.304855714121459e-41]
#   onnx: ValueError
#   safetensors: [1.0, 2.0, 3.0]
# Exits with 0 while this is so, with 1 when it changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check onnxruntime==1.32.0 onnx==1.22.0 safetensors==0.8.0 numpy==2.3.5

ORT_DISABLE_TELEMETRY=1 "$folder/env/bin/python" - <<'PYTHON'
import numpy as np
import onnxruntime
import safetensors.numpy
from onnx import TensorProto, helper, numpy_helper


def identity(kind, x):
    """Send an array through a model that only returns it."""
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "one",
        [helper.make_tensor_value_info("x", kind, [None])],
        [helper.make_tensor_value_info("y", kind, [None])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


floats = np.array([1, 2, 3], ">f4")
ids = np.array([1, 2], ">i8")
strided = np.array([1, 2, 3, 4], ">i8")[::2]
swapped = floats.view("<f4")  # the same bytes in the other order
seen = {
    "run float": (identity(TensorProto.FLOAT, floats), swapped),
    "run int64": (identity(TensorProto.INT64, ids), ids.view("<i8")),
    "run int64, every second value": (identity(TensorProto.INT64, strided), strided.copy().view("<i8")),
    "OrtValue": (onnxruntime.OrtValue.ortvalue_from_numpy(floats).numpy(), swapped),
}
for name, (found, expected) in seen.items():
    print(f"{name}: {found.tolist()}")
    assert found.tobytes() == expected.tobytes(), f"{name} treats byte order differently now"

try:
    numpy_helper.from_array(floats, "x")
    refused = "accepted"
except ValueError:
    refused = "ValueError"
print("onnx:", refused)
assert refused == "ValueError", "onnx accepts it now"
loaded = safetensors.numpy.load(safetensors.numpy.save({"x": floats}))["x"]
print("safetensors:", loaded.tolist())
assert loaded.tolist() == [1.0, 2.0, 3.0], "safetensors no longer converts"
PYTHON
