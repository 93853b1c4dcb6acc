"""Validation of a bundle's ONNX file before ONNX Runtime gets its bytes.

In: the file's bytes. Out: nothing, or a BundleError that names the invalid part. The device has no onnx
package, so the file is parsed here, with the part of onnx.proto (github.com/onnx/onnx, IR version 13) that a
bundle needs: plain tensors inside the file and one flat list of known operators. Everything else is refused:
data in other files, functions, nested graphs and with them all loops and branches, training information,
sparse tensors, metadata. Only the size of the weights is checked; they are not read or copied, but their
places are returned.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tinyedge.bundle.manifest import EXPORT_AGAIN, format_untrusted
from tinyedge.bundle.protobuf import BYTES, FLOAT, INTEGER, Field, Message, Reader
from tinyedge.core.errors import BundleError

# The largest graph that export writes today has about 3,000 fields, 150 nodes and 150 tensors.
MAX_FIELDS = 50_000
MAX_NODES = 2_000  # also the maximum number of tensors
MAX_RANK = 8
MAX_DIMENSION = 1 << 16  # the largest allowed vocabulary has 32,000
MAX_ELEMENTS = 1 << 24  # the largest allowed matrix has 32,000 x 512
IR_VERSIONS = range(9, 11)  # export writes 9, and wrote 10 before
OPSETS = {"": range(20, 21), "com.microsoft": range(1, 2)}

# The operators that export writes. None of them has a nested graph, reads a file, keeps state, uses random
# numbers, or creates a tensor whose size depends on a value, except TopK, whose size the session sets.
OPERATORS = {
    "": frozenset(("Add", "DequantizeLinear", "Gather", "MatMul", "TopK")),
    "com.microsoft": frozenset(
        ("DynamicQuantizeMatMul", "Gelu", "GroupQueryAttention", "SkipLayerNormalization")
    ),
}

# TensorProto.DataType: bits per element
FLOAT32, UINT8, INT8, INT32, INT64, BOOL, FLOAT16, UINT4, INT4 = 1, 2, 3, 6, 7, 9, 10, 21, 22
BITS = {FLOAT32: 32, UINT8: 8, INT8: 8, INT32: 32, INT64: 64, BOOL: 8, FLOAT16: 16, UINT4: 4, INT4: 4}
# Field with the elements of a small tensor that does not use raw_data.
TYPED_DATA = {FLOAT32: "float_data", INT64: "int64_data"} | dict.fromkeys(
    (UINT8, INT8, INT32, BOOL, FLOAT16), "int32_data"
)
# AttributeProto.AttributeType: the field that contains the value
FLOAT_ATTRIBUTE = 1
ATTRIBUTE_VALUES = {1: "f", 2: "i", 3: "s", 4: "t", 6: "floats", 7: "ints", 8: "strings"}


def _single(name: str, wire: int) -> Field:
    return Field(name, wire)


def _repeated(name: str, wire: int) -> Field:
    return Field(name, wire, repeated=True)


def _text(name: str) -> Field:
    return Field(name, BYTES, text=True)


def _repeated_text(name: str) -> Field:
    return Field(name, BYTES, repeated=True, text=True)


# Field numbers of onnx.proto. Strings that the runtime does not interpret have the same limits as names.
MODEL = Message(
    "the model",
    {
        1: _single("ir_version", INTEGER),
        2: _text("producer_name"),
        3: _text("producer_version"),
        4: _text("domain"),
        5: _single("model_version", INTEGER),
        6: _text("doc_string"),
        7: _single("graph", BYTES),
        8: _repeated("opset_import", BYTES),
    },
    {14: "metadata", 20: "training information", 25: "functions", 26: "a device configuration"},
)
OPSET = Message("an opset", {1: _text("domain"), 2: _single("version", INTEGER)})
GRAPH = Message(
    "the graph",
    {
        1: _repeated("node", BYTES),
        2: _text("name"),
        5: _repeated("initializer", BYTES),
        10: _text("doc_string"),
        11: _repeated("input", BYTES),
        12: _repeated("output", BYTES),
    },
    {13: "intermediate values", 14: "quantization annotations", 15: "a sparse tensor", 16: "metadata"},
)
NODE = Message(
    "a node",
    {
        1: _repeated_text("input"),
        2: _repeated_text("output"),
        3: _text("name"),
        4: _text("op_type"),
        5: _repeated("attribute", BYTES),
        6: _text("doc_string"),
        7: _text("domain"),
    },
    {8: "an overload", 9: "metadata", 10: "a device configuration"},
)
ATTRIBUTE = Message(
    "an attribute",
    {
        1: _text("name"),
        2: _single("f", FLOAT),
        3: _single("i", INTEGER),
        4: _text("s"),
        5: _single("t", BYTES),
        7: _repeated("floats", FLOAT),
        8: _repeated("ints", INTEGER),
        9: _repeated_text("strings"),
        13: _text("doc_string"),
        20: _single("type", INTEGER),
    },
    {
        **{6: "a graph", 10: "a list of tensors", 11: "graphs", 14: "a type", 15: "types"},
        **{21: "a reference", 22: "a sparse tensor", 23: "sparse tensors"},
    },
)
TENSOR = Message(
    "a tensor",
    {
        1: _repeated("dims", INTEGER),
        2: _single("data_type", INTEGER),
        4: _repeated("float_data", FLOAT),
        5: _repeated("int32_data", INTEGER),
        7: _repeated("int64_data", INTEGER),
        8: _text("name"),
        9: _single("raw_data", BYTES),
        12: _text("doc_string"),
        14: _single("data_location", INTEGER),
    },
    {
        **{3: "a segment", 6: "texts", 10: "doubles", 11: "unsigned numbers", 16: "metadata"},
        13: "data in another file, a bundle's model is a single file",
    },
)
VALUE = Message("a value", {1: _text("name"), 2: _single("type", BYTES), 3: _text("doc_string")})
TYPE = Message("a type", {1: _single("tensor", BYTES), 6: _text("denotation")})
TENSOR_TYPE = Message("a type", {1: _single("elem_type", INTEGER), 2: _single("shape", BYTES)})
SHAPE = Message("a shape", {1: _repeated("dim", BYTES)})
DIMENSION = Message(
    "a dimension", {1: _single("dim_value", INTEGER), 2: _text("dim_param"), 3: _text("denotation")}
)


class Tensor(NamedTuple):
    """Type and shape of a tensor in the file, or of an input or output."""

    kind: int
    """TensorProto.DataType."""
    shape: tuple[int | str, ...]
    """Its dimensions; one that is known only when the graph runs has a name."""


class Node(NamedTuple):
    """An operator, the names of the tensors that it reads and writes, and its attributes."""

    domain: str
    """Its domain; empty for standard operators."""
    operator: str
    """Its name."""
    inputs: tuple[str, ...]
    """Names of its inputs; empty for one that is left out."""
    outputs: tuple[str, ...]
    """Names of its outputs."""
    attributes: Mapping[str, object]
    """Its attributes by name; a float as four bytes."""


class Graph(NamedTuple):
    """A scanned graph."""

    nodes: list[Node]
    """Its operators in their order."""
    tensors: dict[str, Tensor]
    """Its weights and constants, by name."""
    inputs: dict[str, Tensor]
    """Its inputs, by name."""
    outputs: dict[str, Tensor]
    """Its outputs, by name."""
    weights: dict[str, memoryview]
    """Content of those tensors that store it as plain bytes, as export does: views of the file's bytes."""


def check_graph(model: bytes, path: Path) -> Graph:
    """Raise BundleError unless a model contains only known operators and plain tensors.

    Args:
        model: The file's bytes.
        path: Path of the file, for the error message.

    Returns:
        The graph.
    """
    try:
        return _GraphScanner().check_model(memoryview(model))
    except ValueError as failure:
        raise BundleError(f"{path} is not a valid model of a bundle: {failure}", EXPORT_AGAIN) from None


class _GraphScanner:
    """Walks once through a model. All methods raise ValueError for the first part that is not allowed."""

    def __init__(self) -> None:
        self._read = Reader(MAX_FIELDS).read

    def check_model(self, data: memoryview) -> Graph:
        model = self._read(data, MODEL)
        _check_range("its IR version", model.get("ir_version"), IR_VERSIONS)
        for part in model.get("opset_import", ()):
            opset = self._read(part, OPSET)
            domain = opset.get("domain", "")
            if domain not in OPSETS:
                raise ValueError(f"it imports the operator domain {format_untrusted(domain)}")
            _check_range(f"the opset of {format_untrusted(domain)}", opset.get("version"), OPSETS[domain])
        if "graph" not in model:
            raise ValueError("it has no graph")
        return self.check_graph(model["graph"])

    def check_graph(self, data: memoryview) -> Graph:
        graph = self._read(data, GRAPH)
        nodes, tensors = graph.get("node", ()), graph.get("initializer", ())
        if max(len(nodes), len(tensors)) > MAX_NODES:
            raise ValueError(
                f"it has {len(nodes)} nodes and {len(tensors)} tensors, at most {MAX_NODES} are allowed"
            )
        found = [self.check_tensor(tensor) for tensor in tensors]
        names = {name: tensor for name, tensor, _ in found}
        if len(names) < len(found):
            raise ValueError("two tensors have the same name")
        weights = {name: content for name, _, content in found if content is not None}
        inputs, outputs = (dict(map(self.check_value, graph.get(kind, ()))) for kind in ("input", "output"))
        return Graph([self.check_node(node) for node in nodes], names, inputs, outputs, weights)

    def check_node(self, data: memoryview) -> Node:
        node = self._read(data, NODE)
        domain, operator = node.get("domain", ""), node.get("op_type", "")
        if operator not in OPERATORS.get(domain, ()):
            of = f" of {format_untrusted(domain)}" if domain else ""
            raise ValueError(f"operator {format_untrusted(operator)}{of} is not allowed")
        attributes: dict[str, object] = {}
        for part in node.get("attribute", ()):
            attribute = self._read(part, ATTRIBUTE)
            kind = attribute.get("type")
            if kind not in ATTRIBUTE_VALUES:
                raise ValueError(f"an attribute of {operator} has type {kind}")
            others = attribute.keys() - {"name", "doc_string", "type", ATTRIBUTE_VALUES[kind]}
            if others:
                raise ValueError(f"an attribute of {operator} has two values")
            if "t" in attribute:
                self.check_tensor(attribute["t"])
            value = attribute.get(ATTRIBUTE_VALUES[kind])
            attributes[attribute.get("name", "")] = bytes(value or b"") if kind == FLOAT_ATTRIBUTE else value
        return Node(domain, operator, tuple(node.get("input", ())), tuple(node.get("output", ())), attributes)

    def check_tensor(self, data: memoryview) -> tuple[str, Tensor, memoryview | None]:
        """Check that a tensor's data is inside the file and matches its shape.

        Returns:
            Its name, its type, and its content if that is plain bytes.
        """
        tensor = self._read(data, TENSOR)
        name: str = tensor.get("name", "")
        if tensor.get("data_location", 0):
            raise ValueError(
                f"tensor {format_untrusted(name)} has data in another file, a bundle's model is a single file"
            )
        kind = tensor.get("data_type")
        if kind not in BITS:
            raise ValueError(f"tensor {format_untrusted(name)} has data type {kind}")
        elements = math.prod(_check_dimensions(tensor.get("dims", ())))
        if elements > MAX_ELEMENTS:
            raise ValueError(
                f"tensor {format_untrusted(name)} has {elements} elements, more than {MAX_ELEMENTS}"
            )
        stored = [field for field in tensor if field.endswith("_data")]
        if len(stored) > 1 or (stored and stored[0] not in ("raw_data", TYPED_DATA.get(kind))):
            raise ValueError(f"tensor {format_untrusted(name)} has {' and '.join(stored)}")
        if "raw_data" in tensor:
            unit, expected, found = "bytes", (elements * BITS[kind] + 7) // 8, len(tensor["raw_data"])
        else:
            unit, expected, found = "elements", elements, _count_values(tensor[stored[0]]) if stored else 0
        if found != expected:
            raise ValueError(
                f"tensor {format_untrusted(name)} has {found} {unit}, its shape requires {expected}"
            )
        return name, Tensor(kind, tuple(tensor.get("dims", ()))), tensor.get("raw_data")

    def check_value(self, data: memoryview) -> tuple[str, Tensor]:
        """Check an input or output: a tensor whose shape is within the limits; return its name and type."""
        value = self._read(data, VALUE)
        kind = self._read(value.get("type", memoryview(b"")), TYPE)
        tensor = self._read(kind.get("tensor", memoryview(b"")), TENSOR_TYPE)
        if tensor.get("elem_type") not in BITS:
            raise ValueError(
                f"{format_untrusted(value.get('name', ''))} has data type {tensor.get('elem_type')}"
            )
        shape = self._read(tensor.get("shape", memoryview(b"")), SHAPE)
        dimensions = [self._read(part, DIMENSION) for part in shape.get("dim", ())]
        _check_dimensions([part["dim_value"] for part in dimensions if "dim_value" in part])
        axes = tuple(part.get("dim_value", part.get("dim_param", "")) for part in dimensions)
        return value.get("name", ""), Tensor(tensor["elem_type"], axes)


def _check_range(what: str, value: Any, allowed: range) -> None:
    if value not in allowed:
        raise ValueError(f"{what} is {value}, expected {allowed.start}-{allowed.stop - 1}")


def _check_dimensions(values: Any) -> Any:
    """Return the dimensions if they are within the limits; a negative one is read as a huge one."""
    if len(values) > MAX_RANK:
        raise ValueError(f"a shape has {len(values)} dimensions, more than {MAX_RANK}")
    if any(value > MAX_DIMENSION for value in values):
        raise ValueError(f"a shape has a dimension above {MAX_DIMENSION}")
    return values


def _count_values(values: list[Any]) -> int:
    """Count the numbers in a list; a view is a packed list of floats."""
    return sum(len(value) // 4 if isinstance(value, memoryview) else 1 for value in values)
