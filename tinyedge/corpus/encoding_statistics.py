"""Count what all bytes of a file show about its encoding, and decode lines of UTF-8 that may be damaged.

In: blocks of complete lines. Out: counts, and samples of lines for `encoding_signs` and `encoding_choice`,
which name the encodings other than UTF-8. Does not read files.
"""

import codecs
import re

from tinyedge.corpus.characters import UNDECODED
from tinyedge.corpus.encoding_choice import SAMPLE_BYTES
from tinyedge.corpus.encoding_signs import HEAD_BYTES, has_seven_bit_signs

UTF_8 = "utf-8"
_MIN_VALID_SHARE = 10  # valid characters for each invalid byte in damaged UTF-8, at least
# Characters of several bytes in lines of valid UTF-8 that show UTF-8 next to lines in another encoding.
_MIN_UTF_8_CHARS = 3
# Control characters that text does not contain. Saved terminal sessions have \x1b and \b.
_CONTROL_BYTES = bytes(set(range(32)) - set(b"\t\n\f\r\b\x1b")) + b"\x7f"
_OTHER_BYTES = bytes(set(range(256)) - set(_CONTROL_BYTES))
MIN_BINARY_BYTES = 8  # a binary file has at least this many control characters,
MIN_BINARY_SHARE = 0.03  # and at least this share of its bytes. Compressed data has 0.1, text nearly none
_ASCII = re.compile(r"[\x00-\x7f]+")
_SURROGATES = re.compile(rb"\xed([\xa0-\xaf])([\x80-\xbf])\xed([\xb0-\xbf])([\x80-\xbf])")
_SURROGATE = re.compile(rb"\xed[\xa0-\xbf][\x80-\xbf]")
# Characters that two bytes of another encoding give when they are valid UTF-8 by chance, such as "É…" of
# Windows-1252 or "’é" of Mac Roman: letters of Latin Extended-B and phonetics, accents without a letter, and
# letters of Cyrillic to Arabic next to ASCII. Romanian, Vietnamese and Pinyin have their letters left out.
_RARE = re.compile(
    "[\u0180-\u019f\u01a2-\u01ae\u01b1-\u01cc\u01dd-\u0217\u021c-\u02b8\u02ee-\u02ff]"
    "|(?<![^\\W_])[\u0300-\u036f]|[A-Za-z][\u0400-\u07ff]|[\u0400-\u07ff](?=[A-Za-z])"
)
_PERHAPS_RARE = re.compile("[\u0180-\u036f\u0400-\u07ff]")  # faster; most lines have none
_LENIENT = "tinyedge.lenient"  # name of the handler of `_decode_invalid`


class ByteStatistics:
    """Counts and samples of all bytes of a file that show its encoding."""

    def __init__(self) -> None:
        self.head = b""
        self.size = 0
        self.nul_bytes = 0
        self._control_bytes = 0
        self.first_control = -1
        self.is_ascii = True
        self.ascii_sample = b""
        self.sample = b""
        self.other_sample = b""
        self._trailing_nul_bytes = 0
        self._characters = 0  # of several bytes, valid in UTF-8, in lines of UTF-8
        self._other_characters = 0  # the same, in other lines
        self._damaged_bytes = 0  # invalid, in lines of UTF-8
        self._invalid_bytes = 0

    @property
    def control_bytes(self) -> int:
        """Number of control characters, without NUL at the end: a power cut can leave it there."""
        return self._control_bytes - self._trailing_nul_bytes

    @property
    def utf_8_share(self) -> float:
        """Share of the characters that are not ASCII in lines of UTF-8."""
        total = self._characters + self._other_characters + self._invalid_bytes
        return self._characters / max(1, total)

    def add(self, block: bytes) -> None:
        """Count the next lines of the file."""
        self.head += block[: max(0, HEAD_BYTES - len(self.head))]
        controls = block.translate(None, delete=_OTHER_BYTES)
        if controls:
            if self.first_control < 0:
                self.first_control = self.size + min(map(block.find, set(controls)))
            self.nul_bytes += controls.count(0)
            self._control_bytes += len(controls)
        end = len(block.rstrip(b"\0"))
        self._trailing_nul_bytes = (0 if end else self._trailing_nul_bytes) + len(block) - end
        self.size += len(block)
        if not block.isascii():
            self.is_ascii = False
            self._count_utf_8(block)
        elif self.is_ascii and len(self.ascii_sample) < SAMPLE_BYTES and has_seven_bit_signs(block):
            lines = block.splitlines(keepends=True)
            self.ascii_sample += b"".join(line for line in lines if has_seven_bit_signs(line))

    def is_binary(self) -> bool:
        """Whether there are far more control characters than a text can have."""
        return self.control_bytes >= max(MIN_BINARY_BYTES, MIN_BINARY_SHARE * self.size)

    def is_utf_8(self) -> bool:
        """Whether the file is UTF-8, perhaps with damaged bytes or a few lines in another encoding."""
        if not self.other_sample and self._characters >= _MIN_UTF_8_CHARS:
            return True
        return self._characters + self._other_characters >= _MIN_VALID_SHARE * self._invalid_bytes

    def has_utf_8_lines(self) -> bool:
        """Whether lines of UTF-8 may be next to lines in another encoding."""
        return bool(self.other_sample) and self._characters >= _MIN_UTF_8_CHARS

    def _count_utf_8(self, block: bytes) -> None:
        has_room = len(self.sample) < SAMPLE_BYTES
        try:
            self._characters += _count_characters(block.decode(UTF_8))
            if has_room:
                self.sample += b"".join(
                    line for line in block.splitlines(keepends=True) if not line.isascii()
                )
            return
        except UnicodeDecodeError:
            pass
        for line in block.splitlines(keepends=True):
            if line.isascii():
                continue
            if has_room:
                self.sample += line
            _, valid, invalid = decode_utf_8(line)
            self._invalid_bytes += invalid
            if valid >= invalid:
                self._characters += valid
                continue
            self._other_characters += valid
            if len(self.other_sample) < SAMPLE_BYTES:
                self.other_sample += line


def _count_characters(text: str) -> int:
    """Count the characters that are not ASCII."""
    return 0 if text.isascii() else sum(map(len, _ASCII.split(text)))


def decode_utf_8(line: bytes) -> tuple[str, int, int]:
    """Return a line's text, and how many characters of several bytes and invalid bytes it has.

    Characters that are valid by chance count as invalid.
    """
    try:
        text = line.decode(UTF_8)
        invalid = 0
    except UnicodeDecodeError:
        text = line.decode(UTF_8, _LENIENT)
        invalid = len(UNDECODED.findall(text))
    valid = _count_characters(text) - invalid
    rare = len(_RARE.findall(text)) if _PERHAPS_RARE.search(text) else 0
    return (text, 0, valid) if rare and 2 * rare >= valid else (text, valid, invalid)


def _decode_invalid(failure: UnicodeError) -> tuple[str, int]:
    """Decode bytes that are invalid in UTF-8: halves of UTF-16 that a program wrote one by one (CESU-8).

    A pair is its character; a half without its other becomes U+FFFC, which is dropped. Any other byte arrives
    as with "surrogateescape".
    """
    if not isinstance(failure, UnicodeDecodeError):
        raise failure
    data, start = failure.object, failure.start
    if pair := _SURROGATES.match(data, start):
        a, b, c, d = (part[0] for part in pair.groups())
        return chr(0x10000 + ((a & 15) << 16 | (b & 63) << 10 | (c & 15) << 6 | d & 63)), pair.end()
    if half := _SURROGATE.match(data, start):
        return "\ufffc", half.end()
    return chr(0xDC00 + data[start]), start + 1


codecs.register_error(_LENIENT, _decode_invalid)
