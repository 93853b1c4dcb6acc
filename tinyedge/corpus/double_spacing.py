"""Remove the blank line after every line of double-spaced text.

In: lines. Out: the same lines with one blank line less after each, where the text is double-spaced. Does not
join lines, and does not know files or formats.
"""

import itertools
from collections.abc import Iterable, Iterator

WINDOW_LINES = 40  # lines with text that are decided together
MIN_LINES = 8  # fewer lines are no evidence
# Of lines that follow another one in wrapped prose, .76 to .93 begin in lower case. With one sentence or one
# paragraph a line it is below .02, and such lines have a blank line between them too.
MIN_LOWER_SHARE = 0.4

Spaced = tuple[str, int]


def remove_double_spacing(lines: Iterable[str]) -> Iterator[str]:
    """Yield lines without the blank lines of double spacing; other blank lines stay."""
    window: list[Spaced] = []
    for spaced in _count_blank_lines(lines):
        window.append(spaced)
        if len(window) == WINDOW_LINES:
            yield from _respace(window)
            window = []
    yield from _respace(window)


def _count_blank_lines(lines: Iterable[str]) -> Iterator[Spaced]:
    """Yield each line with text, and the number of blank lines after it."""
    current: str | None = None
    blank = 0
    for line in lines:
        if line.strip():
            if current is not None or blank:
                yield current or "", blank
            current, blank = line, 0
        else:
            blank += 1
    if current is not None or blank:
        yield current or "", blank


def _respace(window: list[Spaced]) -> Iterator[str]:
    is_double = _is_double_spaced(window)
    for text, blank in window:
        if text:
            yield text
        yield from itertools.repeat("", blank - is_double if text and blank else blank)


def _is_double_spaced(window: list[Spaced]) -> bool:
    """Whether a blank line follows each line, and many lines continue the one before."""
    texts = [text for text, _ in window if text]
    if len(texts) < MIN_LINES or any(text and not blank for text, blank in window[:-1]):
        return False
    lower = sum(text.lstrip("\"'“‘«([ ")[:1].islower() for text in texts)
    return lower >= MIN_LOWER_SHARE * len(texts)
