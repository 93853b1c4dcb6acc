"""Read the bytes of a text file as characters.

In: a text file, plain or gzipped. Out: its text or its lines, and the encoding that was used. Files are
streamed; no complete file or long line is in memory. Does not know formats.
"""

import codecs
import gzip
import io
import itertools
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

from tinyedge.core.errors import CorpusError
from tinyedge.corpus.read_notes import ReadNotes

CHUNK_BYTES = 1 << 16
MAX_LINE_CHARS = 1 << 18  # at most 1 MiB of UTF-8; a longer line is cut at white space
BYTE_ORDER_MARK = "\ufeff"
COMPRESSED = ".gz"

_BINARY = re.compile(
    r"[\x00-\x08\x0b\x0e-\x1f\x7f]"
)  # control characters that text does not contain; \t \n \f \r are allowed
_UTF_16_MARKS = ((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))


def read_lines(path: Path, notes: ReadNotes) -> Iterator[str]:
    """Stream the lines of a text file without line breaks; none is longer than MAX_LINE_CHARS.

    Raises:
        CorpusError: The file is not text; the message contains the byte offset.
    """
    newlines = io.IncrementalNewlineDecoder(decoder=None, translate=True)
    rest = ""
    for chunk, _ in read_text_chunks(path, notes):
        text = newlines.decode(chunk).replace("\f", "\n").replace(BYTE_ORDER_MARK, "")
        *lines, rest = (rest + text).split("\n")
        yield from itertools.chain.from_iterable(map(_cut_line, lines))
        if len(rest) > MAX_LINE_CHARS:
            *pieces, rest = _cut_line(rest)
            yield from pieces
    yield from _cut_line(rest)


def read_text_chunks(path: Path, notes: ReadNotes) -> Iterator[tuple[str, str]]:
    """Stream the text of a file, byte-order mark included, with the name of its encoding.

    Raises:
        CorpusError: The file is not text.
    """
    try:
        with open_file(path) as file:
            chunk = file.read(CHUNK_BYTES)
            encoding = next((name for mark, name in _UTF_16_MARKS if chunk.startswith(mark)), "utf-8")
            decoder = codecs.getincrementaldecoder(encoding)()
            offset = 0
            while chunk:
                yield _decode(path, decoder, encoding, chunk, offset), encoding
                offset += len(chunk)
                chunk = file.read(CHUNK_BYTES)
            _decode(path, decoder, encoding, b"", offset)
    except (EOFError, zlib.error, gzip.BadGzipFile) as failure:
        raise CorpusError(f"{path} is a damaged gzip file ({failure})", "compress or copy it again") from None
    except OSError as failure:
        raise CorpusError(f"{path} cannot be read: {failure.strerror}", "check its permissions") from None


def _decode(path: Path, decoder: codecs.IncrementalDecoder, encoding: str, chunk: bytes, offset: int) -> str:
    """Decode the bytes of a file at an offset; an empty chunk ends the file."""
    pending = len(decoder.getstate()[0])
    nul = chunk.find(0) if encoding == "utf-8" else -1
    if nul >= 0:
        where = describe_offset(path, offset + nul)
        hint = "exclude binary files; if it is UTF-16 text, convert it: iconv -f UTF-16LE -t UTF-8"
        raise CorpusError(f"{path} is not a text file: a NUL byte at {where}", hint)
    try:
        text = decoder.decode(chunk, final=not chunk)
    except UnicodeDecodeError as failure:
        where = describe_offset(path, offset - pending + failure.start)
        hint = "convert it first, for example: iconv -f LATIN1 -t UTF-8"
        raise CorpusError(f"{path} is not {encoding.upper()}: invalid byte at {where}", hint) from None
    control = _BINARY.search(text)
    if control:
        where = describe_offset(path, offset - pending + len(text[: control.start()].encode(encoding)))
        name = f"U+{ord(control[0]):04X}"
        raise CorpusError(f"{path} is not a text file: control character {name} at {where}", "exclude it")
    return text


def replace_control_characters(text: str, notes: ReadNotes) -> str:
    """Replace control characters that text does not contain by spaces, and count them."""
    text, number = _BINARY.subn(" ", text)
    notes.count("control_characters", number)
    return text


def _cut_line(line: str) -> Iterator[str]:
    """Cut a line at white space into parts of at most MAX_LINE_CHARS."""
    while len(line) > MAX_LINE_CHARS:
        space = max(line.rfind(" ", 0, MAX_LINE_CHARS), line.rfind("\t", 0, MAX_LINE_CHARS))
        cut = space + 1 or MAX_LINE_CHARS
        yield line[:cut]
        line = line[cut:]
    yield line


def open_file(path: Path) -> io.BufferedIOBase:
    """Open a file for reading bytes; a name in .gz is decompressed."""
    return gzip.open(path) if path.name.lower().endswith(COMPRESSED) else path.open("rb")


def describe_offset(path: Path, offset: int) -> str:
    """Return a byte offset in words."""
    return f"byte {offset}" + (" of the decompressed text" if path.name.lower().endswith(COMPRESSED) else "")
