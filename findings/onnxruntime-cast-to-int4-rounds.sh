#!/usr/bin/env bash
# Cast of ONNX Runtime from float to int4 rounds, where its Cast to int8 truncates; 7.5 becomes -8.
#
# Version:   onnxruntime 1.32.0, onnx 1.22.0, ml_dtypes 0.6.0, numpy 2.3.5, CPU execution provider, Linux x86-64.
# Guess:     Cast to int4 truncates toward zero as Cast to every other integer does, then keeps the low four bits: 2.7 gives 2,
#            7.5 gives 7, 9 wraps to -7.
# Reality:   it rounds to the nearest integer, ties away from zero, and then wraps: 2.5 gives 3, and 7.5 gives -8 though its
#            integer part fits. ONNX's page on 4-bit types asks for ties to even, and onnx's own reference evaluator truncates:
#            three answers for the pair 2.5, 3.5. QuantizeLinear of the same runtime takes ties to even and saturates. So
#            float to int8 to int4 is not float to int4, and a model that packs weights with Cast has other weights in each
#            tool.
# Output seen:
#   input                          2.4   2.5   2.7   3.5  -0.6  -2.7   7.4   7.5   9.0
#   Cast to int4                     2     3     3     4    -1    -3     7    -8    -7
#   Cast to int8, then to int4       2     2     2     3     0    -2     7     7    -7
#   QuantizeLinear to int4           2     2     3     4    -1    -3     7     7     7
#   onnx reference, Cast to int4     2     2     2     3     0    -2     7     7    -7
#   Cast to uint4                    2     3     3     4    15    13     7     8     9
#   Cast to int8                     2     2     2     3     0    -2     7     7     9
# Exits with 0 while this is so, with 1 when it changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check \
  onnxruntime==1.32.0 onnx==1.22.0 ml_dtypes==0.6.0 numpy==2.3.5

ORT_DISABLE_TELEMETRY=1 "$folder/env/bin/python" - <<'PYTHON'
import numpy as np
import onnxruntime
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

X = np.array([2.4, 2.5, 2.7, 3.5, -0.6, -2.7, 7.4, 7.5, 9.0], np.float32)


def cast(kind):
    return "Cast", {"to": kind}


def chain(*nodes):
    """A model of nodes (operator, attributes), one after the other; the last result is cast to float."""
    steps = []
    for number, (operator, attributes) in enumerate([*nodes, cast(TensorProto.FLOAT)]):
        inputs = [f"t{number}"]
        if operator == "QuantizeLinear":
            steps.append(helper.make_node("Constant", [], ["scale"], value_float=1.0))
            inputs.append("scale")
        steps.append(helper.make_node(operator, inputs, [f"t{number + 1}"], **attributes))
    first, last = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [None]) for name in ("t0", steps[-1].output[0])
    )
    graph = helper.make_graph(steps, "chain", [first], [last])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def run(model):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"t0": X})[0]


def show(label, seen, expected):
    print(f"{label:28}", *(f"{int(value):5}" for value in seen))
    assert seen.tolist() == expected, f"changed: {label}"


print(f"{'input':28}", *(f"{value:5.1f}" for value in X))
show("Cast to int4", run(chain(cast(TensorProto.INT4))), [2, 3, 3, 4, -1, -3, 7, -8, -7])
through_int8 = chain(cast(TensorProto.INT8), cast(TensorProto.INT4))
show("Cast to int8, then to int4", run(through_int8), [2, 2, 2, 3, 0, -2, 7, 7, -7])
quantize = chain(("QuantizeLinear", {"output_dtype": TensorProto.INT4}))
show("QuantizeLinear to int4", run(quantize), [2, 2, 3, 4, -1, -3, 7, 7, 7])
reference = ReferenceEvaluator(chain(cast(TensorProto.INT4))).run(None, {"t0": X})[0]
show("onnx reference, Cast to int4", reference, [2, 2, 2, 3, 0, -2, 7, 7, -7])
show("Cast to uint4", run(chain(cast(TensorProto.UINT4))), [2, 3, 3, 4, 15, 13, 7, 8, 9])
show("Cast to int8", run(chain(cast(TensorProto.INT8))), [2, 2, 2, 3, 0, -2, 7, 7, 9])
PYTHON
