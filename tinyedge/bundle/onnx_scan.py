"""What a bundle's ONNX file may hold, looked at before ONNX Runtime sees a byte of it.

In: the file's bytes. Out: nothing, or BundleError naming the part. The device has no onnx package, so the
file is read here, against the part of onnx.proto (github.com/onnx/onnx, IR version 13) that a bundle needs:
plain tensors inside the file and one flat list of known operators. All else is refused, known or not: data in
other files, functions, graphs within graphs and with them every loop and branch, training, sparse tensors,
metadata. The weights are measured, never read or copied.
"""

import math
from pathlib import Path
from typing import Any

from tinyedge.bundle.manifest import EXPORT_AGAIN, show
from tinyedge.bundle.protobuf import BYTES, FLOAT, INTEGER, Field, Message, Reader
from tinyedge.core.errors import BundleError

# Some 3,000 fields, 150 nodes and 150 tensors are in the largest graph of the ranges that is written today.
MAX_FIELDS = 50_000
MAX_NODES = 2_000  # and as many tensors
MAX_RANK = 8
MAX_DIMENSION = 1 << 16  # the largest is a vocabulary's 32,000
MAX_ELEMENTS = 1 << 24  # the largest matrix has 32,000 x 512
IR_VERSIONS = range(8, 14)
OPSETS = {"": range(17, 26), "ai.onnx": range(17, 26), "com.microsoft": range(1, 2)}

# Arithmetic, and what moves elements about. None has a graph inside, reads a file, keeps state or draws at
# random, and none makes a tensor as large as a number says: Expand, Tile, Range, ConstantOfShape and Pad do.
ONNX_OPERATORS = """
    Abs Add And ArgMax ArgMin Attention Cast Clip Concat Constant CumSum DequantizeLinear Div
    DynamicQuantizeLinear Equal Erf Exp Flatten Gather Gelu Gemm Greater GreaterOrEqual Identity
    LayerNormalization Less LessOrEqual Log MatMul MatMulInteger Max Min Mul Neg Not Or Pow QLinearMatMul
    QuantizeLinear RMSNormalization Reciprocal ReduceMax ReduceMean ReduceSum Relu Reshape RotaryEmbedding
    ScatterElements ScatterND Shape Sigmoid SimplifiedLayerNormalization Size Slice Softmax Split Sqrt
    Squeeze Sub Tanh TensorScatter TopK Transpose Trilu Unsqueeze Where
"""
MICROSOFT_OPERATORS = """
    Attention BiasGelu DequantizeLinear DynamicQuantizeMatMul EmbedLayerNormalization FastGelu FusedGemm
    FusedMatMul GatherBlockQuantized Gelu GroupQueryAttention MatMulIntegerToFloat MatMulNBits
    MultiHeadAttention QAttention QGemm QuantizeLinear QuickGelu RotaryEmbedding SkipLayerNormalization
    SkipSimplifiedLayerNormalization
"""
OPERATORS = {
    "": frozenset(ONNX_OPERATORS.split()),
    "ai.onnx": frozenset(ONNX_OPERATORS.split()),
    "com.microsoft": frozenset(MICROSOFT_OPERATORS.split()),
}

# TensorProto.DataType: bits of an element
FLOAT32, UINT8, INT8, INT32, INT64, BOOL, FLOAT16, UINT4, INT4 = 1, 2, 3, 6, 7, 9, 10, 21, 22
BITS = {FLOAT32: 32, UINT8: 8, INT8: 8, INT32: 32, INT64: 64, BOOL: 8, FLOAT16: 16, UINT4: 4, INT4: 4}
# Where small tensors keep their elements, if not as raw bytes.
TYPED_DATA = {FLOAT32: "float_data", INT64: "int64_data"} | dict.fromkeys(
    (UINT8, INT8, INT32, BOOL, FLOAT16), "int32_data"
)
# AttributeProto.AttributeType: the one field that holds the value
ATTRIBUTE_VALUES = {1: "f", 2: "i", 3: "s", 4: "t", 6: "floats", 7: "ints", 8: "strings"}


def _one(name: str, wire: int) -> Field:
    return Field(name, wire)


def _many(name: str, wire: int) -> Field:
    return Field(name, wire, repeated=True)


def _text(name: str) -> Field:
    return Field(name, BYTES, text=True)


def _texts(name: str) -> Field:
    return Field(name, BYTES, repeated=True, text=True)


# Field numbers of onnx.proto. Texts that the runtime only carries along are bounded like names.
MODEL = Message(
    "the model",
    {
        1: _one("ir_version", INTEGER),
        2: _text("producer_name"),
        3: _text("producer_version"),
        4: _text("domain"),
        5: _one("model_version", INTEGER),
        6: _text("doc_string"),
        7: _one("graph", BYTES),
        8: _many("opset_import", BYTES),
    },
    {14: "metadata", 20: "training information", 25: "functions", 26: "a device configuration"},
)
OPSET = Message("an opset", {1: _text("domain"), 2: _one("version", INTEGER)})
GRAPH = Message(
    "the graph",
    {
        1: _many("node", BYTES),
        2: _text("name"),
        5: _many("initializer", BYTES),
        10: _text("doc_string"),
        11: _many("value", BYTES),  # an input
        12: _many("value", BYTES),  # an output
        13: _many("value", BYTES),  # in between
    },
    {14: "quantization annotations", 15: "a sparse tensor", 16: "metadata"},
)
NODE = Message(
    "a node",
    {
        1: _texts("input"),
        2: _texts("output"),
        3: _text("name"),
        4: _text("op_type"),
        5: _many("attribute", BYTES),
        6: _text("doc_string"),
        7: _text("domain"),
    },
    {8: "an overload", 9: "metadata", 10: "a device configuration"},
)
ATTRIBUTE = Message(
    "an attribute",
    {
        1: _text("name"),
        2: _one("f", FLOAT),
        3: _one("i", INTEGER),
        4: _text("s"),
        5: _one("t", BYTES),
        7: _many("floats", FLOAT),
        8: _many("ints", INTEGER),
        9: _texts("strings"),
        13: _text("doc_string"),
        20: _one("type", INTEGER),
    },
    {
        **{6: "a graph", 10: "a list of tensors", 11: "graphs", 14: "a type", 15: "types"},
        **{21: "a reference", 22: "a sparse tensor", 23: "sparse tensors"},
    },
)
TENSOR = Message(
    "a tensor",
    {
        1: _many("dims", INTEGER),
        2: _one("data_type", INTEGER),
        4: _many("float_data", FLOAT),
        5: _many("int32_data", INTEGER),
        7: _many("int64_data", INTEGER),
        8: _text("name"),
        9: _one("raw_data", BYTES),
        12: _text("doc_string"),
        14: _one("data_location", INTEGER),
    },
    {
        **{3: "a segment", 6: "texts", 10: "doubles", 11: "unsigned numbers", 16: "metadata"},
        13: "data in another file, a bundle's model is one file",
    },
)
VALUE = Message("a value", {1: _text("name"), 2: _one("type", BYTES), 3: _text("doc_string")})
TYPE = Message("a type", {1: _one("tensor", BYTES), 6: _text("denotation")})
TENSOR_TYPE = Message("a type", {1: _one("elem_type", INTEGER), 2: _one("shape", BYTES)})
SHAPE = Message("a shape", {1: _many("dim", BYTES)})
DIMENSION = Message(
    "a dimension", {1: _one("dim_value", INTEGER), 2: _text("dim_param"), 3: _text("denotation")}
)


def check_graph(model: bytes, path: Path) -> None:
    """Raises BundleError unless `model`, file `path`, holds nothing but known operators and plain tensors."""
    try:
        _Scan().model(memoryview(model))
    except ValueError as failure:
        raise BundleError(f"{path} is not a model that a bundle may hold: {failure}", EXPORT_AGAIN) from None


class _Scan:
    """One walk through a file. All methods raise ValueError for the first thing that has no place in it."""

    def __init__(self) -> None:
        self._read = Reader(MAX_FIELDS).read

    def model(self, data: memoryview) -> None:
        model = self._read(data, MODEL)
        _require("its IR version", model.get("ir_version"), IR_VERSIONS)
        for part in model.get("opset_import", ()):
            opset = self._read(part, OPSET)
            domain = opset.get("domain", "")
            if domain not in OPSETS:
                raise ValueError(f"it imports operators of {show(domain)}")
            _require(f"the opset of {show(domain)}", opset.get("version"), OPSETS[domain])
        if "graph" not in model:
            raise ValueError("it has no graph")
        self.graph(model["graph"])

    def graph(self, data: memoryview) -> None:
        graph = self._read(data, GRAPH)
        nodes, tensors = graph.get("node", ()), graph.get("initializer", ())
        if max(len(nodes), len(tensors)) > MAX_NODES:
            raise ValueError(
                f"it has {len(nodes)} nodes and {len(tensors)} tensors, at most {MAX_NODES} are allowed"
            )
        names = [self.tensor(tensor) for tensor in tensors]
        if len(set(names)) < len(names):
            raise ValueError("two tensors have one name")
        for value in graph.get("value", ()):
            self.value(value)
        for node in nodes:
            self.node(node)

    def node(self, data: memoryview) -> None:
        node = self._read(data, NODE)
        domain, operator = node.get("domain", ""), node.get("op_type", "")
        if operator not in OPERATORS.get(domain, ()):
            of = f" of {show(domain)}" if domain else ""
            raise ValueError(f"operator {show(operator)}{of} is not one that tinyedge writes")
        for part in node.get("attribute", ()):
            attribute = self._read(part, ATTRIBUTE)
            kind = attribute.get("type")
            if kind not in ATTRIBUTE_VALUES:
                raise ValueError(f"an attribute of {operator} has type {kind}")
            others = attribute.keys() - {"name", "doc_string", "type", ATTRIBUTE_VALUES[kind]}
            if others:
                raise ValueError(f"an attribute of {operator} has two values")
            if "t" in attribute:
                self.tensor(attribute["t"])

    def tensor(self, data: memoryview) -> str:
        """The name of a tensor whose data is all here, and as large as its shape says."""
        tensor = self._read(data, TENSOR)
        name: str = tensor.get("name", "")
        if tensor.get("data_location", 0):
            raise ValueError(f"tensor {show(name)} has data in another file, a bundle's model is one file")
        kind = tensor.get("data_type")
        if kind not in BITS:
            raise ValueError(f"tensor {show(name)} has data type {kind}")
        elements = math.prod(_dimensions(tensor.get("dims", ())))
        if elements > MAX_ELEMENTS:
            raise ValueError(f"tensor {show(name)} has {elements} elements, more than {MAX_ELEMENTS}")
        stored = [field for field in tensor if field.endswith("_data")]
        if len(stored) > 1 or (stored and stored[0] not in ("raw_data", TYPED_DATA.get(kind))):
            raise ValueError(f"tensor {show(name)} has {' and '.join(stored)}")
        if "raw_data" in tensor:
            unit, expected, found = "bytes", (elements * BITS[kind] + 7) // 8, len(tensor["raw_data"])
        else:
            unit, expected, found = "elements", elements, _count(tensor[stored[0]]) if stored else 0
        if found != expected:
            raise ValueError(f"tensor {show(name)} has {found} {unit}, its shape makes them {expected}")
        return name

    def value(self, data: memoryview) -> None:
        """An input or output: a tensor of a bounded shape."""
        value = self._read(data, VALUE)
        kind = self._read(value.get("type", memoryview(b"")), TYPE)
        tensor = self._read(kind.get("tensor", memoryview(b"")), TENSOR_TYPE)
        if tensor.get("elem_type") not in BITS:
            raise ValueError(f"{show(value.get('name', ''))} has data type {tensor.get('elem_type')}")
        shape = self._read(tensor.get("shape", memoryview(b"")), SHAPE)
        dimensions = [self._read(part, DIMENSION) for part in shape.get("dim", ())]
        _dimensions([part["dim_value"] for part in dimensions if "dim_value" in part])


def _require(what: str, value: Any, allowed: range) -> None:
    if value not in allowed:
        raise ValueError(f"{what} is {value}, expected {allowed.start}-{allowed.stop - 1}")


def _dimensions(values: Any) -> Any:
    """The same dimensions, each in bounds; a negative one is a huge one here."""
    if len(values) > MAX_RANK:
        raise ValueError(f"a shape has {len(values)} dimensions, more than {MAX_RANK}")
    if any(value > MAX_DIMENSION for value in values):
        raise ValueError(f"a shape has a dimension above {MAX_DIMENSION}")
    return values


def _count(values: list[Any]) -> int:
    """How many numbers a list holds; packed floats are views of many."""
    return sum(len(value) // 4 if isinstance(value, memoryview) else 1 for value in values)
