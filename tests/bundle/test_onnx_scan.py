"""What the scan of a model accepts, and its cost. test_hostile.py tests what it refuses."""

import random
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, helper, numpy_helper

from tests.support.hostile import MICRO, MODELS, RAW_MODELS, change_model
from tinyedge.bundle import onnx_scan
from tinyedge.bundle.onnx_scan import check_graph
from tinyedge.core.errors import BundleError

PATH = Path("model.onnx")
MUTANTS = 600


def read_micro_model() -> bytes:
    return (MICRO / "model.onnx").read_bytes()


@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_models_that_export_writes_are_accepted(precision: str) -> None:
    check_graph((MICRO.parent / f"micro_bundle_{precision}/model.onnx").read_bytes(), PATH)


@pytest.mark.parametrize("domain", ["", "com.microsoft"])
def test_every_allowed_operator_is_accepted(domain: str) -> None:
    def add(model: ModelProto) -> None:
        if domain == "com.microsoft":
            model.opset_import.append(helper.make_opsetid(domain, 1))
        for operator in sorted(onnx_scan.OPERATORS[domain]):
            model.graph.node.append(
                helper.make_node(
                    operator,
                    ["a", "b"],
                    ["c"],
                    domain=domain,
                    float=1.5,
                    integer=-1,
                    text="tanh",
                    floats=[1.0, 2.0],
                    integers=[-1, 2],
                    texts=["a", "b"],
                    tensor=helper.make_tensor("t", 1, [1, 2], [1.0, 2.0]),
                )
            )

    check_graph(change_model(read_micro_model(), add), PATH)


def test_operators_that_run_other_graphs_or_read_files_are_not_allowed() -> None:
    for operators in onnx_scan.OPERATORS.values():
        for operator in operators:
            assert not operator.startswith(("Loop", "If", "Scan", "Sequence", "String", "Random", "Optional"))
            assert operator not in ("EPContext", "ImageDecoder", "Expand", "ConstantOfShape", "Range", "Tile")
    # None of the standard operators has a graph as an attribute.
    types = onnx.defs.OpSchema.AttrType
    graph_types = (types.GRAPH, types.GRAPHS, types.SPARSE_TENSOR)
    for operator in onnx_scan.OPERATORS[""] & {schema.name for schema in onnx.defs.get_all_schemas()}:
        for attribute in onnx.defs.get_schema(operator).attributes.values():
            assert attribute.type not in graph_types or operator == "Constant"


@pytest.mark.parametrize("dtype", ["float32", "uint8", "int8", "int32", "int64", "bool", "float16"])
@pytest.mark.parametrize("raw", [True, False])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3, 1)])
def test_tensors_of_every_type_and_shape_are_accepted(dtype: str, raw: bool, shape: tuple[int, ...]) -> None:
    values = np.ones(shape, dtype)

    def add(model: ModelProto) -> None:
        kind = helper.np_dtype_to_tensor_dtype(values.dtype)
        content = values.tobytes() if raw else values.flatten().tolist()
        model.graph.initializer.append(helper.make_tensor("w", kind, shape, content, raw=raw))

    check_graph(change_model(read_micro_model(), add), PATH)


@pytest.mark.parametrize(("elements", "size", "fits"), [(4, 2, True), (5, 3, True), (5, 2, False)])
def test_the_size_of_four_bit_tensors_is_rounded_up_to_bytes(elements: int, size: int, fits: bool) -> None:
    def add(model: ModelProto) -> None:
        tensor = model.graph.initializer.add(name="w", data_type=onnx_scan.UINT4, dims=[elements])
        tensor.raw_data = bytes(size)

    model = change_model(read_micro_model(), add)
    if fits:
        check_graph(model, PATH)
    else:
        with pytest.raises(BundleError, match="'w' has 2 bytes, its shape requires 3"):
            check_graph(model, PATH)


def test_the_largest_allowed_shape_fits() -> None:
    """Tables of 32,000 x 512 elements and six layers stay well below the limits."""
    one = read_micro_model()
    layers = onnx.load_model_from_string(one).graph.node

    def grow(model: ModelProto) -> None:
        for _ in range(11):  # six layers, twice
            model.graph.node.extend(layers)
        tensor = model.graph.initializer.add(name="w", data_type=onnx_scan.INT8, dims=[32_000, 512])
        tensor.raw_data = bytes(32_000 * 512)

    check_graph(change_model(one, grow), PATH)


# --- cost ---


def count_instructions(function: Callable[[], object]) -> int:
    """Count the bytecode instructions that a call executes."""
    count = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        frame.f_trace_opcodes = True
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        function()
    finally:
        sys.settrace(before)
    return count


def test_the_cost_does_not_depend_on_the_size_of_the_weights() -> None:
    def grow(model: ModelProto) -> None:
        tensor = next(
            t for t in model.graph.initializer if t.data_type == onnx_scan.FLOAT32 and len(t.dims) == 2
        )
        tensor.CopyFrom(numpy_helper.from_array(np.zeros((3_000, 1_000), np.float32), tensor.name))

    small, large = read_micro_model(), change_model(read_micro_model(), grow)
    assert len(large) > 12_000_000
    costs = [count_instructions(lambda model=model: check_graph(model, PATH)) for model in (small, large)]  # type: ignore[misc]
    assert costs[1] == pytest.approx(costs[0], rel=0.01)
    assert costs[0] < 200_000


@pytest.mark.parametrize("name", [*MODELS, *RAW_MODELS])
def test_refusing_a_model_needs_little_memory(name: str) -> None:
    model = RAW_MODELS[name] if name in RAW_MODELS else change_model(read_micro_model(), MODELS[name])
    tracemalloc.start()
    try:
        with pytest.raises(BundleError):
            check_graph(model, PATH)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


# --- mutants ---


def mutate(model: bytes, draw: random.Random) -> bytes:
    """Return a file with a few bytes changed, inserted, deleted or copied, mostly in its structure."""
    data = bytearray(model)
    for _ in range(draw.randint(1, 4)):
        # The weights are one long range in the middle, where a change makes no difference to the scan.
        at = draw.choice((draw.randrange(12_000), draw.randrange(len(data))))
        change = draw.randrange(6)
        if change == 0:
            data[at] ^= 1 << draw.randrange(8)
        elif change == 1:
            data[at] = draw.choice((0, 1, 0x7F, 0x80, 0xFF))
        elif change == 2:
            data[at:at] = draw.randbytes(draw.randint(1, 12))
        elif change == 3:
            del data[at : at + draw.randint(1, 12)]
        elif change == 4:
            start = draw.randrange(len(data))
            data[at:at] = data[start : start + draw.randint(1, 200)]
        else:
            data[at : at + 10] = draw.choice((b"\xff" * 9 + b"\x01", b"\xff\xff\xff\xff\x0f", b"\x80" * 10))
    return bytes(data)


def test_mutants_are_refused_or_harmless() -> None:
    """A mutated file raises BundleError, or onnx finds nothing in it that is not allowed either."""
    draw = random.Random(2025)
    original = read_micro_model()
    passed = 0
    tracemalloc.start()
    try:
        for _ in range(MUTANTS):
            model = mutate(original, draw)
            reason = find_refusal(model)
            if reason is not None:
                assert reason.isprintable()
                assert len(reason) < 400
                continue
            passed += 1
            assert_plain(onnx.load_model_from_string(model))
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()
    assert 0 < passed < MUTANTS / 2


def find_refusal(model: bytes) -> str | None:
    """Return why the scan refuses a model; None if it accepts it."""
    try:
        check_graph(model, PATH)
    except BundleError as error:
        return error.message
    return None


def assert_plain(model: ModelProto) -> None:
    """Check the same rules with onnx's own reader."""
    assert not any((model.functions, model.training_info, model.metadata_props))
    assert not any((model.graph.sparse_initializer, model.graph.metadata_props))
    assert len(model.graph.node) <= onnx_scan.MAX_NODES
    assert {opset.domain for opset in model.opset_import} <= onnx_scan.OPSETS.keys()
    for node in model.graph.node:
        assert node.op_type in onnx_scan.OPERATORS[node.domain]
        for attribute in node.attribute:
            assert not any(map(attribute.HasField, ("g", "sparse_tensor", "tp")))
            assert not any((attribute.graphs, attribute.tensors, attribute.sparse_tensors))
    constants = (a.t for node in model.graph.node for a in node.attribute if a.HasField("t"))
    tensors = [*model.graph.initializer, *constants]
    for tensor in tensors:
        assert not tensor.external_data
        assert tensor.data_location == onnx.TensorProto.DEFAULT
        assert numpy_helper.to_array(tensor).shape == tuple(tensor.dims)
