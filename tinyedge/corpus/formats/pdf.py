"""PDF: the text of the pages in reading order.

In: a `.pdf` file. Out: its lines, without page numbers and running heads. Text in several columns, tables and
formulas may come out of order, because a PDF holds places and not paragraphs. A scan without a text layer is
refused. Does not decide whether lines belong together.
"""

import itertools
import re
import statistics
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tinyedge.core.errors import CorpusError, MissingDependencyError
from tinyedge.corpus.read_notes import ReadNotes

MAX_CHARS = 1 << 27  # of all pages, which are compared to find running heads
EDGE_LINES = 2  # at the top and the bottom of a page, where running heads are
MIN_REPEATS = 3  # a running head is on at least this many pages,
MIN_REPEAT_SHARE = 0.2  # and on this share of all pages; left and right pages often differ
MIN_NUMBERED_REPEATS = 2  # pages that are enough for a head with a page number
PARAGRAPH_GAP = 1.35  # times the usual distance of lines; a larger distance separates paragraphs
_PAGE_NUMBER = re.compile(r"[-–—\[(\s]*(?:\d{1,4}|[ivxlc]{1,8})[-–—\])\s.]*", re.IGNORECASE)
_SENTENCE_END = re.compile(r"[.!?…:][\"'”’»)]*$")
# PDFium's mark for a hyphen at the end of a line, instead of a line break.
_LINE_HYPHEN = re.compile("[\x02\ufffe]\\s*")


def read_paragraphs(path: Path, notes: ReadNotes) -> Iterator[str]:
    """Yield the lines of a document.

    Raises:
        CorpusError: The file is damaged, encrypted or without text.
        MissingDependencyError: pypdfium2 is not installed.
    """
    try:
        import pypdfium2
    except ImportError:
        raise MissingDependencyError("pypdfium2", "documents") from None
    try:
        with pypdfium2.PdfDocument(path) as document:
            pages = _read_pages(path, document)
    except pypdfium2.PdfiumError as failure:
        hint = "save it without a password, or save or copy it again"
        raise CorpusError(f"{path} is not a readable PDF: {failure}", hint) from None
    empty = sum(not any(page) for page in pages)
    if empty == len(pages):
        raise CorpusError(
            f"{path} has no text: its pages are pictures", "recognize the text first, as ocrmypdf does"
        )
    notes.count("pages_without_text", empty)
    heads = _find_running_heads(pages)
    for page in pages:
        lines = _drop_edges(page, heads, notes)
        yield from lines
        if lines and _SENTENCE_END.search(lines[-1]):
            yield ""


def _read_pages(path: Path, document: Any) -> list[list[str]]:
    pages: list[list[str]] = []
    size = 0
    for page in document:
        text_page = page.get_textpage()
        lines = _read_lines(text_page)
        text_page.close()
        page.close()
        pages.append(lines)
        size += sum(map(len, lines))
        if size > MAX_CHARS:
            raise CorpusError(f"{path} has more than {MAX_CHARS:,} characters", "split the document")
    return pages


def _read_lines(text_page: Any) -> list[str]:
    """Return the lines of a page, with an empty string where the distance of two lines shows a paragraph."""
    text = text_page.get_text_range(errors="replace")
    lines: list[str] = []
    lower_edges: list[float | None] = []
    start = 0
    for line in text.split("\n"):
        stripped = line.rstrip("\r")
        if stripped.strip():
            offset = start + len(stripped) - len(stripped.lstrip())
            lines.append(_LINE_HYPHEN.sub("-\n", stripped.strip()))
            lower_edges.append(_find_lower_edge(text_page, offset))
        start += len(line) + 1
    gaps = [
        first - second if first is not None and second is not None else 0.0
        for first, second in itertools.pairwise(lower_edges)
    ]
    usual = statistics.median([gap for gap in gaps if gap > 0] or [0.0])
    spaced = lines[:1]
    for line, gap in zip(lines[1:], gaps, strict=True):
        # A line above the one before is the next column.
        spaced += ["", line] if usual and gap > PARAGRAPH_GAP * usual else [line]
    return [part for line in spaced for part in line.split("\n")]


def _find_lower_edge(text_page: Any, index: int) -> float | None:
    """Return the lower edge of a character, which is the same for most letters of a line."""
    try:
        box = text_page.get_charbox(index, loose=True)
    except Exception:  # of PDFium, for an index without a glyph
        return None
    return float(box[1])


def _find_running_heads(pages: list[list[str]]) -> set[str]:
    """Return the lines that are repeated at the edges of pages, without page numbers.

    A line with a page number needs fewer repetitions: the name of a chapter is on a few pages only.
    """
    counts: Counter[str] = Counter()
    numbered: set[str] = set()
    for page in pages:
        filled = [line for line in page if line]
        edges = filled[:EDGE_LINES] + filled[-EDGE_LINES:]
        counts.update({_normalize(line) for line in edges})
        numbered.update(_normalize(line) for line in edges if _normalize(line) != line.strip().lower())
    least = max(MIN_REPEATS, MIN_REPEAT_SHARE * len(pages))
    return {
        line
        for line, count in counts.items()
        if count >= (MIN_NUMBERED_REPEATS if line in numbered else least)
    }


def _drop_edges(page: list[str], heads: set[str], notes: ReadNotes) -> list[str]:
    """Return a page without running heads and page numbers at its edges."""
    lines = page
    for _edge in ("top", "bottom"):
        for _line in range(EDGE_LINES):
            if lines and (_PAGE_NUMBER.fullmatch(lines[0]) or _normalize(lines[0]) in heads):
                notes.count("running_heads")
                lines = lines[1:]
            while lines and not lines[0]:
                lines = lines[1:]
        lines = lines[::-1]
    return lines


def _normalize(line: str) -> str:
    """Return a line without the page number at its start or end."""
    return re.sub(r"^\W*\d+\s+|\s+\d+(?:\s*(?:/|of|von|de)\s*\d+)?[-–—|)\]]*$", "", line).strip().lower()
