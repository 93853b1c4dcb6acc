"""Join hard-wrapped lines to paragraphs, and keep lines apart that stand for themselves.

In: lines, an empty one at each boundary. Out: paragraphs or single lines. Does not know files or formats.

Each passage, a run of lines without a blank line, is decided by its own evidence and that of the passages
around it, because two lines alone are little evidence. A few hundred lines are in memory.
"""

import itertools
from collections import deque
from collections.abc import Iterable, Iterator

from tinyedge.corpus.double_spacing import remove_double_spacing
from tinyedge.corpus.encoding import MAX_LINE_CHARS
from tinyedge.corpus.hyphenation import WordJoiner
from tinyedge.corpus.line_passage import (
    LOWER,
    MAX_PASSAGE_EVIDENCE,
    QUOTE_MARKS,
    UNCASED,
    LinePassage,
    TextLine,
    clamp,
    get_fill_share,
    is_separate,
    measure_width,
    read_line,
)
from tinyedge.corpus.read_notes import ReadNotes
from tinyedge.corpus.read_settings import AUTO_LINES, JOIN_LINES, KEEP_LINES

MAX_PASSAGE_LINES = 60  # a longer passage is decided in parts
AHEAD_BREAKS = 60  # line breaks that are read before a passage is decided
AHEAD_LINES = 200  # lines that are read for that, at most
AHEAD_CHARS = 1 << 16
NEIGHBOURS = 8  # passages on each side that count, at most; the next one would have a weight of 0.17
DECAY = 0.8  # weight of a passage, relative to the one next to it
MAX_NEIGHBOUR_EVIDENCE = 3.0  # of all passages around, in nats
MIN_EVIDENCE = 0.5  # in nats; with less, lines are kept
PARAGRAPH_SHARE = 0.75  # a line that fills less, before one in upper case, ends a paragraph inside a passage


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
    spaced = lines if mode == KEEP_LINES else remove_double_spacing(lines)
    for passage, is_wrapped, width in _decide_passages(spaced, mode, words):
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
) -> Iterator[tuple[LinePassage | None, bool, int]]:
    """Yield the passages in order, whether each is wrapped, and its width; None is a boundary."""
    passages = _split_passages(lines)
    ahead: deque[LinePassage | None] = deque()
    behind: deque[LinePassage] = deque(maxlen=NEIGHBOURS)
    is_wrapped, breaks, count, size = mode == JOIN_LINES, 0, 0, 0
    while True:
        while breaks < AHEAD_BREAKS and count < AHEAD_LINES and size < AHEAD_CHARS:
            following = next(passages, False)
            if following is False:
                break
            assert following is None or isinstance(following, LinePassage)
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
            later = itertools.islice((other for other in ahead if other and other.breaks), NEIGHBOURS)
            is_wrapped, width = _decide(passage, list(behind)[::-1], list(later))
        yield passage, is_wrapped, width
        words.forget(len(passage.lines))
        if passage.breaks:
            behind.append(passage)


def _decide(passage: LinePassage, behind: list[LinePassage], ahead: list[LinePassage]) -> tuple[bool, int]:
    """Return whether a passage is wrapped, and at which width.

    Args:
        passage: The passage.
        behind: Passages with line breaks before it, the nearest first.
        ahead: Passages with line breaks after it, the nearest first.
    """
    if not passage.breaks:
        return False, passage.width
    widths = [line.width for other in (*behind, passage, *ahead) for line in other.lines]
    page_width = measure_width(widths)
    neighbours = sum(
        DECAY**distance * clamp(other.weigh(other.choose_width(page_width)), MAX_PASSAGE_EVIDENCE)
        for side in (behind, ahead)
        for distance, other in enumerate(side)
    )
    width = passage.choose_width(page_width)
    if not passage.stops_inside:  # headlines: where all happen to be short, the width is still the same
        width = max([width, *(other.width for other in (*behind, *ahead) if other.run == passage.run)])
    evidence = passage.weigh(width) + clamp(neighbours / 2, MAX_NEIGHBOUR_EVIDENCE)
    return evidence > MIN_EVIDENCE, width


def _is_joined(
    first: TextLine, second: TextLine, passage: LinePassage, is_wrapped: bool, width: int, mode: str
) -> bool:
    """Whether a line continues the one before it."""
    if first.ends_inside_word:  # in every mode: a line break inside a word is not one
        return True
    if mode != AUTO_LINES or not is_wrapped:
        return is_wrapped
    if first.is_complete or is_separate(first, second, passage):
        return False
    is_indented = second.indent > first.indent and not first.is_item
    is_short = get_fill_share(first, second, width) < PARAGRAPH_SHARE
    if second.case == UNCASED:
        return not (is_indented or (is_short and first.ends_sentence))
    return second.case == LOWER or not (is_indented or is_short)


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
            if QUOTE_MARKS.match(self._parts[0] if self._parts else first):
                second = QUOTE_MARKS.sub("", second)
            first, second, is_word = self._words.join(first, second)
            self._notes.count("words_joined", is_word)
            self._parts += [first, second]
            self._notes.count("lines_joined")
        else:
            self._parts.append(line)
        self.size += len(line) + 1

    def take(self) -> Iterator[str]:
        """Yield the paragraph, if there is one, and begin the next."""
        if self._parts:
            yield "".join(self._parts)
        self._parts, self.size = [], 0


def _split_passages(lines: Iterable[str]) -> Iterator[LinePassage | None]:
    """Yield the passages of a text, and None for each run of blank lines."""
    passage: list[TextLine] = []
    size = run = 0
    before: TextLine | None = None
    for text in lines:
        is_blank = not text.strip()
        if passage and (is_blank or len(passage) >= MAX_PASSAGE_LINES or size >= MAX_LINE_CHARS):
            yield LinePassage(passage, before, run)
            before = passage[-1]
            passage, size = [], 0
        if is_blank:
            yield None
            before = None
            run += 1
        else:
            passage.append(read_line(text))
            size += len(text)
    if passage:
        yield LinePassage(passage, before, run)
