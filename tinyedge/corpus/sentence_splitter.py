"""A paragraph of English or Spanish prose in, its sentences out.

Rules, not statistics: a full stop, exclamation or question mark ends a sentence unless what stands before it
is an abbreviation or what follows goes on in lower case. Every rule looks only at the word before and the
word after, so a sentence splits alike alone and in its paragraph. Knows nothing of files or documents.
"""

import re
import unicodedata
from collections.abc import Iterator

MAX_SENTENCE_CHARS = 2_000  # the longest sentence of the 42 MB of novels this was tried on has about 1,900

# Never the end of a sentence: a name or the explanation follows.
_BEFORE_A_NAME = re.compile(
    "mr|mrs|ms|messrs|mme|mlle|dr|drs|prof|rev|hon|st|ste|gen|col|capt|cpt|lieut|lt|sgt|gov|sen|esq|"
    "sr|sra|srs|sres|srta|d|da|dn|dña|dra|fr|fray|mons|excmo|excma|ilmo|ilma|pbro|gral|cnel|"
    r"e\.g|i\.e|viz|cf|vs|p\.ej|ej"
)
# An abbreviation only before a number: "vol. 3", "cap. IV", but "He said no. Then he left."
_BEFORE_A_NUMBER = re.compile(
    "no|nos|nº|núms?|vols?|caps?|págs?|pags?|pp?|arts?|figs?|ch|chap|sec|lib|tom|jan|feb|aug|sept|oct|nov|dec"
)
_PLURAL_INITIALS = frozenset({"EE", "FF", "RR", "SS", "AA", "MM"})  # EE. UU., SS. MM.

_OPENERS = "\"'“‘«‹([{¿¡—–―-*_"
_CLOSERS = "\"'”’»›)]}*_"
_STOPS = ".!?…"
# Possessive, and only at the first stop of a row: a line of a million dots takes no longer than any other.
_END = re.compile(rf"(?<![{_STOPS}])[{_STOPS}]++[{re.escape(_CLOSERS)}]*+(?=\s|[—–―])")
_NEXT = re.compile(rf"[^\s{re.escape(_OPENERS)}]")
_BREAK = re.compile(r"[\s—–―]")
_INITIALS = re.compile(r"(?:[^\W\d_]\.)*[^\W\d_]")
_NUMBER = re.compile(r"\d|[IVXLCDM]+\b")
_LONGEST_ABBREVIATION = 12  # characters looked at before a full stop


def split_sentences(text: str) -> list[str]:
    """The sentences of `text`: NFC, white space collapsed, none empty, none over MAX_SENTENCE_CHARS.

    Only white space is dropped. Splitting a sentence again gives the sentence.
    """
    text = " ".join(unicodedata.normalize("NFC", text).split())
    return list(_split(text))


def _split(text: str) -> Iterator[str]:
    start = 0
    for end in _END.finditer(text):
        if _ends_sentence(text, start, end):
            yield from _limit_length(text[start : end.end()])
            start = end.end() + (text[end.end()] == " ")
    if start < len(text):
        yield from _limit_length(text[start:])


def _ends_sentence(text: str, start: int, end: re.Match[str]) -> bool:
    """Whether the stop at `end` closes the sentence that began at `start`."""
    following = _NEXT.search(text, end.end())
    if following is None or following[0].islower() or following[0] in _STOPS + _CLOSERS + ",;:":
        return False
    return not (end[0] == "." and _is_abbreviation(text, start, end.start(), following.start()))


def _is_abbreviation(text: str, start: int, stop: int, following: int) -> bool:
    """Whether the full stop at `stop` belongs to the word before it."""
    begin = max(start, stop - _LONGEST_ABBREVIATION)
    word = _BREAK.split(text[begin:stop])[-1]
    if word.isdigit() and len(word) <= 3 and stop - len(word) == start:
        return True  # "1. The first of a list"
    word = word.lstrip(_OPENERS)
    if _BEFORE_A_NAME.fullmatch(word.lower()) or word in _PLURAL_INITIALS:
        return True
    if _BEFORE_A_NUMBER.fullmatch(word.lower()):
        wanted = text[following].isdigit() if word.lower() == "no" else _NUMBER.match(text, following)
        return bool(wanted)  # for "No. I think so", a Roman I is not enough
    return word != "I" and word.isupper() and _INITIALS.fullmatch(word) is not None


def _limit_length(sentence: str) -> Iterator[str]:
    """`sentence`, cut at white space where it is too long."""
    if len(sentence) <= MAX_SENTENCE_CHARS:
        yield sentence
        return
    while sentence:
        cut = len(sentence)
        if cut > MAX_SENTENCE_CHARS:
            space = sentence.rfind(" ", 0, MAX_SENTENCE_CHARS + 1)
            cut = space if space > 0 else MAX_SENTENCE_CHARS
        # A cut can part an abbreviation from what followed it: split again, so that the result is stable.
        yield from _split(sentence[:cut])
        sentence = sentence[cut:].lstrip(" ")
