"""Finds NaN and infinity in a bundle's weights: reads every floating-point value of its graph.

In: the bytes of a checked `model.onnx`. Out: the number of values, and the tensors that are not finite. Does
not know a session: weights that no prompt uses are checked too.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from tinyedge.bundle.onnx_scan import ATTRIBUTE, FLOAT16, FLOAT32, GRAPH, MAX_FIELDS, MODEL, NODE, TENSOR
from tinyedge.bundle.protobuf import Reader

KINDS: Mapping[int | None, Any] = {FLOAT32: np.dtype("<f4"), FLOAT16: np.dtype("<f2")}


def find_nonfinite(model: bytes) -> tuple[int, list[str]]:
    """Find tensors with NaN or infinity. Integer weights are always finite; their scales are floating-point.

    Returns:
        The number of floating-point values, and the names of the tensors that have NaN or infinity.

    Raises:
        ValueError: The file is one that `tinyedge.bundle.onnx_scan` refuses.
    """
    values, nonfinite = 0, []
    for name, tensor in _iterate_float_tensors(model):
        values += tensor.size
        if not np.isfinite(tensor).all():
            nonfinite.append(name)
    return values, nonfinite


def _iterate_float_tensors(model: bytes) -> Iterator[tuple[str, Any]]:
    read = Reader(MAX_FIELDS).read
    graph = read(read(memoryview(model), MODEL)["graph"], GRAPH)
    tensors = [read(each, TENSOR) for each in graph.get("initializer", ())]
    for node in graph.get("node", ()):
        fields = read(node, NODE)
        for attribute in fields.get("attribute", ()):
            value = read(attribute, ATTRIBUTE)
            if "t" in value:
                tensors.append(read(value["t"], TENSOR))
            elif "f" in value or "floats" in value:
                parts = [value["f"]] if "f" in value else value["floats"]
                yield fields.get("op_type", ""), np.frombuffer(b"".join(parts), "<f4")
    for tensor in tensors:
        kind = KINDS.get(tensor.get("data_type"))
        if kind is None:
            continue
        if "raw_data" in tensor:
            values = np.frombuffer(tensor["raw_data"], kind)
        elif kind == KINDS[FLOAT16]:  # each integer holds the bits of one value
            values = np.array(tensor.get("int32_data", ()), np.uint16).view(kind)
        else:
            values = np.frombuffer(b"".join(tensor.get("float_data", ())), kind)
        yield tensor.get("name", ""), values
