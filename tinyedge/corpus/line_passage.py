"""Evidence that lines of a text were hard-wrapped, or that they were not.

In: the lines of a passage, which is a run of lines without a blank line. Out: how much likelier they were
wrapped than written as single lines. Does not join lines, and does not know files or formats.

Two properties tell wrapped lines from headlines, verse, lists and chats:

- The share of lines that begin in lower case, of those that follow another line: .76 to .93 in wrapped novels
  in English, Spanish and German, at any width; .000 in headlines and verse; .001 to .020 with one sentence or
  one paragraph a line.
- Whether lines are full: a wrapped line would exceed the width of its passage if it also held the next line's
  first word. This works in scripts without upper and lower case, and for chats in lower case.

Each line break adds the logarithm of how much likelier it is in wrapped text. The shares of the first letters
in the tables are those above; the other numbers are rounded estimates, tested on text of each kind.
"""

import itertools
import math
import re
from dataclasses import dataclass
from typing import Any

from tinyedge.corpus.characters import SOFT_HYPHEN, UNSPACED

MIN_WIDTH = 24  # characters; narrower text is not wrapped: words, short verse
MIN_UNSPACED_WIDTH = 18  # the same for scripts without spaces: a line of Chinese verse has up to 16
OUTLIER = 1.25  # times the next lines; longer lines are web addresses, or unwrapped
NARROW, NARROW_EVIDENCE = 45, -2.5  # below this width verse is more frequent than wrapped prose; in nats
MAX_PASSAGE_EVIDENCE = 6.0  # in nats, of a passage for the ones around it
MIN_BREAKS = 4  # a passage with fewer takes the width of the page

FULL, NEAR, SHORT = "full", "near", "short"
LOWER, UPPER, OTHER, UNCASED = "lower", "upper", "other", "uncased"
NEAR_SHARE = 0.85  # of the width that a line and the next word fill: PDF text is wrapped at a width in points


def _to_logarithms(shares: dict[Any, float]) -> dict[Any, float]:
    return {what: math.log(share) for what, share in shares.items()}


# How full a line is, and how the next one begins, in wrapped text and in kept lines.
_WRAPPED_FILL = _to_logarithms({FULL: 0.74, NEAR: 0.20, SHORT: 0.06})
_KEPT_FILL = _to_logarithms({FULL: 0.12, NEAR: 0.20, SHORT: 0.68})
_WRAPPED_CASE = _to_logarithms({LOWER: 0.80, UPPER: 0.17, OTHER: 0.03})
_KEPT_CASE = _to_logarithms({LOWER: 0.01, UPPER: 0.90, OTHER: 0.09})
_KEPT_LOWER_CASE = _to_logarithms({LOWER: 0.60, UPPER: 0.31, OTHER: 0.09})  # chats and verse in lower case
# Where sentences end. With a paragraph a line they end inside too; verse has them at the ends of its lines.
INSIDE, AT_END = "inside", "end"
_WRAPPED_STOP = _to_logarithms({INSIDE: 0.85, AT_END: 0.15})
_KEPT_STOP = _to_logarithms({INSIDE: 0.5, AT_END: 0.5})
_KEPT_LOWER_STOP = _to_logarithms({INSIDE: 0.2, AT_END: 0.8})
_LOWER_CASE_SHARE = 0.1  # share of kept text that is in lower case
# A short wrapped line ends a paragraph, and rarely stands before a word in lower case; in verse it may.
_WRAPPED_SHORT_BEFORE_LOWER = math.log(0.1)
# Whether a line that ends no sentence ends with a comma or the like: lines of verse often do.
_WRAPPED_PAUSE = _to_logarithms({True: 0.12, False: 0.88})
_KEPT_PAUSE = _to_logarithms({True: 0.3, False: 0.7})
_KEPT_LOWER_PAUSE = _to_logarithms({True: 0.6, False: 0.4})
# Without upper and lower case: whether a line ends with the end of a sentence.
_WRAPPED_ENDS = _to_logarithms({True: 0.12, False: 0.88})
_KEPT_ENDS = _to_logarithms({True: 0.60, False: 0.40})
CHARS_PER_SENTENCE = 150  # prose without the end of a sentence is unlikely: exp(-characters / 150)
MAX_STOP_EVIDENCE = 20.0  # except for transcripts, which have none

_STOP = re.compile(r"[.!?…](?![\w.!?…])|[。！？؟।॥۔։።]")
_STOP_AT_END = re.compile(r"[.!?…。！？؟।॥۔։።][\"'”’»›)\]」』）】]*$")
_ITEM = re.compile(r"(?:([-*+•‣◦▪·])|\(?\d{1,3}([.)])|\(?[a-z](\)))\s+\S")
_COLUMNS = re.compile(r"\t|\S {4,}\S|\|.*\|")
# The dots before a page number. Only the end of a line is searched: the time is quadratic.
_LEADER = re.compile(r"(?: ?\.){3,} *(?:\d+|[ivxlc]+)$")
_LEADER_CHARS = 60
QUOTE_MARKS = re.compile(r"^\s*(?:>\s?)+")  # of a quoted e-mail, before each line
_FIRST = re.compile(r"[^\W_]|[^\w\s\"'“”‘’«»‹›(\[{¿¡—–―*_-]")


class CompleteLine(str):
    """A line that its author ended with a line break of markup: it is not joined unless all lines are."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class TextLine:
    """A line that is not blank, and what its start and end show."""

    text: str
    """The line."""

    indent: int
    """Columns before its text."""

    width: int
    """Columns up to the end of its text."""

    first_word: int
    """Characters of its first word."""

    case: str
    """LOWER, UPPER, UNCASED (a letter without case) or OTHER, of its first letter or digit."""

    is_item: str
    """The mark of a list's item that it begins with, or ""."""

    is_row: bool
    """Whether it looks like a row of a table or of contents."""

    is_unspaced: bool
    """Whether it begins in a script without spaces between words."""

    stops: int
    """Ends of sentences in it."""

    ends_sentence: bool
    """Whether a sentence ends at its end."""

    ends_pause: bool
    """Whether a comma, semicolon, colon or dash stands at its end."""

    ends_inside_word: bool
    """Whether it ends with a soft hyphen."""

    is_complete: bool
    """Whether it is a CompleteLine."""


class LinePassage:
    """Lines without a blank line between them, or a part of many."""

    def __init__(self, lines: list[TextLine], before: TextLine | None, run: int) -> None:
        self.lines = lines
        self.run = run  # number of the run of lines that this is a part of
        self.before = before  # the line before the first one, of the same run of lines
        self.size = sum(len(line.text) for line in lines)
        chain = [before, *lines] if before else lines
        self.breaks = [
            (first, second)
            for first, second in itertools.pairwise(chain)
            if not (is_separate(first, second, self) or first.ends_inside_word or first.is_complete)
        ]
        self.width = measure_width([line.width for line in chain])
        self.stops_inside = sum(line.stops - line.ends_sentence for line in lines)
        self._evidence: dict[int, float] = {}

    def weigh(self, width: int) -> float:
        """Return the logarithm of how much likelier these lines are wrapped at a width than kept."""
        if width not in self._evidence:
            self._evidence[width] = self._weigh(width)
        return self._evidence[width]

    def choose_width(self, page_width: int) -> int:
        """Return the width at which the passage is wrapped, if it is: that of the page if it is short."""
        return self.width if len(self.breaks) >= MIN_BREAKS else max(self.width, page_width)

    def _weigh(self, width: int) -> float:
        is_narrow = width < (MIN_UNSPACED_WIDTH if self.lines[0].is_unspaced else MIN_WIDTH)
        if is_narrow or not self.breaks:
            return -MAX_PASSAGE_EVIDENCE if is_narrow else 0.0
        wrapped, kept = (NARROW_EVIDENCE if width < NARROW else 0.0), 0.0
        lower = math.log(_LOWER_CASE_SHARE)
        upper = math.log(1 - _LOWER_CASE_SHARE)
        for first, second in self.breaks:
            fill = _describe_fill(first, second, width)
            wrapped += _WRAPPED_FILL[fill]
            if fill == SHORT and second.case == LOWER:
                wrapped += _WRAPPED_SHORT_BEFORE_LOWER
            kept += _KEPT_FILL[fill]
            if second.case == UNCASED:
                wrapped += _WRAPPED_ENDS[first.ends_sentence]
                kept += _KEPT_ENDS[first.ends_sentence]
            else:
                wrapped += _WRAPPED_CASE[second.case]
                upper += _KEPT_CASE[second.case]
                lower += _KEPT_LOWER_CASE[second.case]
                if not first.ends_sentence:
                    wrapped += _WRAPPED_PAUSE[first.ends_pause]
                    upper += _KEPT_PAUSE[first.ends_pause]
                    lower += _KEPT_LOWER_PAUSE[first.ends_pause]
        inside = self.stops_inside
        at_end = sum(first.ends_sentence for first, _ in self.breaks)
        wrapped += inside * _WRAPPED_STOP[INSIDE] + at_end * _WRAPPED_STOP[AT_END]
        upper += inside * _KEPT_STOP[INSIDE] + at_end * _KEPT_STOP[AT_END]
        lower += inside * _KEPT_LOWER_STOP[INSIDE] + at_end * _KEPT_LOWER_STOP[AT_END]
        if not inside and not self.lines[-1].ends_sentence:
            wrapped -= min(self.size / CHARS_PER_SENTENCE, MAX_STOP_EVIDENCE)
        highest = max(upper, lower)
        return wrapped - kept - highest - math.log(math.exp(upper - highest) + math.exp(lower - highest))


def is_separate(first: TextLine, second: TextLine, passage: LinePassage) -> bool:
    """Whether a line begins an item of a list or is a row of a table."""
    if first.is_row or second.is_row:
        return True
    if not second.is_item:
        return False
    is_list = passage.lines[0].is_item or sum(line.is_item == second.is_item for line in passage.lines) > 1
    return bool(is_list)


def read_line(text: str) -> TextLine:
    """Return a line with its properties."""
    stripped = QUOTE_MARKS.sub("", text.strip())
    first = _FIRST.search(stripped)
    letter = first[0] if first else ""
    item = _ITEM.match(stripped)
    unspaced = bool(UNSPACED.match(stripped))
    columns = text.rstrip().expandtabs()
    return TextLine(
        text=text,
        indent=len(columns) - len(columns.lstrip()),
        width=len(columns),
        first_word=1 if unspaced or not stripped else len(stripped.split(None, 1)[0]),
        case=_get_case(letter),
        is_item=next(filter(None, item.groups())) if item else "",
        is_row=not stripped or bool(_COLUMNS.search(stripped) or _LEADER.search(stripped[-_LEADER_CHARS:])),
        is_unspaced=unspaced,
        stops=len(_STOP.findall(stripped)),
        ends_sentence=_STOP_AT_END.search(stripped) is not None,
        ends_pause=stripped.endswith((",", ";", ":", "—", "–")),
        ends_inside_word=stripped.endswith(SOFT_HYPHEN),
        is_complete=isinstance(text, CompleteLine),
    )


def _get_case(letter: str) -> str:
    if letter.islower():
        return LOWER
    if letter.isupper() or letter.istitle():
        return UPPER
    return UNCASED if letter.isalpha() else OTHER


def measure_width(widths: list[int]) -> int:
    """Return the width that lines were wrapped at: the longest line, without a few far longer ones."""
    longest = sorted(widths, reverse=True)
    typical = longest[len(longest) // 50 + 1 : len(longest) // 50 + 2] or longest[:1]  # one, or 2% of many
    return next(width for width in longest if width <= OUTLIER * typical[0])


def _describe_fill(first: TextLine, second: TextLine, width: int) -> str:
    share = get_fill_share(first, second, width)
    return FULL if share > 1 else NEAR if share >= NEAR_SHARE else SHORT


def get_fill_share(first: TextLine, second: TextLine, width: int) -> float:
    """Return the share of the width that a line would fill together with the next line's first word."""
    space = 0 if second.is_unspaced else 1
    return (first.width + space + second.first_word) / max(width, 1)


def clamp(value: float, limit: float) -> float:
    """Return the value, or the nearer of -limit and limit."""
    return max(-limit, min(limit, value))
