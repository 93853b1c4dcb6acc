"""CSV and TSV: the columns of a table that hold text.

In: a `.csv` or `.tsv` file. Out: the lines of its rows' text. The delimiter is found; a first row that is no
header is text. Does not know which columns hold text: `tables` does.
"""

import csv
import itertools
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tinyedge.core.errors import CorpusError
from tinyedge.corpus.characters import repair_bytes
from tinyedge.corpus.encoding import COMPRESSED, read_text_chunks
from tinyedge.corpus.formats.tables import SAMPLE_ROWS, choose_columns, read_rows
from tinyedge.corpus.read_notes import ReadNotes

DELIMITERS = ",;\t|"
SAMPLE_LINES = 50
MAX_CELL_CHARS = 1 << 23
MAX_NAME_CHARS = 60  # of a column
_NAME = re.compile(r"[^\W\d].*")


def read_paragraphs(path: Path, notes: ReadNotes, field: str = "") -> Iterator[str]:
    """Stream the lines of the rows' text.

    Raises:
        CorpusError: The file is not text, or has no column with text.
    """
    rows = (row for _, row in read_rows_by_line(path, notes))
    sample = list(itertools.islice(rows, SAMPLE_ROWS))
    if not sample:
        return
    names = [f"column {number}" for number in range(1, max(map(len, sample)) + 1)]
    if _is_header(sample[0]) or field in sample[0]:
        names[: len(sample[0])] = sample.pop(0)
    columns = choose_columns(path, names, sample, field, notes)
    yield from read_rows(itertools.chain(sample, rows), columns, sample)


def read_rows_by_line(path: Path, notes: ReadNotes) -> Iterator[tuple[int, list[str]]]:
    """Stream the cells of each row that is not empty, a header included, with the line where the row ends.

    Raises:
        CorpusError: The file is not text, or not CSV.
    """
    lines = _read_lines(path, notes)
    head = list(itertools.islice(lines, SAMPLE_LINES))
    delimiter = _find_delimiter(path, head)
    csv.field_size_limit(min(MAX_CELL_CHARS, sys.maxsize))
    # Most programs write no quotation marks around cells of TSV, so that one in the text has no partner.
    is_unquoted = delimiter == "\t" and any(line.count('"') % 2 for line in head)
    quoting = csv.QUOTE_NONE if is_unquoted else csv.QUOTE_MINIMAL
    lines = itertools.chain(head, lines)
    return _read_rows(path, lines if is_unquoted else _count_marks(lines, notes), delimiter, quoting)


def _read_lines(path: Path, notes: ReadNotes) -> Iterator[str]:
    """Yield the lines with their line breaks, which belong to a cell in quotation marks."""
    rest = ""
    for chunk in read_text_chunks(path, notes):
        *lines, rest = (rest + repair_bytes(chunk, notes).replace("\0", " ")).split("\n")
        yield from (f"{line}\n" for line in lines)
        if len(rest) > MAX_CELL_CHARS:
            raise CorpusError(f"{path} has a line of over {MAX_CELL_CHARS:,} characters", "split the file")
    if rest:
        yield rest


def _count_marks(lines: Iterator[str], notes: ReadNotes) -> Iterator[str]:
    """Pass lines on; at the end, note whether a quotation mark has no partner: its cell does not end."""
    total = 0
    for line in lines:
        total += line.count('"')
        yield line
    notes.count("odd_quotes", total % 2)


def _read_rows(
    path: Path, lines: Iterator[str], delimiter: str, quoting: Any
) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(lines, delimiter=delimiter, quoting=quoting)
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as failure:
            where = f"{path}, line {reader.line_num}"
            raise CorpusError(f"{where} is not CSV: {failure}", "check its quotation marks") from None
        if any(map(str.strip, row)):
            yield reader.line_num, row


def _find_delimiter(path: Path, lines: list[str]) -> str:
    """Return the delimiter that cuts most lines into the same number of cells, which is more than one."""
    if path.name.lower().removesuffix(COMPRESSED).endswith(".tsv"):
        return "\t"
    best = (0.0, 0)
    chosen = ","
    for delimiter in DELIMITERS:
        try:
            counts = [len(row) for row in csv.reader(lines, delimiter=delimiter) if row]
        except csv.Error:
            continue
        width = max(set(counts), key=counts.count, default=0)
        score = (counts.count(width) / len(counts) if width > 1 else 0.0, width)
        if score > best:
            best, chosen = score, delimiter
    return chosen


def _is_header(row: list[str]) -> bool:
    """Whether a first row holds names of columns: short, all different, no numbers and no sentences."""
    names = [name.strip() for name in row if name.strip()]
    return (
        len(set(names)) == len(names) > 0
        and all(
            _NAME.fullmatch(name) and len(name) <= MAX_NAME_CHARS and name[-1] not in ".!?…" for name in names
        )
        and max(len(name.split()) for name in names) <= 4
    )
