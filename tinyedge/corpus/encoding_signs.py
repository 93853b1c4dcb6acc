"""Recognize encodings that leave certain signs: UTF-16 without a mark, 7-bit encodings, EBCDIC.

In: the first bytes of a text, or a sample of its lines. Out: the names of encodings that the signs allow; the
caller decodes the complete text to be sure. Does not read files.
"""

import base64
import binascii
import re
import unicodedata

HEAD_BYTES = 1 << 16  # of a file, to recognize UTF-16 and EBCDIC
# Sequences that change the character set in ISO 2022. A terminal's sequences begin in ESC [ or ESC (.
_ISO_2022_JP = re.compile(rb"\x1b\$[@B]|\x1b\([IJ]|\x1b\$\([DOPQ]")
_ISO_2022_KR = b"\x1b$)C"
_ISO_2022_NAMES = ("iso2022_jp", "iso2022_jp_ext", "iso2022_jp_2", "iso2022_jp_2004")
_PLUS = re.compile(rb"\+([A-Za-z0-9+/]*)(-?)")
_HZ = re.compile(rb"~\{((?:[!-w][!-~])+)~\}")
_MIN_SEQUENCES = 3  # of UTF-7 and HZ: fewer may be formulas or code
# EBCDIC: the space is 0x40 and hardly ever 0x20; small letters are 0x81 to 0xA9, capitals 0xC1 to 0xE9.
_EBCDIC_LETTERS = bytes(
    first + number for first, size in ((0x81, 9), (0x91, 9), (0xA2, 8)) for number in range(size)
)
_EBCDIC_LETTERS += bytes(letter + 0x40 for letter in _EBCDIC_LETTERS)
_MIN_EBCDIC_SHARE = 0.5
_MIN_EBCDIC_SPACES = 0.04
_EBCDIC_NAMES = ("cp037", "cp500", "cp273")  # United States, international, Germany: other accents and signs
EBCDIC = frozenset(_EBCDIC_NAMES)
_SIGN_IN_WORD = re.compile(r"(?<=[a-z])[^\w\s'.,:;/()&*+=<>_-](?=[a-z])")


def find_unmarked_utf_16(head: bytes) -> str:
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


def has_seven_bit_signs(line: bytes) -> bool:
    """Whether a line of ASCII has bytes with which a 7-bit encoding marks other characters."""
    return b"\x1b$" in line or b"\x1b(" in line or b"+" in line or b"~{" in line


def find_seven_bit(sample: bytes) -> tuple[str, ...]:
    """Return the 7-bit encodings that lines of ASCII may be in; empty if they are ASCII.

    Args:
        sample: Lines for which `has_seven_bit_signs` is true.
    """
    if _ISO_2022_KR in sample:
        return ("iso2022_kr",)
    if _ISO_2022_JP.search(sample):
        return _ISO_2022_NAMES
    if _is_hz(sample):
        return ("hz",)
    return ("utf-7",) if _is_utf_7(sample) else ()


def find_ebcdic(head: bytes) -> str:
    """Return the EBCDIC code page of a text's first bytes, or "" if they are not certainly EBCDIC."""
    size = max(1, len(head))
    letters = len(head) - len(head.translate(None, delete=_EBCDIC_LETTERS))
    spaces = head.count(b"\x40")
    if (
        letters < _MIN_EBCDIC_SHARE * size
        or spaces < _MIN_EBCDIC_SPACES * size
        or head.count(b" ") * 50 > spaces
    ):
        return ""
    return min(_EBCDIC_NAMES, key=lambda name: len(_SIGN_IN_WORD.findall(head.decode(name))))


def _is_utf_7(sample: bytes) -> bool:
    """Whether each "+" begins a character that is not ASCII, or stands for itself as "+-"."""
    found = [(match[1], match[2]) for match in _PLUS.finditer(sample)]
    sequences = [code for code, end in found if code or not end]
    return len(sequences) >= _MIN_SEQUENCES and all(map(_is_utf_7_sequence, sequences))


def _is_utf_7_sequence(code: bytes) -> bool:
    size = len(code) * 6 // 16 * 2
    try:
        data = base64.b64decode(code + b"=" * (-len(code) % 4), validate=True)
        text = data[:size].decode("utf-16-be")
    except (binascii.Error, UnicodeDecodeError):
        return False
    # The bits after the last character are zero; in "+foo" or "+123" they rarely are.
    is_padded = len(code) == -(-size * 8 // 6) and not any(data[size:])
    return bool(text) and is_padded and any(map(_is_text, text)) and all(map(_is_assigned, text))


def _is_text(char: str) -> bool:
    return not char.isascii()


def _is_assigned(char: str) -> bool:
    return unicodedata.category(char) not in ("Cc", "Cn", "Co", "Cs") or char in "\r\n\t"


def _is_hz(sample: bytes) -> bool:
    """Whether "~{" and "~}" enclose common Chinese characters, which "~{name~}" does not contain."""
    sequences = _HZ.findall(sample)
    leads = b"".join(sequence[::2] for sequence in sequences)
    common = sum(lead <= 0x57 for lead in leads)
    return len(sequences) >= _MIN_SEQUENCES and common >= 0.8 * len(leads)
