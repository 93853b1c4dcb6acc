"""Join hard-wrapped lines to paragraphs, and keep lines apart that stand for themselves.

In: lines, an empty one at each boundary. Out: paragraphs or single lines. Does not know files or formats.

Whether lines were wrapped is decided for each passage, which is a run of lines without a blank line. Two
properties tell wrapped lines from headlines, verse, lists and chats:

- The share of lines that begin in lower case, of those that follow another line: .76 to .93 in wrapped novels
  in English, Spanish and German, at any width; .000 in headlines and verse; .001 to .020 with one sentence or
  one paragraph a line.
- Whether lines are full: a wrapped line would exceed the width of its passage if it also held the next line's
  first word. This works in scripts without upper and lower case, and for chats in lower case.

Each line break adds the logarithm of how much likelier it is in wrapped text (the tables below). The passages
around count too, because two lines alone are little evidence.
"""

import itertools
import math
import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from tinyedge.corpus.characters import SOFT_HYPHEN
from tinyedge.corpus.encoding import MAX_LINE_CHARS
from tinyedge.corpus.hyphenation import WordJoiner
from tinyedge.corpus.read_notes import ReadNotes
from tinyedge.corpus.read_settings import AUTO_LINES, JOIN_LINES

MAX_PASSAGE_LINES = 60  # a longer passage is decided in parts
AHEAD_BREAKS = 60  # line breaks that are read before a passage is decided
AHEAD_LINES = 200  # lines that are read for that, at most
AHEAD_CHARS = 1 << 16
BEHIND_PASSAGES = 12  # passages before that count
DECAY = 0.8  # weight of a passage, relative to the next one
MAX_NEIGHBOUR_EVIDENCE = 3.0  # of all passages around, in nats
MAX_PASSAGE_EVIDENCE = 6.0  # of one of them
MIN_EVIDENCE = 0.5  # lines are kept in doubt
MIN_WIDTH = 20  # characters; narrower text is not wrapped: words, short verse
MIN_UNSPACED_WIDTH = 12  # the same for scripts without spaces, whose characters are wider
OUTLIER = 1.25  # times the next lines; longer lines are web addresses, or unwrapped
MIN_BREAKS = 4  # a passage with fewer takes the width of the page

FULL, NEAR, SHORT = "full", "near", "short"
LOWER, UPPER, OTHER, UNCASED = "lower", "upper", "other", "uncased"
NEAR_SHARE = 0.85  # of the width that a line and the next word fill: PDF text is wrapped at a width in points


def _to_logarithms(shares: dict[Any, float]) -> dict[Any, float]:
    return {what: math.log(share) for what, share in shares.items()}


# How full a line is, and how the next one begins, in wrapped text and in kept lines.
_WRAPPED_FILL = _to_logarithms({FULL: 0.80, NEAR: 0.14, SHORT: 0.06})
_KEPT_FILL = _to_logarithms({FULL: 0.12, NEAR: 0.20, SHORT: 0.68})
_WRAPPED_CASE = _to_logarithms({LOWER: 0.80, UPPER: 0.17, OTHER: 0.03})
_KEPT_CASE = _to_logarithms({LOWER: 0.01, UPPER: 0.90, OTHER: 0.09})
_KEPT_LOWER_CASE = _to_logarithms({LOWER: 0.60, UPPER: 0.31, OTHER: 0.09})  # chats and verse in lower case
_LOWER_CASE_SHARE = 0.1  # of kept text that is like this
# Without upper and lower case: whether a line ends with the end of a sentence.
_WRAPPED_ENDS = _to_logarithms({True: 0.12, False: 0.88})
_KEPT_ENDS = _to_logarithms({True: 0.60, False: 0.40})
PARAGRAPH_SHARE = 0.75  # a line that fills less, before one in upper case, ends a paragraph inside a passage

_SENTENCE_END = re.compile(r"[.!?…:;。！？؟।॥۔։።][\"'”’»›)\]」』）】]*$")
_ITEM = re.compile(r"(?:([-*+•‣◦▪·])|\(?\d{1,3}([.)])|\(?[a-z](\)))\s+\S")
_ROW = re.compile(r"\t|\S {4,}\S|\.{4,}|(?: \.){4,}|\|.*\|")
_FIRST = re.compile(r"[^\W_]|[^\w\s\"'“”‘’«»‹›(\[{¿¡—–―*_-]")
# Scripts without spaces between words: Han, Kana, Bopomofo, Thai, Lao, Myanmar, Khmer; and their punctuation.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u2fdf\u3000-\u312f\u31a0-\u31bf\u31f0-\u9fff\uf900-\ufaff\ufe30-\ufe4f"
    "\uff00-\uff9f\U00020000-\U0003ffff]"
)


@dataclass(frozen=True, slots=True)
class _Line:
    """A line that is not blank, and what its start and end show."""

    text: str
    indent: int
    width: int
    first_word: int
    case: str
    is_item: str
    is_row: bool
    is_unspaced: bool
    ends_sentence: bool
    ends_inside_word: bool


class _Passage:
    """Lines without a blank line between them, or a part of many."""

    def __init__(self, lines: list[_Line], before: _Line | None) -> None:
        self.lines = lines
        self.before = before  # the line before the first one, of the same run of lines
        self.size = sum(len(line.text) for line in lines)
        chain = [before, *lines] if before else lines
        self.breaks = [
            (first, second)
            for first, second in itertools.pairwise(chain)
            if not _is_separate(first, second, self) and not first.ends_inside_word
        ]
        self.width = _measure_width([line.width for line in chain])
        self._evidence: dict[int, float] = {}

    def weigh(self, page_width: int) -> float:
        """Return the logarithm of how much likelier these lines are wrapped than kept.

        Args:
            page_width: Width of the lines around, for a passage that is too short to show its own.
        """
        width = self.choose_width(page_width)
        if width not in self._evidence:
            self._evidence[width] = self._weigh(width)
        return self._evidence[width]

    def choose_width(self, page_width: int) -> int:
        """Return the width at which the passage is wrapped, if it is."""
        return self.width if len(self.breaks) >= MIN_BREAKS else max(self.width, page_width)

    def _weigh(self, width: int) -> float:
        is_narrow = width < (MIN_UNSPACED_WIDTH if self.lines[0].is_unspaced else MIN_WIDTH)
        if is_narrow or not self.breaks:
            return -MAX_PASSAGE_EVIDENCE if is_narrow else 0.0
        wrapped = kept = 0.0
        lower = math.log(_LOWER_CASE_SHARE)
        upper = math.log(1 - _LOWER_CASE_SHARE)
        for first, second in self.breaks:
            fill = _describe_fill(first, second, width)
            wrapped += _WRAPPED_FILL[fill]
            kept += _KEPT_FILL[fill]
            if second.case == UNCASED:
                wrapped += _WRAPPED_ENDS[first.ends_sentence]
                kept += _KEPT_ENDS[first.ends_sentence]
            else:
                wrapped += _WRAPPED_CASE[second.case]
                upper += _KEPT_CASE[second.case]
                lower += _KEPT_LOWER_CASE[second.case]
        highest = max(upper, lower)
        return wrapped - kept - highest - math.log(math.exp(upper - highest) + math.exp(lower - highest))


def join_lines(lines: Iterable[str], mode: str, notes: ReadNotes) -> Iterator[str]:
    """Join the wrapped lines of a text to paragraphs.

    Args:
        lines: Lines without line breaks; a blank one is a boundary.
        mode: Value of ReadSettings.lines.
        notes: Receives how many lines were joined and kept.

    Yields:
        Paragraphs and lines, none much longer than MAX_LINE_CHARS; an empty string for each boundary.
    """
    words = WordJoiner()
    paragraph = _Paragraph(words, notes)
    for passage, is_wrapped, width in _decide_passages(lines, mode, words):
        if passage is None:
            yield from paragraph.take()
            yield ""
            continue
        before = passage.before
        for line in passage.lines:
            if before is None or not _is_joined(before, line, passage, is_wrapped, width, mode):
                notes.count("lines_kept", before is not None)
                yield from paragraph.take()
            elif paragraph.size >= MAX_LINE_CHARS:
                yield from paragraph.take()
            paragraph.add(line.text)
            before = line
    yield from paragraph.take()


def _decide_passages(
    lines: Iterable[str], mode: str, words: WordJoiner
) -> Iterator[tuple[_Passage | None, bool, int]]:
    """Yield the passages in order, whether each is wrapped, and its width; None is a boundary."""
    passages = _split_passages(lines)
    ahead: deque[_Passage | None] = deque()
    behind: deque[_Passage] = deque(maxlen=BEHIND_PASSAGES)
    is_wrapped, breaks, count, size = mode == JOIN_LINES, 0, 0, 0
    while True:
        while breaks < AHEAD_BREAKS and count < AHEAD_LINES and size < AHEAD_CHARS:
            following = next(passages, False)
            if following is False:
                break
            assert following is None or isinstance(following, _Passage)
            ahead.append(following)
            if following is not None:
                words.look_ahead(line.text for line in following.lines)
                breaks += len(following.breaks)
                count += len(following.lines)
                size += following.size
        if not ahead:
            return
        passage = ahead.popleft()
        if passage is None:
            yield None, False, 0
            continue
        breaks -= len(passage.breaks)
        count -= len(passage.lines)
        size -= passage.size
        width = passage.width
        if mode == AUTO_LINES:
            later = [other for other in ahead if other is not None]
            is_wrapped, width = _decide(passage, list(behind)[::-1], later)
        yield passage, is_wrapped, width
        words.forget(len(passage.lines))
        behind.append(passage)


def _decide(passage: _Passage, behind: list[_Passage], ahead: list[_Passage]) -> tuple[bool, int]:
    """Return whether a passage is wrapped, and at which width.

    Args:
        passage: The passage.
        behind: Passages before it, the nearest first.
        ahead: Passages after it, the nearest first.
    """
    if not passage.breaks:
        return False, passage.width
    behind, ahead = ([other for other in side if other.breaks] for side in (behind, ahead))
    widths = [line.width for other in (*behind, passage, *ahead) for line in other.lines]
    page_width = _measure_width(widths)
    neighbours = sum(
        DECAY**distance * _clamp(other.weigh(page_width), MAX_PASSAGE_EVIDENCE)
        for side in (behind, ahead)
        for distance, other in enumerate(side)
    )
    evidence = passage.weigh(page_width) + _clamp(neighbours / 2, MAX_NEIGHBOUR_EVIDENCE)
    return evidence > MIN_EVIDENCE, passage.choose_width(page_width)


def _is_joined(
    first: _Line, second: _Line, passage: _Passage, is_wrapped: bool, width: int, mode: str
) -> bool:
    """Whether a line continues the one before it."""
    if first.ends_inside_word:  # in every mode: a line break inside a word is not one
        return True
    if mode != AUTO_LINES or not is_wrapped:
        return is_wrapped
    if _is_separate(first, second, passage):
        return False
    is_new_paragraph = second.indent > first.indent or _fill_share(first, second, width) < PARAGRAPH_SHARE
    return second.case in (LOWER, UNCASED) or not is_new_paragraph


def _is_separate(first: _Line, second: _Line, passage: _Passage) -> bool:
    """Whether a line begins an item of a list or is a row of a table."""
    if first.is_row or second.is_row:
        return True
    if not second.is_item:
        return False
    is_list = passage.lines[0].is_item or sum(line.is_item == second.is_item for line in passage.lines) > 1
    return bool(is_list)


class _Paragraph:
    """The paragraph that is being joined."""

    def __init__(self, words: WordJoiner, notes: ReadNotes) -> None:
        self._words = words
        self._notes = notes
        self._parts: list[str] = []
        self.size = 0

    def add(self, line: str) -> None:
        """Add a line."""
        if self._parts:
            first, second = self._parts.pop(), line
            if _UNSPACED.match(first.rstrip()[-1:]) and _UNSPACED.match(second.lstrip()):
                first, second = first.rstrip(), second.lstrip()
            else:
                first, second, is_word = self._words.join(first, second)
                self._notes.count("words_joined", is_word)
            self._parts += [first, second]
            self._notes.count("lines_joined")
        else:
            self._parts.append(line)
        self.size += len(line)

    def take(self) -> Iterator[str]:
        """Yield the paragraph, if there is one, and begin the next."""
        if self._parts:
            yield "".join(self._parts)
        self._parts, self.size = [], 0


def _split_passages(lines: Iterable[str]) -> Iterator[_Passage | None]:
    """Yield the passages of a text, and None for each run of blank lines."""
    passage: list[_Line] = []
    size = 0
    before: _Line | None = None
    for text in lines:
        is_blank = not text.strip()
        if passage and (is_blank or len(passage) >= MAX_PASSAGE_LINES or size >= MAX_LINE_CHARS):
            yield _Passage(passage, before)
            before = passage[-1]
            passage, size = [], 0
        if is_blank:
            yield None
            before = None
        else:
            passage.append(_read_line(text))
            size += len(text)
    if passage:
        yield _Passage(passage, before)


def _read_line(text: str) -> _Line:
    stripped = text.strip()
    first = _FIRST.search(stripped)
    letter = first[0] if first else ""
    item = _ITEM.match(stripped)
    unspaced = bool(_UNSPACED.match(stripped))
    columns = text.rstrip().expandtabs()
    return _Line(
        text=text,
        indent=len(columns) - len(columns.lstrip()),
        width=len(columns),
        first_word=1 if unspaced else len(stripped.split(None, 1)[0]),
        case=_get_case(letter),
        is_item=next(filter(None, item.groups())) if item else "",
        is_row=_ROW.search(stripped) is not None,
        is_unspaced=unspaced,
        ends_sentence=_SENTENCE_END.search(stripped) is not None,
        ends_inside_word=stripped.endswith(SOFT_HYPHEN),
    )


def _get_case(letter: str) -> str:
    if letter.islower():
        return LOWER
    if letter.isupper() or letter.istitle():
        return UPPER
    return UNCASED if letter.isalpha() else OTHER


def _measure_width(widths: list[int]) -> int:
    """Return the width that lines were wrapped at: the longest line, without a few far longer ones."""
    longest = sorted(widths, reverse=True)
    typical = longest[len(longest) // 50 + 1 : len(longest) // 50 + 2] or longest[:1]  # one, or 2% of many
    return max(width for width in longest if width <= OUTLIER * typical[0])


def _describe_fill(first: _Line, second: _Line, width: int) -> str:
    share = _fill_share(first, second, width)
    return FULL if share > 1 else NEAR if share >= NEAR_SHARE else SHORT


def _fill_share(first: _Line, second: _Line, width: int) -> float:
    """Return the share of the width that a line would fill together with the next line's first word."""
    space = 0 if second.is_unspaced else 1
    return (first.width + space + second.first_word) / max(width, 1)


def _clamp(value: float, limit: float) -> float:
    return max(-limit, min(limit, value))
