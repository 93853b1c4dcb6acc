"""Text in tables: which columns hold it, and how rows become paragraphs.

In: names of columns, and rows. Out: the columns with text, and the text of the rows. Does not read files.
"""

import statistics
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tinyedge.core.errors import CorpusError
from tinyedge.corpus.document_splitter import MIN_DOCUMENT_CHARS
from tinyedge.corpus.formats import END_OF_DOCUMENT, split_paragraphs
from tinyedge.corpus.read_notes import ReadNotes

SAMPLE_ROWS = 200
DOCUMENT_CHARS = 200  # mean length of rows that are documents of their own; shorter rows are combined
MIN_TEXT_WORDS = 3  # of the median cell of a column with text
_TEXT_NAMES = (
    "text",
    "full_text",
    "content",
    "body",
    "message",
    "messages",
    "conversations",
    "conversation",
    "sentence",
    "texto",
    "contenido",
)
MIN_LETTERS = 0.6  # share of letters in text; dates, addresses and codes have fewer


class MissingFieldError(CorpusError):
    """A file has no field with the name that the user chose; raised before any text of it is yielded."""


def choose_columns(
    path: Path, names: Sequence[str], rows: Sequence[Sequence[Any]], field: str, notes: ReadNotes
) -> list[int]:
    """Return the columns that hold text, and record them.

    Args:
        path: The file, for errors.
        names: Names of all columns.
        rows: Some rows.
        field: Name of the column that the user chose, or "".
        notes: Receives the names of the columns.

    Raises:
        MissingFieldError: There is no such column.
        CorpusError: No column holds text.
    """
    listed = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
    lower = [name.strip().lower() for name in names]
    if field:
        if field not in names:
            raise MissingFieldError(f"{path} has no column {field}", f"choose one with --field: {listed}")
        chosen = [names.index(field)]
    else:
        columns = [[row[number] for row in rows if number < len(row)] for number in range(len(names))]
        named = [lower.index(name) for name in _TEXT_NAMES if name in lower]
        chosen = [number for number in named if any(to_text(cell).strip() for cell in columns[number])][:1]
        chosen = chosen or [number for number, cells in enumerate(columns) if _holds_text(cells)]
        chosen = chosen or named[:1]
    if not chosen:
        hint = f"choose one with --field: {listed}" if names else "give a file with a column of text"
        raise CorpusError(f"{path} has no column with text", hint)
    notes.fields = tuple(names[number] for number in chosen)
    notes.other_fields = tuple(name for number, name in enumerate(names) if number not in chosen)
    return chosen


def read_rows(
    rows: Iterable[Sequence[Any]], columns: Sequence[int], sample: Sequence[Sequence[Any]]
) -> Iterator[str]:
    """Yield the lines of the rows' text; a long row is a document, and short rows are put together.

    Args:
        rows: All rows.
        columns: The columns that hold text.
        sample: Some rows; their mean length decides whether each row is a document.
    """
    sizes = [sum(len(to_text(row[number])) for number in columns if number < len(row)) for row in sample]
    min_chars = 0 if sizes and statistics.mean(sizes) >= DOCUMENT_CHARS else MIN_DOCUMENT_CHARS
    size = 0
    for row in rows:
        for number in columns:
            text = to_text(row[number]) if number < len(row) else ""
            yield from (*split_paragraphs(text), "")
            size += len(text)
        if size > min_chars:
            yield END_OF_DOCUMENT
            size = 0


def to_text(value: Any) -> str:
    """Return the text of a cell; a list of messages, as in chat data sets, has one per line."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "\n".join(filter(None, map(to_text, value)))
    if isinstance(value, dict):
        names = ("text", "full_text", "content", "value")
        return next((value[name] for name in names if isinstance(value.get(name), str)), "")
    return ""


def _holds_text(cells: Sequence[Any]) -> bool:
    texts = [text for text in map(to_text, cells) if text.strip()]
    if not texts:
        return False
    words = statistics.median(_count_words(text) for text in texts)
    sample = "".join(texts)[:20_000]
    letters = sum(character.isalpha() or character.isspace() for character in sample)
    return words >= MIN_TEXT_WORDS and letters >= MIN_LETTERS * len(sample)


def _count_words(text: str) -> float:
    """Return the number of words; scripts without spaces have about two characters a word."""
    spaced = len(text.split())
    unspaced = sum(character >= "\u2e80" and character.isalpha() for character in text[:200])
    return max(spaced, unspaced / 2)
