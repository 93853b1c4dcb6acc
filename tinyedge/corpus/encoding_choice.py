"""Choose among old encodings by the characters that they give to a sample of bytes.

In: a sample of lines that are not ASCII. Out: encodings, the best first. The library chardet compares them by
language; where it finds them equal, characters that no text has at such a place decide. Does not read files.
"""

import itertools
import re
import unicodedata
from dataclasses import dataclass

from tinyedge.core.errors import MissingDependencyError

SAMPLE_BYTES = 1 << 18
# Encodings that plain text still has, the likeliest first: of those that fit equally well the first is taken.
# Windows-1252 contains ISO 8859-1, cp949 contains EUC-KR, cp932 is Microsoft's Shift JIS.
_CANDIDATES = [
    *("cp1252", "mac-roman", "cp850", "cp437", "cp1250", "iso8859-2", "cp852", "cp1251", "mac-cyrillic"),
    *(
        "koi8-r",
        "koi8-u",
        "cp866",
        "iso8859-5",
        "cp1253",
        "iso8859-7",
        "cp1254",
        "cp1255",
        "cp1256",
        "cp1257",
    ),
    *("cp874", "cp932", "euc_jis_2004", "gb18030", "big5hkscs", "cp949"),
]
_WESTERN = _CANDIDATES[:4]
# Texts in these encodings hold short lines that are valid UTF-8 by chance.
RESEMBLES_UTF_8 = ("cp866", "cp932", "euc_jis_2004", "gb18030", "big5hkscs", "cp949")
_SAME_FIT = 0.97  # candidates with this share of the best confidence fit equally well
_MIN_CONFIDENCE = 0.15  # below it there are too few characters to tell; a line of prose reaches 0.2
MAX_COMPARED_CHARS = 20_000  # characters that are not ASCII
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")
# The six bytes in which Turkish cp1254 differs from Windows-1252: Ğ İ Ş ğ ı ş, there the letters Ð Ý Þ ð ý þ.
# Of the languages of Windows-1252, Icelandic and Faroese use them, and á í ó ú æ about as often.
_TURKISH = re.compile(rb"[\xd0\xdd\xde\xf0\xfd\xfe]")
_ICELANDIC = re.compile(rb"[\xc1\xc6\xcd\xd3\xda\xe1\xe6\xed\xf3\xfa]")
_SERBIAN = re.compile("[ЂЃЉЊЌЋЏђѓљњќћџ]")  # cp1251 has them where Mac Cyrillic has the capitals of all others
_MIN_TURKISH = 2  # different letters of these six
_MIN_TURKISH_SHARE = 4  # Turkish letters for each Icelandic one, at least


@dataclass(frozen=True)
class EncodingChoice:
    """Encodings that fit a sample."""

    names: tuple[str, ...]
    """Names as Python knows them, the best first; Windows-1252 is the last resort."""
    is_certain: bool
    """Whether the sample holds enough characters to tell."""


def choose_encodings(sample: bytes) -> EncodingChoice:
    """Return the encodings that fit a sample that is not UTF-8, Windows-1252 first in doubt.

    Raises:
        MissingDependencyError: chardet is not installed.
    """
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
    if "cp1251" in fitting and "mac-cyrillic" not in fitting:
        fitting.append("mac-cyrillic")  # the same letters but for the capitals and я
    unlikely = {name: _count_unlikely(sample, name) for name in fitting}
    # Stable: the likeliest stays first.
    fitting.sort(key=lambda name: (unlikely[name], len(_SERBIAN.findall(sample.decode(name, "replace")))))
    is_certain = best >= _MIN_CONFIDENCE or _is_same_text(
        sample, [name for name in fitting if unlikely[name] == unlikely[fitting[0]]]
    )
    if fitting[0] in ("cp1254", *_WESTERN) and _is_turkish(sample, unlikely[fitting[0]]):
        fitting.insert(0, "cp1254")
        is_certain = True
    return EncodingChoice((*dict.fromkeys(fitting), _CANDIDATES[0]), is_certain)


def _is_same_text(sample: bytes, names: list[str]) -> bool:
    """Whether a sample is the same text in all these encodings."""
    return len({sample.decode(name, "replace") for name in names}) == 1


def _is_turkish(sample: bytes, unlikely: int) -> bool:
    """Whether the sample has letters of Turkish, and no more unlikely characters than the best encoding."""
    found = _TURKISH.findall(sample)
    if len(set(found)) < _MIN_TURKISH or len(found) <= _MIN_TURKISH_SHARE * len(_ICELANDIC.findall(sample)):
        return False
    return _count_unlikely(sample, "cp1254") <= unlikely


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
        is_at_wrong_end = before.isalpha() and char in "‚„‹¡¿ˆ¢£¤¥"  # these open a word, or a number
        return is_inside_word or is_at_wrong_end or unicodedata.category(char) in ("Cc", "Cn", "Co")
    is_wrong_case = (char.isupper() and before.islower()) or (char.islower() and after.isupper())
    if unicodedata.name(char, "").startswith("LATIN"):
        return is_wrong_case
    return is_wrong_case or ((before + after).isascii() and (before.isalpha() or after.isalpha()))
