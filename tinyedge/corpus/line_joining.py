"""Join hard-wrapped lines to paragraphs, and keep lines that stand for themselves.

In: lines, an empty one at each boundary. Out: paragraphs or lines. Does not know files or formats.
"""

import itertools
from collections.abc import Iterable, Iterator

from tinyedge.corpus.encoding import MAX_LINE_CHARS

SAMPLE_CHARS = 20_000  # read to detect hard-wrapped lines
SAMPLE_LINES = 200  # the same, as a number of lines


def join_wrapped(lines: Iterable[str]) -> Iterator[str]:
    """Join the hard-wrapped lines of each paragraph; yield an empty string for each blank line."""
    paragraph: list[str] = []
    size = 0
    for line in lines:
        if line.strip() and size < MAX_LINE_CHARS:
            paragraph.append(line)
            size += len(line)
            continue
        yield " ".join(paragraph)
        blank = not line.strip()
        paragraph, size = ([], 0) if blank else ([line], len(line))
        if blank:
            yield ""
    yield " ".join(paragraph)


def join_if_wrapped(lines: Iterator[str]) -> Iterator[str]:
    """Yield the lines unchanged, or joined to paragraphs if the first lines look hard-wrapped."""
    sample = take_sample(lines)
    filled = [line.strip() for line in sample if line.strip()]
    wrapped = sum(50 <= len(line) <= 90 and line[-1] not in '.!?…:"”’»)' for line in filled)
    all_lines = itertools.chain(sample, lines)
    return join_wrapped(all_lines) if wrapped * 2 > len(filled) else all_lines


def take_sample(lines: Iterator[str]) -> list[str]:
    """Take the first lines, until there are SAMPLE_LINES or at least SAMPLE_CHARS characters."""
    sample: list[str] = []
    size = 0
    while len(sample) < SAMPLE_LINES and size < SAMPLE_CHARS:
        line = next(lines, None)
        if line is None:
            break
        sample.append(line)
        size += len(line)
    return sample
