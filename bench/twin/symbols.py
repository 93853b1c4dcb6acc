"""The functions of a shared library, by their places in its file: the symbol table of an ELF file of 64 bits.

In: a library that was not stripped. Out: the name of the function at an offset.
"""

import struct
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.twin.layout import TwinError

MAGIC = b"\x7fELF\x02\x01"  # 64 bits, little-endian
SYMBOL_TABLE, FUNCTION = 2, 2  # a section's type, a symbol's type
EXECUTABLE = 4  # a section's flag


@dataclass(frozen=True)
class Section:
    """A section header, as far as it is needed."""

    kind: int
    """Type; `SYMBOL_TABLE` for the table of symbols."""
    flags: int
    """Flags, such as `EXECUTABLE`."""
    address: int
    """Address of its first byte in memory, before relocation."""
    offset: int
    """Where it starts in the file, in bytes."""
    size: int
    """Length in bytes."""
    link: int
    """Of the table of symbols, the number of the section with their names."""


def read_sections(data: bytes) -> list[Section]:
    """The section headers of an ELF file. Raises TwinError if it is none, of 64 bits and little-endian."""
    if not data.startswith(MAGIC):
        raise TwinError("not an ELF file of 64 bits")
    (start,) = struct.unpack_from("<Q", data, 0x28)
    size, count = struct.unpack_from("<HH", data, 0x3A)
    headers = (struct.unpack_from("<IIQQQQI", data, start + index * size) for index in range(count))
    return [Section(*values) for _, *values in headers]


def read_code(path: Path) -> dict[int, bytes]:
    """The machine code of a library: the content of each executable section, by its offset in the file."""
    data = path.read_bytes()
    return {
        section.offset: data[section.offset : section.offset + section.size]
        for section in read_sections(data)
        if section.flags & EXECUTABLE
    }


class Functions:
    """The functions of a library that was not stripped."""

    def __init__(self, path: Path) -> None:
        """Read the symbols. Raises TwinError if there are none."""
        found = sorted(_list_functions(path.read_bytes()))
        if not found:
            raise TwinError(f"{path} has no symbols")
        self._starts, self._ends, self._names = zip(*found, strict=True)

    def find(self, offset: int) -> str:
        """The function whose code an offset in the file belongs to; "" for code of no function."""
        index = bisect_right(self._starts, offset) - 1
        return self._names[index] if index >= 0 and offset < self._ends[index] else ""


def _list_functions(data: bytes) -> Iterator[tuple[int, int, str]]:
    """Start and end in the file, and name, of each function of an ELF file."""
    sections = read_sections(data)
    for table in (section for section in sections if section.kind == SYMBOL_TABLE):
        names = sections[table.link].offset
        for symbol in struct.iter_unpack("<IBBHQQ", data[table.offset : table.offset + table.size]):
            name, info, _, number, address, size = symbol
            if info & 15 == FUNCTION and 0 < number < len(sections):
                section = sections[number]
                end = data.index(b"\0", names + name)
                start = address - section.address + section.offset
                yield start, start + size, data[names + name : end].decode()
