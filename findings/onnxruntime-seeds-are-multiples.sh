#!/usr/bin/env bash
# RandomUniform of ONNX Runtime with seed k returns k times the values of seed 1, modulo 1: seeds are not independent.
#
# Version:   onnxruntime 1.32.0, onnx 1.22.0, numpy 2.3.5, CPU execution provider, Linux x86-64.
# Guess:     a Mersenne twister or Philox: another seed gives values that have nothing to do with the first seed's. At most,
#            seeds 0 and 1 coincide and the fraction of a seed is dropped (right).
# Reality:   each value of seed k is the value of seed 1 at the same place times k, modulo 1 (to float precision), because the
#            seed is the first state of a linear generator. Values of seeds 1 and 2 have a correlation of 0.46 (1/2 in theory),
#            seeds 1 and 3 of 0.30. The first value is about 7.8e-6 times k, so for every seed from 1 to 1,000 it is below
#            0.008. Multinomial draws class floor(10 * (0.13154 * k modulo 1)) of ten equal ones: 300 of 300 seeds are known
#            in advance. Averages over seeds 1, 2, 3, ... are not averages of independent runs. The seed is a float in ONNX;
#            its fraction is dropped, and 0 is the same as 1.
# Output seen:
#   seed 2: largest distance from 2 times seed 1, modulo 1: 6.0e-08; correlation 0.46
#   seed 3: largest distance from 3 times seed 1, modulo 1: 1.2e-07; correlation 0.30
#   seed 10: largest distance from 10 times seed 1, modulo 1: 3.0e-07; correlation 0.09
#   largest first value of seeds 1 to 1000: 0.007826
#   Multinomial, seeds 1 to 12: 1 2 3 5 6 7 9 0 1 3 4 5; predicted 300 of 300
#   seeds 0, 0.5, 1 and 1.9 agree: True
# Exits with 0 while this is so, with 1 when it changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check onnxruntime==1.32.0 onnx==1.22.0 numpy==2.3.5

ORT_DISABLE_TELEMETRY=1 "$folder/env/bin/python" - <<'PYTHON'
import numpy as np
import onnxruntime
from onnx import TensorProto, helper


def run(node, output_type, feeds):
    """Run a model of one node in a new session."""
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, x.shape) for name, x in feeds.items()]
    outputs = [helper.make_tensor_value_info("y", output_type, None)]
    graph = helper.make_graph([node], "one", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, feeds)[0]


def uniform(seed, count=1000):
    node = helper.make_node("RandomUniform", [], ["y"], shape=[count], seed=float(seed))
    return run(node, TensorProto.FLOAT, {}).astype(np.float64)


def draw_class(seed):
    node = helper.make_node("Multinomial", ["x"], ["y"], sample_size=1, seed=float(seed))
    return int(run(node, TensorProto.INT32, {"x": np.zeros((1, 10), np.float32)})[0, 0])


one = uniform(1)
for seed in (2, 3, 10):
    other = uniform(seed)
    distance = (other - seed * one) % 1
    largest = np.minimum(distance, 1 - distance).max()
    correlation = np.corrcoef(one, other)[0, 1]
    print(f"seed {seed}: largest distance from {seed} times seed 1, modulo 1: {largest:.1e}; correlation {correlation:.2f}")
    assert largest < 1e-6, "the seeds are no longer multiples"

first = max(uniform(seed, 1)[0] for seed in range(1, 1001))
print(f"largest first value of seeds 1 to 1000: {first:.6f}")
assert first < 0.008, "first values are spread now"

modulus = 2**31 - 1
state = 16807  # of seed 1 after one step; a double takes a second step
fraction = (state - 1 + (16807 * state % modulus - 1) * (modulus - 1)) / (modulus - 1) ** 2
drawn = [draw_class(seed) for seed in range(1, 301)]
predicted = [int(10 * (fraction * seed % 1)) for seed in range(1, 301)]
hits = sum(a == b for a, b in zip(drawn, predicted, strict=True))
print("Multinomial, seeds 1 to 12:", " ".join(map(str, drawn[:12])) + f"; predicted {hits} of 300")
assert hits == 300, "Multinomial draws differently now"

same = all(np.array_equal(uniform(seed), one) for seed in (0, 0.5, 1.9))
print("seeds 0, 0.5, 1 and 1.9 agree:", same)
assert same, "these seeds differ now"
PYTHON
