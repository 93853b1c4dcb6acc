"""The wire format: exact values, and refusal of everything that two readers could interpret differently."""

import re

import pytest

from tests.support.hostile import encode_field, encode_varint
from tinyedge.bundle.protobuf import BYTES, FLOAT, INTEGER, MAX_TEXT_BYTES, Field, Message, Reader

MESSAGE = Message(
    "a thing",
    {
        1: Field("number", INTEGER),
        2: Field("numbers", INTEGER, repeated=True),
        3: Field("data", BYTES),
        4: Field("name", BYTES, text=True),
        5: Field("share", FLOAT),
        6: Field("shares", FLOAT, repeated=True),
    },
    {7: "a trap"},
)
ONE = b"\x00\x00\x80\x3f"


def read(data: bytes, limit: int = 100) -> dict[str, object]:
    return Reader(limit).read(memoryview(data), MESSAGE)


def test_an_empty_message_has_no_fields() -> None:
    assert read(b"") == {}


@pytest.mark.parametrize("value", [0, 1, 127, 128, 300, 1 << 32, (1 << 64) - 1])
def test_numbers_single_repeated_and_packed(value: int) -> None:
    assert read(encode_field(1, value)) == {"number": value}
    assert read(
        encode_field(2, value) + encode_field(2, 7) + encode_field(2, encode_varint(value) + encode_varint(5))
    ) == {"numbers": [value, 7, value, 5]}


def test_data_is_a_view_of_the_same_memory() -> None:
    data = bytearray(encode_field(3, b"weights"))
    found = Reader(1).read(memoryview(data), MESSAGE)["data"]
    data[-1] = ord("!")
    assert bytes(found) == b"weight!"


def test_floats_packed_or_not() -> None:
    one = encode_varint(5 << 3 | 5) + ONE
    assert read(one) == {"share": ONE}
    more = encode_varint(6 << 3 | 5) + ONE + encode_field(6, ONE * 2)
    assert read(more) == {"shares": [ONE, ONE * 2]}


def test_names_up_to_the_maximum_length() -> None:
    assert read(encode_field(4, b"a name")) == {"name": "a name"}
    assert read(encode_field(4, b"x" * MAX_TEXT_BYTES)) == {"name": "x" * MAX_TEXT_BYTES}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (encode_field(9, b""), "a thing has an unknown field 9"),
        (encode_field(7, b""), "a thing has a trap"),
        (encode_field(0, b""), "a thing has an unknown field 0"),
        (encode_field(1, 1) * 2, "a thing has more than one number"),
        (encode_field(3, b"") * 2, "a thing has more than one data"),
        (encode_field(3, b"abc")[:-1], "a thing is truncated"),
        (encode_varint(5 << 3 | 5) + ONE[:3], "a thing is truncated"),
        (encode_varint(5 << 3 | 5), "a thing is truncated"),
        (encode_varint(3 << 3 | 2), "a thing is truncated"),
        (encode_varint(1 << 3) + b"\x80", "a thing is truncated"),
        (encode_varint(1 << 3) + b"\x80\x00", "not encoded in its shortest form"),
        (encode_varint(1 << 3) + b"\xff" * 9 + b"\x02", "not encoded in its shortest form"),
        (encode_varint(1 << 3) + b"\xff" * 11, "not encoded in its shortest form"),
        (b"\x88\x00\x01", "not encoded in its shortest form"),
        (encode_field(1, b"x"), "a thing has a number of wire type 2"),
        (encode_field(3, 1), "a thing has a data of wire type 0"),
        (encode_varint(2 << 3 | 5) + ONE, "a thing has a numbers of wire type 5"),
        (encode_field(6, ONE + b"x"), "the length of a list of floats is not a multiple of 4"),
        (encode_field(2, b"\x01\x80"), "a thing is truncated"),
        *((encode_varint(1 << 3 | wire) + bytes(8), f"wire type {wire}") for wire in (1, 3, 4, 6, 7)),
        (encode_field(4, b"x" * (MAX_TEXT_BYTES + 1)), "a name has 257 bytes, more than 256"),
        (encode_field(4, b"a\nb"), "a name has characters other than printable ASCII"),
        (encode_field(4, b"\xff"), "a name has characters other than printable ASCII"),
        (encode_field(3, b"") * 5, "more than one data"),
    ],
)
def test_invalid_messages_are_refused(data: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)):
        read(data)


@pytest.mark.parametrize("data", [encode_field(2, 1) * 11, encode_field(2, b"\x01" * 10)])
def test_the_limit_counts_every_field_and_every_packed_number(data: bytes) -> None:
    assert read(data, 11)["numbers"]
    with pytest.raises(ValueError, match="it has more than 10 fields"):
        read(data, 10)


def test_the_limit_counts_the_fields_of_all_messages() -> None:
    reader = Reader(3)
    reader.read(memoryview(encode_field(1, 1)), MESSAGE)
    with pytest.raises(ValueError, match="more than 3 fields"):
        reader.read(memoryview(encode_field(2, 1) * 3), MESSAGE)
