"""Read the bytes of a text file as characters, in the encoding that they are in.

In: a text file, plain or gzipped. Out: its text or its lines, and the name of the encoding. UTF-8 and UTF-16
are recognized here; for all others the library chardet compares the candidates. A file is streamed twice:
once to find the encoding, once to read. No complete file or long line is in memory. Does not know formats.
"""

import codecs
import gzip
import io
import itertools
import re
import unicodedata
import zlib
from collections.abc import Iterator
from pathlib import Path

from tinyedge.core.errors import CorpusError, MissingDependencyError
from tinyedge.corpus.characters import split_lines
from tinyedge.corpus.read_notes import ReadNotes

CHUNK_BYTES = 1 << 16
MAX_LINE_CHARS = 1 << 18  # at most 1 MiB of UTF-8; a longer line is cut at white space
SAMPLE_BYTES = 1 << 18  # of lines that are not ASCII, to find the encoding
BYTE_ORDER_MARK = "\ufeff"
COMPRESSED = ".gz"

UTF_8 = "utf-8"
WINDOWS_1252 = "windows-1252"
# UTF-32 first: its mark begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    (codecs.BOM_UTF8, UTF_8),
)
# Encodings that plain text still has, the likeliest first: of those that fit equally well the first is taken.
# Windows-1252 contains ISO 8859-1, cp949 contains EUC-KR, cp932 is Microsoft's Shift JIS.
_CANDIDATES = [
    *("cp1252", "mac-roman", "cp850", "cp437", "cp1250", "iso8859-2", "cp852", "cp1251", "koi8-r", "koi8-u"),
    *("cp866", "iso8859-5", "cp1253", "iso8859-7", "cp1254", "cp1255", "cp1256", "cp1257", "cp874"),
    *("cp932", "euc_jis_2004", "gb18030", "big5hkscs", "cp949"),
]
_WESTERN = _CANDIDATES[:4]
_SAME_FIT = 0.97  # candidates with this share of the best confidence fit equally well
_MIN_CONFIDENCE = 0.15  # below it there are too few characters to tell; a line of prose reaches 0.2
MAX_COMPARED_CHARS = 20_000  # characters that are not ASCII
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")
# Encodings whose invalid bytes are passed on as U+DC80 to U+DCFF: damaged UTF-8, and five undefined bytes.
_TOLERANT = (UTF_8, "cp1252")
_MIN_VALID_SHARE = 10  # so many valid characters for each invalid byte: damaged UTF-8, not another encoding

# Control characters that text does not contain. Saved terminal sessions have \x1b and \b.
_CONTROL_BYTES = bytes(set(range(32)) - set(b"\t\n\f\r\b\x1b")) + b"\x7f"
_OTHER_BYTES = bytes(set(range(256)) - set(_CONTROL_BYTES))
MIN_BINARY_BYTES = 8  # control characters in a binary file, at least;
MIN_BINARY_SHARE = 0.03  # and this share of its bytes. Compressed data has 0.1, text has none or a few
_UNDECODED = re.compile("[\udc80-\udcff]")
_ASCII = re.compile(r"[\x00-\x7f]+")


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
        errors = "strict"
    else:
        encoding = find_encoding(path)
        errors = "surrogateescape"
    notes.encoding = WINDOWS_1252 if encoding == "cp1252" else encoding
    is_start = True
    for chunk in _decode(path, encoding, errors):
        text = chunk.lstrip(BYTE_ORDER_MARK) if is_start else chunk
        is_start = is_start and not text
        yield text


def find_encoding(path: Path) -> str:
    """Return the encoding of a text file as Python names it, after reading all of the file.

    Raises:
        CorpusError: The file is not text, or cannot be read.
        MissingDependencyError: The file is neither UTF-8 nor UTF-16, and chardet is not installed.
    """
    statistics = _ByteStatistics()
    for chunk in _read_chunks(path):
        statistics.add(chunk)
    marked = next((name for mark, name in _MARKS if statistics.head.startswith(mark)), "")
    if marked and marked != UTF_8:
        _require_decodable(path, marked)
        return marked
    unmarked = _find_unmarked_utf_16(statistics.head) if statistics.nul_bytes else ""
    if unmarked and _is_decodable(path, unmarked):
        return unmarked
    statistics.finish()
    if statistics.is_binary():
        where = describe_offset(path, statistics.first_control)
        share = 100 * statistics.control_bytes / statistics.size
        found = f"{share:.0f}% of its bytes are control characters, the first at {where}"
        raise CorpusError(f"{path} is not a text file: {found}", "exclude binary files")
    if statistics.is_utf_8():
        return UTF_8
    return _choose_candidate(path, statistics.sample)


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


class _ByteStatistics:
    """What all bytes of a file say about its encoding."""

    def __init__(self) -> None:
        self.head = b""
        self.size = 0
        self.nul_bytes = 0
        self.control_bytes = 0
        self.first_control = -1
        self.sample = b""
        self._trailing_nul_bytes = 0
        self._characters = 0  # of several bytes, valid in UTF-8
        self._invalid_bytes = 0
        self._decoder = codecs.getincrementaldecoder(UTF_8)("surrogateescape")

    def add(self, chunk: bytes) -> None:
        """Count the next bytes of the file."""
        self.head = self.head or chunk
        controls = chunk.translate(None, delete=_OTHER_BYTES)
        if controls:
            if self.first_control < 0:
                self.first_control = self.size + min(map(chunk.find, set(controls)))
            self.nul_bytes += controls.count(0)
            self.control_bytes += len(controls)
        end = len(chunk.rstrip(b"\0"))
        self._trailing_nul_bytes = (0 if end else self._trailing_nul_bytes) + len(chunk) - end
        self.size += len(chunk)
        if not chunk.isascii() and len(self.sample) < SAMPLE_BYTES:
            lines = chunk.split(b"\n")
            whole = lines[1:-1] if len(lines) > 2 else [chunk]
            self.sample += b"\n".join(line for line in whole if not line.isascii()) + b"\n"
        self._count_utf_8(chunk, is_last=False)

    def finish(self) -> None:
        """Count what the end of the file shows; a tail of NUL, as a power cut leaves it, is no content."""
        self._count_utf_8(b"", is_last=True)
        self.control_bytes -= self._trailing_nul_bytes

    def is_binary(self) -> bool:
        """Whether there are far more control characters than a text can have."""
        return self.control_bytes >= max(MIN_BINARY_BYTES, MIN_BINARY_SHARE * self.size)

    def is_utf_8(self) -> bool:
        """Whether the file is UTF-8, perhaps with a few damaged bytes."""
        return self._characters >= _MIN_VALID_SHARE * self._invalid_bytes

    def _count_utf_8(self, chunk: bytes, is_last: bool) -> None:
        text = self._decoder.decode(chunk, final=is_last)
        if not text.isascii():
            invalid = len(_UNDECODED.findall(text))
            self._invalid_bytes += invalid
            self._characters += sum(map(len, _ASCII.split(text))) - invalid


def _find_unmarked_utf_16(head: bytes) -> str:
    """Return the byte order of UTF-16 without a mark, or "" if the bytes are not certainly UTF-16."""
    head = head[: len(head) // 2 * 2]
    for encoding in ("utf-16-le", "utf-16-be"):
        text = head.decode(encoding, "replace")
        spaces = sum(map(text.count, " \n\u3000\u3002\uff0c"))
        # In the other byte order a space is U+2000 and a line feed U+0A00; many characters are unassigned.
        unlikely = sum(
            unicodedata.category(char) in ("Cc", "Cn", "Co", "Cs") and char not in "\t\n\r\f" for char in text
        )
        if spaces * 200 >= len(text) and unlikely * 500 <= len(text) and "\ufffd" not in text[:-1]:
            return encoding
    return ""


def _choose_candidate(path: Path, sample: bytes) -> str:
    """Return the encoding of _CANDIDATES that fits a text that is not UTF-8 best, Windows-1252 in doubt."""
    try:
        import chardet
    except ImportError:
        raise MissingDependencyError("chardet", "documents") from None
    found = chardet.detect_all(
        sample,
        ignore_threshold=True,
        include_encodings=_CANDIDATES,
        compat_names=False,
        max_bytes=SAMPLE_BYTES,
    )
    confidence = {str(entry["encoding"]): float(entry["confidence"]) for entry in found}
    best = max(confidence.values(), default=0.0)
    fitting = [name for name in _CANDIDATES if confidence.get(name, 0.0) >= _SAME_FIT * best]
    if best < _MIN_CONFIDENCE:
        fitting = list(dict.fromkeys([*_WESTERN, *fitting]))
    fitting.sort(key=lambda name: _count_unlikely(sample, name))  # stable: the likeliest stays first
    return next((name for name in fitting if _is_decodable(path, name)), _CANDIDATES[0])


def _count_unlikely(sample: bytes, encoding: str) -> int:
    """Count the characters that an encoding puts where no text has them, such as "donÕt" or "fran‡ais"."""
    text = f" {sample.decode(encoding, 'replace')} "
    return sum(
        _is_unlikely(*text[found.start() - 1 : found.start() + 2])
        for found in itertools.islice(_NOT_ASCII.finditer(text), MAX_COMPARED_CHARS)
    )


def _is_unlikely(before: str, char: str, after: str) -> bool:
    if not char.isalpha():
        is_inside_word = before.isalpha() and after.isalpha() and char not in "’‘·-–—…\u00ad"
        return is_inside_word or unicodedata.category(char) in ("Cc", "Cn", "Co")
    if not unicodedata.name(char, "").startswith("LATIN"):
        return (before + after).isascii() and (before.isalpha() or after.isalpha())
    return (char.isupper() and before.islower()) or (char.islower() and after.isupper())


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


def _cut_line(line: str) -> Iterator[str]:
    """Cut a line at white space into parts of at most MAX_LINE_CHARS."""
    while len(line) > MAX_LINE_CHARS:
        space = max(line.rfind(" ", 0, MAX_LINE_CHARS), line.rfind("\t", 0, MAX_LINE_CHARS))
        cut = space + 1 or MAX_LINE_CHARS
        yield line[:cut]
        line = line[cut:]
    yield line
