"""Reader for a strict subset of the Protocol Buffers wire format, for untrusted files.

In: bytes, and a description of the allowed fields. Out: the fields; nested messages and data are views of the
same memory, nothing is copied. Does not know any message type. It is stricter than protobuf's own readers:
what they skip, merge or interpret (unknown fields, duplicate fields, varints that are not in their shortest
form, groups) is refused, so that no other reader can find anything in the file that was not checked.
"""

from collections.abc import Mapping
from typing import Any

MAX_TEXT_BYTES = 256  # the longest name that an exporter writes has about 60
MAX_VARINT_BYTES = 10  # enough for 64 bits
CONTINUATION_BIT = 0x80  # set in each byte of a varint except the last
INTEGER, BYTES, FLOAT = 0, 2, 5  # wire types: a varint, a length followed by that many bytes, four bytes


class Field:
    """An allowed field of a message.

    Attributes:
        name: Name of the field in the result.
        wire: Its wire type.
        repeated: Whether it may occur several times.
        text: Whether its value is a short string of printable ASCII characters, such as a name.
    """

    # Not a dataclass, and the wire types are not an Enum: creating them would slow down every start on the
    # device.
    __slots__ = ("name", "repeated", "text", "wire")

    def __init__(self, name: str, wire: int, repeated: bool = False, text: bool = False) -> None:
        self.name = name
        self.wire = wire
        self.repeated = repeated
        self.text = text


class Message:
    """A message type.

    Attributes:
        name: What to call it in an error message.
        fields: Allowed fields by number.
        refused: Names of fields that the format defines and this reader refuses, by number.
    """

    __slots__ = ("fields", "name", "refused")

    def __init__(self, name: str, fields: Mapping[int, Field], refused: Mapping[int, str] = {}) -> None:
        self.name = name
        self.fields = fields
        self.refused = refused


class Reader:
    """Reads messages with at most `limit` fields in total, which bounds the cost of reading a file."""

    def __init__(self, limit: int) -> None:
        self._limit = self._left = limit

    def read(self, data: memoryview, message: Message) -> dict[str, Any]:
        """Read one message.

        Args:
            data: The message's bytes.
            message: Description of the allowed fields.

        Returns:
            The fields that are present, by name. A value is an int (unsigned, 64 bits), a str or a view of
            `data`; for a repeated field, a list of them. A float is a view of 4 bytes, packed floats are one
            view of all of them.

        Raises:
            ValueError: The message is malformed, contains a field that is not allowed, or the limit is
                reached.
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
                    raise ValueError(
                        f"{message.name} has {message.refused.get(number, f'an unknown field {number}')}"
                    )
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
            raise ValueError(f"{message.name} is truncated") from None
        return found

    def _unpack(self, packed: memoryview, wire: int) -> list[Any]:
        """Return the values of a packed field."""
        if wire == FLOAT:
            if len(packed) % 4:
                raise ValueError("the length of a list of floats is not a multiple of 4")
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
    """Decode the varint of up to 64 bits at offset `at`.

    Returns:
        The number and the offset of the byte after it.

    Raises:
        IndexError: The data ends before the varint does.
        ValueError: The varint is not in its shortest form, or has more than 64 bits.
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
    raise ValueError("a number is not encoded in its shortest form")


def _decode_text(data: memoryview, name: str) -> str:
    if len(data) > MAX_TEXT_BYTES:
        raise ValueError(f"a {name} has {len(data)} bytes, more than {MAX_TEXT_BYTES}")
    text = str(data, "latin-1")
    if not (text.isascii() and text.isprintable()):
        raise ValueError(f"a {name} has characters other than printable ASCII")
    return text
