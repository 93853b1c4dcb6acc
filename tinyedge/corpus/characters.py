"""Clean the characters of a text: control characters, invisible ones, and bytes of another encoding.

In: a line or a paragraph. Out: the same text, and in the notes how many characters were changed or dropped.
Does not know files or formats.
"""

import re

from tinyedge.corpus.read_notes import ReadNotes

SOFT_HYPHEN = "\u00ad"

# Characters that need any work: most lines have none. The last range is bytes that could not be decoded.
_SPECIAL = re.compile(
    "[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f\u00ad\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffc"
    "\ud800-\udfff]"
)
# Colours and titles of a terminal, as in a saved session.
_TERMINAL_SEQUENCE = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]{0,1000}(?:\x07|\x1b\\)|[()][0-9A-B])"
)
# Bold and underlined characters of a printer or of `man`: "N\bN" and "_\bN".
_OVERSTRUCK = re.compile("_\x08(?=[^\x08])|(?:(.)\x08)+(?=\\1)|(?<=[^_\x08])\x08_")
_CONTROL = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f]")
# U+0080 to U+009F mean nothing in a text. They come from Windows-1252 that was read as Latin-1, as
# `iconv -f LATIN1` does. HTML reads them as Windows-1252 too.
_C1 = re.compile("[\x80-\x9f]")
_HALF_CHARACTER = re.compile("[\ud800-\udfff]")  # half an emoji, where a program cut a text
UNDECODED = re.compile("[\udc80-\udcff]")  # a byte that could not be decoded
# Zero-width space, word joiner and its neighbours, byte-order mark, direction and annotation marks, and the
# place of an object. The joiners U+200C and U+200D stay: Persian, Hindi and emoji need them.
_INVISIBLE = re.compile("[\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffc]")
# A soft hyphen at the end of a line stays: it says that the word goes on.
_SOFT_HYPHEN_IN_LINE = re.compile(f"{SOFT_HYPHEN}(?!\\s*$)")
_LINE_BREAK = re.compile("\r\n|[\n\r\f\u2028\u2029]")
# Scripts without spaces between words: Han, Kana, Bopomofo, Thai, Lao, Myanmar, Khmer; and their punctuation.
UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u2fdf\u3000-\u312f\u31a0-\u31bf\u31f0-\u9fff\uf900-\ufaff\ufe30-\ufe4f"
    "\uff00-\uff9f\U00020000-\U0003ffff]"
)


def clean_characters(text: str, notes: ReadNotes) -> str:
    """Return a text without control and invisible characters; count what was changed."""
    if not _SPECIAL.search(text):
        return text
    text, terminal = _TERMINAL_SEQUENCE.subn("", text)
    text, overstruck = _OVERSTRUCK.subn("", text)
    text, control = _CONTROL.subn(" ", text)
    notes.count("control_characters", terminal + overstruck + control)
    text = repair_bytes(text, notes)
    text = drop_half_characters(text, notes)
    text, repaired = _C1.subn(lambda found: _to_windows_1252(ord(found[0])), text)
    notes.count("c1_characters", repaired)
    text, invisible = _INVISIBLE.subn("", text)
    text, soft = _SOFT_HYPHEN_IN_LINE.subn("", text)
    notes.count("invisible_characters", invisible + soft)
    return text


def repair_bytes(text: str, notes: ReadNotes) -> str:
    """Read the bytes that could not be decoded, which are U+DC80 to U+DCFF, as Windows-1252; count them."""
    text, number = UNDECODED.subn(lambda found: _to_windows_1252(ord(found[0]) - 0xDC00), text)
    notes.count("invalid_bytes", number)
    return text


def drop_half_characters(text: str, notes: ReadNotes) -> str:
    """Drop and count halves of characters; bytes that could not be decoded must be repaired before."""
    text, halves = _HALF_CHARACTER.subn("", text)
    notes.count("half_characters", halves)
    return text


def split_lines(text: str) -> list[str]:
    """Split a text at line breaks, page breaks and Unicode's line and paragraph separators."""
    return _LINE_BREAK.split(text)


def _to_windows_1252(byte: int) -> str:
    return bytes([byte]).decode("cp1252", "replace").replace("\ufffd", " ")
