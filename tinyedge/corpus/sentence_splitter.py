"""Split prose into sentences by rules, written for English and Spanish.

In: a paragraph. Out: its sentences. A full stop, exclamation mark or question mark ends a sentence, unless
the word before it is an abbreviation or the text after it continues in lower case. Every rule depends only on
the word before and the word after, so a sentence is split the same way alone and in its paragraph. The
stops of other scripts end sentences too, in Chinese and Japanese without white space after them. Does not
know files or documents.
"""

import re
import unicodedata
from collections.abc import Iterator

MAX_SENTENCE_CHARS = 2_000  # the longest sentence in 42 MB of novels has about 1,900

# Never the end of a sentence: a name or an explanation follows.
_BEFORE_A_NAME = re.compile(
    "mr|mrs|ms|messrs|mme|mlle|dr|drs|prof|rev|hon|st|ste|gen|col|capt|cpt|lieut|lt|sgt|gov|sen|esq|"
    "sr|sra|srs|sres|srta|d|da|dn|dña|dra|fr|fray|mons|excmo|excma|ilmo|ilma|pbro|gral|cnel|"
    r"e\.g|i\.e|viz|cf|vs|p\.ej|ej"
)
# Abbreviations only before a number: "vol. 3", "cap. IV", but "He said no. Then he left."
_BEFORE_A_NUMBER = re.compile(
    "no|nos|nº|núms?|vols?|caps?|págs?|pags?|pp?|arts?|figs?|ch|chap|sec|lib|tom|jan|feb|aug|sept|oct|nov|dec"
)
_PLURAL_INITIALS = frozenset({"EE", "FF", "RR", "SS", "AA", "MM"})  # EE. UU., SS. MM.

_OPENERS = "\"'“‘«‹([{¿¡—–―-*_"
_CLOSERS = "\"'”’»›)]}*_」』）】〉》〕"
# Also Arabic, Urdu, Armenian and Ethiopic.
_SPACED_STOPS = ".!?…؟۔։።"
# Chinese and Japanese, also in half width; Hindi, Myanmar and Khmer: no white space has to follow.
_UNSPACED_STOPS = "。！？｡．।॥။។៕"
_STOPS = _SPACED_STOPS + _UNSPACED_STOPS
# Possessive, and only at the first of several stops: this keeps a line of a million dots linear in time.
_END = re.compile(
    rf"(?<![{_STOPS}])(?:[{_SPACED_STOPS}]*+[{_UNSPACED_STOPS}][{_STOPS}]*+[{re.escape(_CLOSERS)}]*+(?=.)"
    rf"|[{_SPACED_STOPS}]++[{re.escape(_CLOSERS)}]*+(?=\s|[—–―]))"
)
_NEXT = re.compile(rf"[^\s{re.escape(_OPENERS)}]")
_BREAK = re.compile(r"[\s—–―]")
_INITIALS = re.compile(r"(?:[^\W\d_]\.)*[^\W\d_]")
_NUMBER = re.compile(r"\d|[IVXLCDM]+\b")
# The dots between a title and its page in a table of contents: "Intro ........ 3", "Intro . . . . xi".
# The next title may follow.
_LEADER_END = re.compile(r"(?:\.{4,}|\.(?: \.){3,}) ?(?=(?:\d{1,5}|[ivxlcdmIVXLCDM]{1,7})(?:$| [A-ZÀ-Þ\d]))")
_LEADER_CHARS = 7  # "....", or ". . . ."
_LONGEST_ABBREVIATION = 12  # characters examined before a full stop


def split_sentences(text: str) -> list[str]:
    """Split a text into sentences.

    Only white space is dropped. Splitting a sentence again returns the same sentence.

    Returns:
        Sentences in NFC with white space collapsed; none is empty or longer than MAX_SENTENCE_CHARS.
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
    """Whether the stop at `end` ends the sentence that begins at `start`."""
    if end[0].endswith(".") and _LEADER_END.match(text, _find_leader(text, start, end.end())):
        return False
    following = _NEXT.search(text, end.end())
    if following is None or following[0].islower() or following[0] in _STOPS + _CLOSERS + ",;:，、；：،؛":
        return False
    if end[0] == "．" and following[0].isdigit():  # a decimal number in full width
        return False
    if end[0][-1] in _CLOSERS and following[0] == "と":  # Japanese "said", after a quotation
        return False
    return not (end[0] == "." and _is_abbreviation(text, start, end.start(), following.start()))


def _find_leader(text: str, start: int, stop: int) -> int:
    """Return where the run of dots that ends at `stop` begins; they may be spaced."""
    begin = stop
    for place in range(stop - 1, max(start, stop - _LEADER_CHARS) - 1, -1):
        if text[place] == ".":
            begin = place
        elif text[place] != " " or text[place + 1] != ".":
            break
    return begin


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
        return bool(wanted)  # a digit only: the I of "No. I think so" is not a Roman number
    return word != "I" and word.isupper() and _INITIALS.fullmatch(word) is not None


def _limit_length(sentence: str) -> Iterator[str]:
    """Cut a sentence at white space where it is too long."""
    if len(sentence) <= MAX_SENTENCE_CHARS:
        yield sentence
        return
    while sentence:
        cut = len(sentence)
        if cut > MAX_SENTENCE_CHARS:
            space = sentence.rfind(" ", 0, MAX_SENTENCE_CHARS + 1)
            cut = space if space > 0 else MAX_SENTENCE_CHARS
        # A cut can separate an abbreviation from the text after it: splitting again makes the result stable.
        yield from _split(sentence[:cut])
        sentence = sentence[cut:].lstrip(" ")
