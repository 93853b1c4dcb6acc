#!/usr/bin/env bash
# TopK of ONNX Runtime puts NaN first, wherever it stands; ArgMax of the same runtime does not.
#
# Version:   onnxruntime 1.32.0, onnx 1.22.0, numpy 2.3.5, CPU execution provider, Linux x86-64.
# Guess:     NaN in TopK is undefined and depends on its position: the comparison is a plain `>`, so an early NaN tends to stay
#            and a late one is never selected; ArgMax and TopK(k=1) agree.
# Reality:   TopK treats NaN as larger than every number, at every position, and returns several NaNs in index order.
#            ArgMax finds a NaN only at index 0; any other NaN is passed over. So a greedy decoder that reads its token from
#            TopK picks the NaN's token, and one that reads ArgMax never notices that a logit is NaN.
# Output seen:
#   topk nan first: [nan, 7.0, 6.0] [0, 7, 6]
#   topk nan last: [nan, 7.0, 6.0] [7, 6, 5]
#   topk nan in the middle: [nan, 7.0, 6.0] [2, 6, 5]
#   argmax: 0 3 1
# Exits with 0 while this is so, with 1 when it changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check onnxruntime==1.32.0 onnx==1.22.0 numpy==2.3.5

ORT_DISABLE_TELEMETRY=1 "$folder/env/bin/python" - <<'PYTHON'
import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

NAN = float("nan")


def session(node, outputs, constants=()):
    """A model of one node with a float vector as its input."""
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None])]
    graph = helper.make_graph([node], "one", inputs, outputs, list(constants))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


top_k = session(
    helper.make_node("TopK", ["x", "k"], ["values", "ids"], sorted=1),
    [
        helper.make_tensor_value_info("values", TensorProto.FLOAT, [None]),
        helper.make_tensor_value_info("ids", TensorProto.INT64, [None]),
    ],
    [numpy_helper.from_array(np.array([3]), "k")],
)
arg_max = session(
    helper.make_node("ArgMax", ["x"], ["id"], axis=0, keepdims=0),
    [helper.make_tensor_value_info("id", TensorProto.INT64, [])],
)

seen = []
for name, x in (
    ("first", [NAN, 1, 2, 3, 4, 5, 6, 7]),
    ("last", [1, 2, 3, 4, 5, 6, 7, NAN]),
    ("in the middle", [1, 2, NAN, 4, 5, 6, 7, 3]),
):
    values, ids = top_k.run(None, {"x": np.array(x, np.float32)})
    print(f"topk nan {name}: {values.tolist()} {ids.tolist()}")
    seen.append(ids.tolist())
found = [int(arg_max.run(None, {"x": np.array(x, np.float32)})[0]) for x in ([NAN, 1, 2, 3], [1, 2, NAN, 3], [1, 5, 2, NAN])]
print("argmax:", *found)
assert seen == [[0, 7, 6], [7, 6, 5], [2, 6, 5]], "TopK no longer puts NaN first"
assert found == [0, 3, 1], "ArgMax treats NaN differently now"
PYTHON
