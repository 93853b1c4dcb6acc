"""Malicious bundles, by an attacker who also updates the digests in the manifest.

`BUNDLES` maps a name to a function that turns the folder of a valid bundle into a malicious one. The tests
run all of them.
"""

import copy
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import onnx
from onnx import AttributeProto, GraphProto, ModelProto, TensorProto, helper

from tinyedge.bundle.manifest import OPTIONAL

Corruption = Callable[[Path], object]
Target = TypeVar("Target")
Value = TypeVar("Value")
MICRO = Path(__file__).parents[1] / "data/micro_bundle_int8"
SECRET = "../secret"  # a file next to the bundle that must not be opened
FILES = ("manifest.json", "model.onnx", "tokenizer.model", "README.md")


def _bind(function: Callable[[Target, Value], object], value: Value) -> Callable[[Target], object]:
    """Fix the second argument of a function."""
    return lambda target: function(target, value)


# --- the folder ---


def _replace(name: str, make: Callable[[Path], object]) -> Corruption:
    def corrupt(folder: Path) -> None:
        (folder / name).unlink()
        make(folder / name)

    return corrupt


def _add_hard_link(folder: Path, name: str) -> None:
    (folder.parent / f"{folder.name} {name}").hardlink_to(folder / name)


def _folder_attacks() -> Iterator[tuple[str, Corruption]]:
    for name in FILES:
        yield f"{name} missing", _bind(lambda folder, name: (folder / name).unlink(), name)
        yield f"{name} empty", _replace(name, Path.touch)
        yield f"{name} a folder", _replace(name, Path.mkdir)
        yield f"{name} a FIFO", _replace(name, os.mkfifo)
        yield f"{name} a link out", _replace(name, lambda path: path.symlink_to(SECRET))
        yield f"{name} a link to itself", _replace(name, lambda path: path.symlink_to(path.name))
        yield f"{name} a device", _replace(name, lambda path: path.symlink_to("/dev/zero"))
        yield (
            f"{name} a hard link",
            _bind(_add_hard_link, name),
        )
        yield f"{name} cut", _bind(lambda folder, name: os.truncate(folder / name, 40), name)
        yield f"{name} endless", _bind(lambda folder, name: os.truncate(folder / name, 1 << 32), name)
        yield f"{name.upper()} added", _bind(lambda folder, name: (folder / name.upper()).touch(), name)
    for name in ("extra", "model.onnx.data", "lib.so", ".hidden", "a\nb", "\x1b[2J", "\udcff", "..."):
        yield f"extra file {name!a}", _bind(lambda folder, name: (folder / name).touch(), name)
    yield "signature a link", lambda folder: (folder / "manifest.json.sig").symlink_to(SECRET)
    yield "signature a FIFO", lambda folder: os.mkfifo(folder / "manifest.json.sig")
    yield "signature too large", lambda folder: (folder / "manifest.json.sig").write_bytes(b"x" * 5000)


# --- the manifest ---


def _change_manifest(change: Callable[[dict[str, Any]], object]) -> Corruption:
    def corrupt(folder: Path) -> None:
        manifest = json.loads((folder / "manifest.json").read_text())
        change(manifest)
        (folder / "manifest.json").write_text(json.dumps(manifest))

    return corrupt


def _list_fields(value: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the path of every field of the manifest that the program uses, including nested fields."""
    for name, part in value.items():
        if name in ("weight_type", "worst_matrix", "worst_relative_error", "relative_errors", "recipe"):
            continue
        yield (*path, name)
        if isinstance(part, dict):
            yield from _list_fields(part, (*path, name))


def _parent_of(manifest: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    for name in path[:-1]:
        manifest = manifest[name]
    return manifest


BAD_VALUES = {"null": None, "huge": 1e300, "NUL": "a\0b", "surrogate": "\ud800", "deep": [[[[[[[[1]]]]]]]]}
RAW_MANIFESTS = {
    "no UTF-8": b"\xff\xfe{}",
    "key twice": b'{"schema": "tinyedge.bundle/1", "schema": "tinyedge.bundle/1"}',
    "a list": b"[]",
    "NaN": b'{"schema": NaN}',
    "a number of 5,000 digits": b'{"schema": ' + b"9" * 5000 + b"}",
    "nested 100,000 deep": b'{"schema": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "too large": b"{}" + b" " * (1 << 20),
    "empty object": b"{}",
    "other schema": b'{"schema": "tinyedge.bundle/2"}',
}


def _set_field(path: tuple[str, ...], value: object) -> Corruption:
    return _change_manifest(lambda m: _parent_of(m, path).update({path[-1]: value}))


def _manifest_attacks() -> Iterator[tuple[str, Corruption]]:
    for path in _list_fields(json.loads((MICRO / "manifest.json").read_text())):
        where = ".".join(path)
        if where not in OPTIONAL:
            yield (
                f"{where} missing",
                _change_manifest(_bind(lambda m, path: _parent_of(m, path).pop(path[-1]), path)),
            )
        for name, value in BAD_VALUES.items():
            yield (
                f"{where} {name}",
                _set_field(path, value),
            )
    for name, raw in RAW_MANIFESTS.items():
        yield f"manifest {name}", _bind(lambda folder, raw: (folder / "manifest.json").write_bytes(raw), raw)
    for name in (SECRET, "/etc/passwd", "..", "", "a/b", "model.onnx\0"):
        entry = {"size": 6, "sha256": hashlib.sha256(b"secret").hexdigest()}
        yield (
            f"lists the file {name!a}",
            _set_field(("files", name), entry),
        )


# --- the model ---


def _change_model(make: Callable[[ModelProto], object]) -> Corruption:
    def corrupt(folder: Path) -> None:
        replace_model(folder, change_model((folder / "model.onnx").read_bytes(), make))

    return corrupt


def change_model(model: bytes, make: Callable[[ModelProto], object]) -> bytes:
    """Return a model after a change to it. Bytes that the change returns are appended to the file."""
    proto = onnx.load_model_from_string(model)
    more = make(proto)
    return bytes(proto.SerializeToString()) + (more if isinstance(more, bytes) else b"")


def replace_model(folder: Path, model: bytes) -> None:
    """Replace a bundle's model, and update its size and sha256 in the manifest."""
    (folder / "model.onnx").write_bytes(model)
    entry = {"size": len(model), "sha256": hashlib.sha256(model).hexdigest()}
    _change_manifest(lambda m: m["files"].update({"model.onnx": entry}))(folder)


def make_external_tensor(name: str = "w", location: str = SECRET) -> TensorProto:
    """Return a tensor whose data is in another file."""
    tensor = TensorProto(name=name, data_type=1, dims=[1], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=location)
    return tensor


def encode_varint(value: int) -> bytes:
    """Encode a number as a protobuf varint."""
    head = b""
    while value > 0x7F:
        head += bytes([value & 0x7F | 0x80])
        value >>= 7
    return head + bytes([value])


def encode_field(number: int, content: bytes | int) -> bytes:
    """Encode a protobuf field: a number, or bytes with their length."""
    if isinstance(content, int):
        return encode_varint(number << 3) + encode_varint(content)
    return encode_varint(number << 3 | 2) + encode_varint(len(content)) + content


def _make_inner_graph(tensor: TensorProto) -> GraphProto:
    return helper.make_graph([], "inner", [], [], initializer=[tensor])


def _make_node(operator: str = "Identity", domain: str = "", **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(operator, ["x"], ["y"], domain=domain, **attributes)


def _add_attribute(attribute: AttributeProto) -> Callable[[ModelProto], object]:
    def make(model: ModelProto) -> None:
        model.graph.node[0].attribute.append(attribute)

    return make


def _change_tensor(**changes: Any) -> Callable[[ModelProto], object]:
    """Change fields of the first tensor that has raw_data."""

    def make(model: ModelProto) -> None:
        tensor = next(t for t in model.graph.initializer if t.raw_data)
        for name, value in changes.items():
            if isinstance(value, list):
                del getattr(tensor, name)[:]
                getattr(tensor, name).extend(value)
            else:
                setattr(tensor, name, value)

    return make


def _change_data(change: Callable[[bytes], bytes]) -> Callable[[ModelProto], object]:
    def make(model: ModelProto) -> None:
        tensor = next(t for t in model.graph.initializer if t.raw_data)
        tensor.raw_data = change(tensor.raw_data)

    return make


def _add_node_with_graph(model: ModelProto, operator: str) -> None:
    model.graph.node.append(_make_node(operator, body=_make_inner_graph(TensorProto())))


def _add_function(model: ModelProto) -> None:
    body = [helper.make_node("Constant", [], ["y"], value=make_external_tensor())]
    model.functions.append(
        helper.make_function("local", "Hidden", [], ["y"], body, [helper.make_opsetid("", 20)])
    )


def _make_sparse_tensor() -> onnx.SparseTensorProto:
    one = helper.make_tensor("s", 1, [1], [1.0])
    return onnx.SparseTensorProto(values=one, indices=helper.make_tensor("i", 7, [1], [0]), dims=[1 << 40])


def _model_attacks() -> Iterator[tuple[str, Callable[[ModelProto], object]]]:
    tensor = _make_inner_graph(make_external_tensor())
    # data in other files, wherever a tensor can be
    for location in (SECRET, "/etc/passwd", "model.onnx", "", "*/_ORT_MEM_ADDR_/*"):
        yield (
            f"external {location}",
            _bind(lambda m, x: m.graph.initializer.append(make_external_tensor(location=x)), location),
        )
    yield "external by flag alone", _change_tensor(data_location=TensorProto.EXTERNAL)
    yield "external by data alone", lambda m: m.graph.initializer[0].external_data.add(key="location")
    yield (
        "external in a constant",
        lambda m: m.graph.node.append(_make_node("Constant", value=make_external_tensor())),
    )
    yield "external in an attribute", _add_attribute(helper.make_attribute("t", make_external_tensor()))
    yield (
        "external in a list",
        _add_attribute(helper.make_attribute("t", [make_external_tensor(), make_external_tensor()])),
    )
    yield "external in a graph", _add_attribute(helper.make_attribute("g", tensor))
    yield "external in graphs", _add_attribute(helper.make_attribute("g", [tensor, tensor]))
    deep = tensor
    for _ in range(10):
        outer = helper.make_node("If", ["c"], ["y"], then_branch=deep, else_branch=tensor)
        deep = helper.make_graph([outer], "outer", [], [])
    yield "external 10 graphs deep", _add_attribute(helper.make_attribute("g", deep))
    yield "external in a function", _add_function
    sparse = _make_sparse_tensor()
    sparse.values.CopyFrom(make_external_tensor())
    yield "external in a sparse tensor", lambda m: m.graph.sparse_initializer.append(sparse)
    yield (
        "external in training",
        lambda m: m.training_info.append(onnx.TrainingInfoProto(initialization=tensor)),
    )
    yield "sparse", lambda m: m.graph.sparse_initializer.append(_make_sparse_tensor())
    yield "sparse in an attribute", _add_attribute(helper.make_attribute("v", _make_sparse_tensor()))
    yield "training", lambda m: m.training_info.add()
    yield "a second graph", lambda m: encode_field(7, m.graph.SerializeToString())

    # operators
    for operator in ("Loop", "If", "Scan", "SequenceMap"):
        yield (
            operator,
            _bind(_add_node_with_graph, operator),
        )
    for operator in ("Expand", "ConstantOfShape", "Range", "RandomNormal", "StringNormalizer", "matmul", ""):
        yield f"operator {operator!a}", _bind(lambda m, x: m.graph.node.append(_make_node(x)), operator)
    for domain in ("evil", "ai.onnx.ml", "com.microsoft.nchwc", "COM.MICROSOFT", "ai.onnx.preview.training"):
        yield f"domain {domain}", _bind(lambda m, x: m.graph.node.append(_make_node("Identity", x)), domain)
        yield (
            f"imports {domain}",
            _bind(lambda m, x: m.opset_import.append(helper.make_opsetid(x, 1)), domain),
        )
    yield (
        "EPContext",
        lambda m: m.graph.node.append(_make_node("EPContext", "com.microsoft", ep_cache_context="x")),
    )
    yield "Gelu of a domain with NUL", lambda m: m.graph.node.append(_make_node("Gelu", "com.microsoft\0"))
    yield "an overload", lambda m: setattr(m.graph.node[0], "overload", "other")
    yield "opset 99", lambda m: setattr(m.opset_import[0], "version", 99)
    yield "opset -1", lambda m: setattr(m.opset_import[0], "version", -1)
    yield "IR version 99", lambda m: setattr(m, "ir_version", 99)
    yield "IR version missing", lambda m: m.ClearField("ir_version")

    # sizes
    yield "100,000 nodes", lambda m: m.graph.node.extend([_make_node()] * 100_000)
    yield "3,000 nodes", lambda m: m.graph.node.extend([_make_node()] * 3_000)
    yield "3,000 tensors", lambda m: m.graph.initializer.extend([TensorProto(data_type=1, dims=[0])] * 3_000)
    yield "100,000 inputs of a node", lambda m: m.graph.node[0].input.extend(["x"] * 100_000)
    yield "100,000 integers", _add_attribute(helper.make_attribute("i", range(100_000)))
    for dims in ([-1], [1 << 62, 4], [1 << 33, 1 << 31], [65536, 65536], [70000], [1] * 9, [0, 1 << 60]):
        yield f"dims {dims}", _change_tensor(dims=dims)
    for bad_type in (0, 8, 15, 99, -1):
        yield f"data type {bad_type}", _change_tensor(data_type=bad_type)
    yield "a byte short", _change_data(lambda data: data[:-1])
    yield "a byte more", _change_data(lambda data: data + b"x")
    yield "no data", _change_tensor(raw_data=b"")
    yield "two kinds of data", _change_tensor(float_data=[1.0])
    yield (
        "data of another type",
        lambda m: m.graph.initializer.append(TensorProto(name="w", data_type=7, dims=[1], float_data=[1.0])),
    )
    yield (
        "texts as data",
        lambda m: m.graph.initializer.append(
            TensorProto(name="w", data_type=8, dims=[1], string_data=[b"x"])
        ),
    )
    yield "one name twice", lambda m: m.graph.initializer.append(copy.deepcopy(m.graph.initializer[0]))
    yield "a segment", lambda m: setattr(m.graph.initializer[0].segment, "end", 1)
    yield (
        "a huge input",
        lambda m: setattr(m.graph.input[0].type.tensor_type.shape.dim[0], "dim_value", 1 << 60),
    )
    yield (
        "an input of a sequence",
        lambda m: setattr(m.graph.input[0].type.sequence_type.elem_type.tensor_type, "elem_type", 1),
    )
    yield "an input without a type", lambda m: m.graph.input[0].ClearField("type")

    # names and comments
    for name, text in {"long": "x" * 300, "control": "a\x1b[2J", "other": "ñ", "NUL": "a\0"}.items():
        yield f"{name} node name", _bind(lambda m, x: setattr(m.graph.node[0], "name", x), text)
        yield f"{name} tensor name", _bind(lambda m, x: setattr(m.graph.initializer[0], "name", x), text)
    yield "metadata", lambda m: m.metadata_props.add(key="k", value="v")
    yield "metadata of a node", lambda m: m.graph.node[0].metadata_props.add(key="k", value="v")
    yield "a long note", lambda m: setattr(m, "doc_string", "x" * 10_000)
    yield (
        "an attribute of two values",
        _add_attribute(AttributeProto(name="a", type=AttributeProto.INT, i=1, s=b"x")),
    )
    yield "an attribute of no type", _add_attribute(AttributeProto(name="a", i=1))
    yield (
        "an attribute by reference",
        _add_attribute(AttributeProto(name="a", type=AttributeProto.INT, ref_attr_name="x")),
    )

    # the wire
    yield "an unknown field", lambda m: encode_field(99, b"x")
    yield "a group", lambda m: encode_varint(7 << 3 | 3)
    yield "an unknown wire type", lambda m: encode_varint(7 << 3 | 7)
    yield "a number of eleven bytes", lambda m: encode_varint(1 << 3) + b"\xff" * 10 + b"\x01"
    yield "a number longer than needed", lambda m: encode_varint(5 << 3) + b"\x81\x00"
    yield "a length beyond the end", lambda m: encode_varint(7 << 3 | 2) + encode_varint(1 << 40) + b"x"
    yield "a tag at the end", lambda m: encode_varint(2 << 3 | 2)
    yield "IR version twice", lambda m: encode_field(1, 10)
    yield "a field of the wrong type", lambda m: encode_field(2, 5)


MODELS: dict[str, Callable[[ModelProto], object]] = dict(_model_attacks())
RAW_MODELS = {
    "no protobuf": b"\x80PK" * 1000,
    "zeros": bytes(1000),
    "ones": b"\xff" * 1000,
    "ORT format": b"\x00\x00\x00\x00ORTM" + bytes(100),
    "no graph": encode_field(1, 10) + encode_field(8, encode_field(2, 20)),
    "a million empty fields": encode_field(1, 10) + encode_field(7, encode_field(1, b"") * 1_000_000),
    "a long list of numbers": encode_field(1, 10)
    + encode_field(7, encode_field(5, encode_field(5, b"\x01" * 20_000_000))),
}

BUNDLES: dict[str, Corruption] = {
    **dict(_folder_attacks()),
    **dict(_manifest_attacks()),
    **{f"model: {name}": _change_model(make) for name, make in MODELS.items()},
    **{f"model: {name}": _bind(replace_model, raw) for name, raw in RAW_MODELS.items()},
}
