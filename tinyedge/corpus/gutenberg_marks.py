"""Boilerplate of Project Gutenberg's books: header and footer with their marker lines, and illustrations.

In: lines of a text. Out: the lines of the book alone. Does not download anything, and does not know formats.
"""

import itertools
import re
from collections.abc import Iterable, Iterator

from tinyedge.corpus.read_notes import ReadNotes

START = re.compile(r"\*{3} ?START OF (?:THE|THIS) PROJECT GUTENBERG EBOOK[^*]{0,400}\*{3}")
END = re.compile(r"\*{3} ?END OF (?:THE|THIS) PROJECT GUTENBERG EBOOK[^*]{0,400}\*{3}")
MAX_HEADER_LINES = 1_000  # lines before START; books of the 1990s have some 300
MAX_MARKER_LINES = 5  # of a marker with a long title
MAX_CAPTION_LINES = 20
# The first line of a marker; it may be "E-BOOK" or "ETEXT", and the stars at its end may be missing.
_MARKER = re.compile(
    r"\s*\*{2,3} ?(START|END) OF (?:THE |THIS )?PROJECT GUTENBERG(?:['’]S)? E-?(?:BOOK|TEXT)\b", re.IGNORECASE
)
# Books before 2004 had no START, but a licence with an end of its own.
_SMALL_PRINT_END = re.compile(r"\s*\*END\*? ?THE SMALL PRINT.*\*END\*\s*", re.IGNORECASE)
_LAST_LINE = re.compile(r"\s*End of (?:the |this )?Project Gutenberg\b.*", re.IGNORECASE)
_CAPTION = re.compile(r"\[(?:Illustration|Ilustraci[oó]n|Abbildung)(?=[\]:.\s]|$)")


def drop_boilerplate(lines: Iterable[str], notes: ReadNotes) -> Iterator[str]:
    """Drop header, footer and illustrations of Project Gutenberg, and count them.

    Lines before START are in memory until it is found, MAX_HEADER_LINES at most. Text after END is dropped up
    to the next START, as in a file of several books.
    """
    return _drop_captions(_drop_header_and_footer(iter(lines), notes), notes)


def _drop_header_and_footer(lines: Iterator[str], notes: ReadNotes) -> Iterator[str]:
    head = list(itertools.islice(lines, MAX_HEADER_LINES))
    start = next((number for number, line in enumerate(head) if _find_marker(line) == "START"), None)
    lines = itertools.chain(head, lines)
    is_dropped = start is not None
    is_book = is_dropped
    for line in lines:
        marker = _find_marker(line)
        if marker:
            is_book = True
            is_dropped = marker == "END"
            for part in _read_marker(line, lines):
                notes.count("gutenberg_lines", bool(part.strip()))
            yield ""
        elif is_dropped or (is_book and _LAST_LINE.fullmatch(line)):
            notes.count("gutenberg_lines", bool(line.strip()))
        else:
            yield line


def _find_marker(line: str) -> str:
    """Return START or END if a line begins with such a marker, or ""."""
    if _SMALL_PRINT_END.fullmatch(line):
        return "START"
    found = _MARKER.match(line)
    return found[1].upper() if found else ""


def _read_marker(line: str, lines: Iterator[str]) -> Iterator[str]:
    """Yield all lines of a marker, up to its closing stars or a blank line."""
    yield line
    for _ in range(MAX_MARKER_LINES - 1):
        if line.rstrip().endswith("*"):
            return
        line = next(lines, "")
        yield line
        if not line.strip():
            return


def _drop_captions(lines: Iterator[str], notes: ReadNotes) -> Iterator[str]:
    for line in lines:
        found = _CAPTION.search(line)
        if not found:
            yield line
            continue
        part = [line]
        while (end := _find_closing(text := "\n".join(part), found.start())) < 0:
            if len(part) == MAX_CAPTION_LINES or (following := next(lines, None)) is None:
                break
            part.append(following)
        if end < 0:  # not a caption: nothing is lost
            yield from part
            continue
        notes.count("illustrations")
        before, after = text[: found.start()].rstrip(), text[end + 1 :].strip()
        while (found := _CAPTION.search(after)) and (end := _find_closing(after, found.start())) >= 0:
            notes.count("illustrations")
            after = f"{after[: found.start()].rstrip()} {after[end + 1 :].lstrip()}".strip()
        yield f"{before} {after}" if before else after


def _find_closing(text: str, start: int) -> int:
    """Return the place of the bracket that closes the one at `start`, or -1."""
    depth = 0
    for place in range(start, len(text)):
        depth += (text[place] == "[") - (text[place] == "]")
        if depth == 0:
            return place
    return -1
