"""Protocol Buffers' wire format, as much of it as a file from elsewhere may use.

In: bytes, and what a message may hold. Out: its fields; nested messages and data are views of the same
memory, nothing is copied. Knows no message by itself. It is stricter than protobuf's own readers: what they
skip, merge or guess (unknown fields, a field that comes twice, numbers of odd length, groups) is refused, so
that no reader can see anything else in the file than what was checked.
"""

from collections.abc import Mapping
from typing import Any

MAX_TEXT_BYTES = 256  # bytes; the longest name that an exporter writes has some 60
MAX_VARINT_BYTES = 10  # of 64 bits
CONTINUATION_BIT = 0x80  # set in each byte of a varint but its last
INTEGER, BYTES, FLOAT = 0, 2, 5  # wire types: a varint, a length and its bytes, four bytes


class Field:
    """A field that a message may have. wire: its type. text: it is a name, short and printable ASCII."""

    # Not a dataclass, and the wire types no Enum: every start of the device pays for what making those takes.
    __slots__ = ("name", "repeated", "text", "wire")

    def __init__(self, name: str, wire: int, repeated: bool = False, text: bool = False) -> None:
        self.name = name
        self.wire = wire
        self.repeated = repeated
        self.text = text


class Message:
    """What a message may hold, by field number. refused: fields that exist, and have no place here."""

    __slots__ = ("fields", "name", "refused")

    def __init__(self, name: str, fields: Mapping[int, Field], refused: Mapping[int, str] = {}) -> None:
        self.name = name
        self.fields = fields
        self.refused = refused


class Reader:
    """Reads messages until it has read `limit` fields in all: what a file costs to read is bounded."""

    def __init__(self, limit: int) -> None:
        self._limit = self._left = limit

    def read(self, data: memoryview, message: Message) -> dict[str, Any]:
        """The fields of a message that are there, by name.

        A value is an int (as unsigned 64 bits), a str, or a view; of a repeated field, a list of them.
        Floats are views of 4 bytes each, or of many where they are packed. Raises ValueError.
        """
        found: dict[str, Any] = {}
        fields = message.fields
        at, end = 0, len(data)
        try:
            while at < end:
                self._left -= 1
                if self._left < 0:
                    raise self._limit_exceeded()
                tag = data[at]
                at += 1
                if tag >= CONTINUATION_BIT:
                    tag, at = _decode_varint(data, at - 1)
                known = fields.get(tag >> 3)
                if known is None:
                    number = tag >> 3
                    raise ValueError(f"{message.name} has {message.refused.get(number, f'a field {number}')}")
                wire = tag & 7
                value: Any
                if wire == BYTES:
                    size = data[at]
                    at += 1
                    if size >= CONTINUATION_BIT:
                        size, at = _decode_varint(data, at - 1)
                    value = data[at : at + size]
                    at += size
                elif wire == INTEGER:
                    value, at = _decode_varint(data, at)
                elif wire == FLOAT:
                    value = data[at : at + 4]
                    at += 4
                else:
                    raise ValueError(f"{message.name} has a field of wire type {wire}")
                if at > end:
                    raise IndexError
                if wire != known.wire:
                    if wire != BYTES or not known.repeated:
                        raise ValueError(f"{message.name} has a {known.name} of wire type {wire}")
                    found.setdefault(known.name, []).extend(self._unpack(value, known.wire))
                    continue
                if known.text:
                    value = _decode_text(value, known.name)
                if known.repeated:
                    found.setdefault(known.name, []).append(value)
                elif known.name in found:
                    raise ValueError(f"{message.name} has more than one {known.name}")
                else:
                    found[known.name] = value
        except IndexError:
            raise ValueError(f"{message.name} is cut short") from None
        return found

    def _unpack(self, packed: memoryview, wire: int) -> list[Any]:
        """The values of a packed field."""
        if wire == FLOAT:
            if len(packed) % 4:
                raise ValueError("a list of floats has an odd length")
            return [packed]
        values, at = [], 0
        while at < len(packed):
            self._left -= 1
            if self._left < 0:
                raise self._limit_exceeded()
            value, at = _decode_varint(packed, at)
            values.append(value)
        return values

    def _limit_exceeded(self) -> ValueError:
        return ValueError(f"it has more than {self._limit} fields")


def _decode_varint(data: memoryview, at: int) -> tuple[int, int]:
    """The number of up to 64 bits at `at`, and where it ends; IndexError where the data ends before.

    Longer forms of a number are refused: ValueError.
    """
    value = data[at]
    if value < CONTINUATION_BIT:
        return value, at + 1
    value &= 0x7F
    for index in range(1, MAX_VARINT_BYTES):
        byte = data[at + index]
        value |= (byte & 0x7F) << 7 * index
        if byte < CONTINUATION_BIT:
            if byte == 0 or value >> 64:
                break
            return value, at + index + 1
    raise ValueError("a number is longer than it has to be")


def _decode_text(data: memoryview, name: str) -> str:
    if len(data) > MAX_TEXT_BYTES:
        raise ValueError(f"a {name} has {len(data)} bytes, more than {MAX_TEXT_BYTES}")
    text = str(data, "latin-1")
    if not (text.isascii() and text.isprintable()):
        raise ValueError(f"a {name} has characters that no name has")
    return text
