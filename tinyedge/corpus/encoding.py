"""Read the bytes of a text file as characters, in the encoding that they are in.

In: a text file, plain or gzipped. Out: its text or its lines, and the name of the encoding. UTF-8 is
recognized line by line by `encoding_statistics`: other lines of the same file may be in one other encoding.
`encoding_signs` recognizes UTF-16, 7-bit encodings and EBCDIC; `encoding_choice` compares all others. A file
is streamed twice: once to find the encoding, once to read. No complete file or long line is in memory. Does
not know formats.
"""

import codecs
import gzip
import io
import itertools
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tinyedge.core.errors import CorpusError
from tinyedge.corpus.characters import split_lines
from tinyedge.corpus.encoding_choice import RESEMBLES_UTF_8, choose_encodings
from tinyedge.corpus.encoding_signs import (
    EBCDIC,
    find_ebcdic,
    find_seven_bit,
    find_unmarked_utf_16,
)
from tinyedge.corpus.encoding_statistics import UTF_8, ByteStatistics, decode_utf_8
from tinyedge.corpus.read_notes import ReadNotes

CHUNK_BYTES = 1 << 16
MAX_LINE_CHARS = 1 << 18  # at most 1 MiB of UTF-8; a longer line is cut at white space
MAX_BLOCK_BYTES = 1 << 18  # a longer line is decoded in parts
BYTE_ORDER_MARK = "\ufeff"
COMPRESSED = ".gz"

WINDOWS_1252 = "windows-1252"
# UTF-32 first: its mark begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    (codecs.BOM_UTF8, UTF_8),
)
# Encodings whose invalid bytes are passed on as U+DC80 to U+DCFF: damaged UTF-8, and five undefined bytes.
_TOLERANT = (UTF_8, "cp1252")
# Share of the characters that are not ASCII in lines of UTF-8, next to lines in another encoding.
_MIN_UTF_8_SHARE = 0.01
_MIN_UTF_8_SHARE_BY_CHANCE = 0.25  # where the other encoding is one of RESEMBLES_UTF_8


@dataclass(frozen=True)
class FoundEncoding:
    """The encoding of a file."""

    name: str
    """Name as Python knows it."""
    other: str = ""
    """Encoding of the lines that are not UTF-8, in a file in UTF-8."""
    is_certain: bool = True
    """Whether the file has enough characters to tell."""


def read_lines(path: Path, notes: ReadNotes, encoding: str = "") -> Iterator[str]:
    """Stream the lines of a text file without line breaks; none is longer than MAX_LINE_CHARS.

    Args:
        path: The file.
        notes: Receives the encoding.
        encoding: The only encoding that is accepted; found if empty.

    Raises:
        CorpusError: The file is not text; raised before the first line.
    """
    rest = ""
    for chunk in read_text_chunks(path, notes, encoding):
        text = rest + chunk
        end = max(len(text.rstrip("\r")), len(text) - 3)  # the line feed may follow in the next chunk
        text, rest = text[:end], text[end:]
        # DOS text that was converted twice has "\r\r\n".
        *lines, last = split_lines(re.sub("\r+\n", "\n", text))
        yield from itertools.chain.from_iterable(map(_cut_line, lines))
        *pieces, last = _cut_line(last)
        yield from pieces
        rest = last + rest
    yield from itertools.chain.from_iterable(map(_cut_line, rest.split("\r")))


def read_text_chunks(path: Path, notes: ReadNotes, encoding: str = "") -> Iterator[str]:
    """Stream the text of a file without byte-order mark, and record its encoding in the notes.

    Bytes that are invalid in a file that is UTF-8 otherwise, or Windows-1252, arrive as U+DC80 to U+DCFF, as
    with Python's "surrogateescape".

    Args:
        path: The file.
        notes: Receives the encoding.
        encoding: The only encoding that is accepted, strictly; found if empty.

    Raises:
        CorpusError: The file is not text, or cannot be read; raised before the first chunk.
    """
    if encoding:
        found, chunks = FoundEncoding(encoding), _decode(path, encoding, "strict")
    else:
        found = detect_encoding(path)
        chunks = _decode_found(path, found, notes)
    notes.encoding = _get_shown_name(found.name)
    notes.count("uncertain_encodings", not found.is_certain)
    is_start = True
    for chunk in chunks:
        text = chunk.lstrip(BYTE_ORDER_MARK) if is_start else chunk
        is_start = is_start and not text
        yield text


def detect_encoding(path: Path) -> FoundEncoding:
    """Return the encoding of a text file after reading all of the file.

    Raises:
        CorpusError: The file is not text, or cannot be read.
        MissingDependencyError: The file is in an old encoding, and chardet is not installed.
    """
    statistics = ByteStatistics()
    for block in _read_blocks(path):
        statistics.add(block)
    marked = next((name for mark, name in _MARKS if statistics.head.startswith(mark)), "")
    if marked and marked != UTF_8:
        _require_decodable(path, marked)
        return FoundEncoding(marked)
    unmarked = find_unmarked_utf_16(statistics.head) if statistics.nul_bytes else find_ebcdic(statistics.head)
    if unmarked and _is_decodable(path, unmarked):
        return FoundEncoding(unmarked)
    if statistics.is_ascii:
        names = find_seven_bit(statistics.ascii_sample)
        seven_bit = next((name for name in names if _is_decodable(path, name)), "")
        if seven_bit:
            return FoundEncoding(seven_bit)
    if statistics.is_binary():
        where = describe_offset(path, statistics.first_control)
        share = 100 * statistics.control_bytes / statistics.size
        found = f"{share:.0f}% of its bytes are control characters, the first at {where}"
        raise CorpusError(f"{path} is not a text file: {found}", "exclude binary files")
    if not statistics.other_sample and statistics.is_utf_8():
        return FoundEncoding(UTF_8)
    if statistics.has_utf_8_lines():
        # A line in another encoding need not be decodable to the last byte: `_decode_lines` is lenient.
        choice = choose_encodings(statistics.other_sample)
        other = choice.names[0]
        is_mixed = statistics.is_utf_8() or statistics.utf_8_share >= _get_min_share(other)
        if is_mixed or not _is_decodable(path, other):
            return FoundEncoding(UTF_8, other, choice.is_certain)
    choice = choose_encodings(statistics.sample)
    name = next((name for name in choice.names if _is_decodable(path, name)), choice.names[-1])
    return FoundEncoding(name, is_certain=choice.is_certain)


def open_file(path: Path) -> io.BufferedIOBase:
    """Open a file for reading bytes; a name in .gz is decompressed."""
    return gzip.open(path) if path.name.lower().endswith(COMPRESSED) else path.open("rb")


def measure_mark(path: Path) -> int:
    """Return the number of bytes of a file's byte-order mark; 0 without one."""
    with open_file(path) as file:
        head = file.read(4)
    return next((len(mark) for mark, _ in _MARKS if head.startswith(mark)), 0)


def describe_offset(path: Path, offset: int) -> str:
    """Return a byte offset in words."""
    return f"byte {offset}" + (" of the decompressed text" if path.name.lower().endswith(COMPRESSED) else "")


def _get_min_share(other: str) -> float:
    return _MIN_UTF_8_SHARE_BY_CHANCE if other in RESEMBLES_UTF_8 else _MIN_UTF_8_SHARE


def _get_shown_name(encoding: str) -> str:
    return WINDOWS_1252 if encoding == "cp1252" else encoding


def _decode_found(path: Path, found: FoundEncoding, notes: ReadNotes) -> Iterator[str]:
    """Stream the text of a file in the encoding that was found, byte-order mark included."""
    if found.name == UTF_8:
        return _decode_lines(path, found.other, notes)
    chunks = _decode(path, found.name, "surrogateescape")
    # NEL is the line break of EBCDIC.
    return (chunk.replace("\x85", "\n") for chunk in chunks) if found.name in EBCDIC else chunks


def _decode_lines(path: Path, other: str, notes: ReadNotes) -> Iterator[str]:
    """Stream the text of a file in UTF-8, and count its lines in another encoding."""
    for block in _read_blocks(path):
        try:
            yield block.decode(UTF_8)
            continue
        except UnicodeDecodeError:
            pass
        texts = []
        for line in block.splitlines(keepends=True):
            text, valid, invalid = decode_utf_8(line)
            if other and valid < invalid:
                notes.other_encoding = _get_shown_name(other)
                notes.count("lines_in_other_encoding")
                text = line.decode(other, "surrogateescape")
            texts.append(text)
        yield "".join(texts)


def _is_decodable(path: Path, encoding: str) -> bool:
    try:
        _require_decodable(path, encoding)
    except CorpusError:
        return False
    return True


def _require_decodable(path: Path, encoding: str) -> None:
    """Raise CorpusError if a byte of the file is invalid in an encoding."""
    for _ in _decode(path, encoding, "surrogateescape" if encoding in _TOLERANT else "strict"):
        pass


def _decode(path: Path, encoding: str, errors: str) -> Iterator[str]:
    """Stream the text of a file, byte-order mark included.

    Raises:
        CorpusError: A byte is invalid; the message contains its offset.
    """
    errors = errors if encoding in _TOLERANT else "strict"
    decoder = codecs.getincrementaldecoder(encoding)(errors)
    offset = 0
    for chunk in itertools.chain(_read_chunks(path), [b""]):
        pending = len(decoder.getstate()[0])
        try:
            text = decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as failure:
            where = describe_offset(path, offset - pending + failure.start)
            hint = "convert it to UTF-8 from the encoding that it was saved in"
            raise CorpusError(f"{path} is not {encoding.upper()}: invalid byte at {where}", hint) from None
        offset += len(chunk)
        yield text


def _read_chunks(path: Path) -> Iterator[bytes]:
    """Stream the bytes of a file, decompressed.

    Raises:
        CorpusError: The file cannot be read.
    """
    try:
        with open_file(path) as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk
    except (EOFError, zlib.error, gzip.BadGzipFile) as failure:
        raise CorpusError(f"{path} is a damaged gzip file ({failure})", "compress or copy it again") from None
    except OSError as failure:
        raise CorpusError(f"{path} cannot be read: {failure.strerror}", "check its permissions") from None


def _read_blocks(path: Path) -> Iterator[bytes]:
    """Stream the bytes of a file in blocks that end with a line, or within a very long line.

    Raises:
        CorpusError: The file cannot be read.
    """
    rest = b""
    for chunk in _read_chunks(path):
        end = max(chunk.rfind(b"\n"), chunk.rfind(b"\r")) + 1
        if end:
            yield rest + chunk[:end]
            rest = b""
        rest += chunk[end:]
        if len(rest) >= MAX_BLOCK_BYTES:
            end = rest.rfind(b" ") + 1 or _find_character_start(rest)
            yield rest[:end]
            rest = rest[end:]
    if rest:
        yield rest


def _find_character_start(data: bytes) -> int:
    """Return where the last character of UTF-8 begins, or the length if the bytes are not UTF-8."""
    starts = (end for end in range(len(data) - 1, len(data) - 7, -1) if data[end] & 0xC0 != 0x80)
    return next((end for end in starts if end > 0), len(data))


def _cut_line(line: str) -> Iterator[str]:
    """Cut a line at white space into parts of at most MAX_LINE_CHARS."""
    while len(line) > MAX_LINE_CHARS:
        space = max(line.rfind(" ", 0, MAX_LINE_CHARS), line.rfind("\t", 0, MAX_LINE_CHARS))
        cut = space + 1 or MAX_LINE_CHARS
        yield line[:cut]
        line = line[cut:]
    yield line
