"""JSON lines: the fields of each record that hold text; a record is a document.

In: a `.jsonl` file. Out: the lines of each text. Does not know which fields hold text: `tables` does. Does
not decide whether lines belong together.
"""

import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tinyedge.core.errors import CorpusError
from tinyedge.corpus.characters import drop_half_characters, repair_bytes
from tinyedge.corpus.encoding import BYTE_ORDER_MARK, describe_offset, measure_mark, read_text_chunks
from tinyedge.corpus.formats import END_OF_DOCUMENT, split_paragraphs
from tinyedge.corpus.formats.tables import SAMPLE_ROWS, choose_columns, to_text
from tinyedge.corpus.read_notes import ReadNotes

MAX_RECORD_CHARS = 1 << 23  # of one line, which cannot be cut
_HINT = 'write lines such as {"text": "..."}, or name the field with --field'


def read_paragraphs(path: Path, notes: ReadNotes, field: str = "") -> Iterator[str]:
    """Stream the lines of the fields with text of each record, after a check of all records.

    Args:
        path: The file.
        notes: Receives the names of the fields.
        field: Name of the field that the user chose, or "".

    Raises:
        CorpusError: A line is not JSON, or has no text.
        MissingFieldError: No record has the field that the user chose.
    """
    fields = _choose_fields(path, field, notes)
    for _ in _read_texts(path, ReadNotes(path), fields):
        pass
    for text in _read_texts(path, notes, fields):
        yield from split_paragraphs(text)
        yield END_OF_DOCUMENT


def _choose_fields(path: Path, field: str, notes: ReadNotes) -> Sequence[str]:
    """Return the fields that hold text, and record them; as in a table, but a record may lack a field."""
    records = (record for *_, record in read_records(path, ReadNotes(path)) if isinstance(record, dict))
    sample = list(itertools.islice(records, SAMPLE_ROWS))
    names = list(dict.fromkeys(name for record in sample for name in record))
    if not names:
        return (field or "text",)
    if field and field not in names and any(field in record for record in records):
        names.append(field)
    rows = [[record.get(name) for name in names] for record in sample]
    chosen = choose_columns(path, names, rows, field, notes)
    return [names[number] for number in chosen]


def _read_texts(path: Path, notes: ReadNotes, fields: Sequence[str]) -> Iterator[str]:
    """Yield the text of some fields of each record."""
    for _, where, record in read_records(path, notes):
        values = [record.get(name) for name in fields] if isinstance(record, dict) else []
        texts = [to_text(value) for value in values if isinstance(value, str | list | dict)]
        if not texts:
            listed = " or ".join(f"`{name}`" for name in fields)
            raise CorpusError(f"{where} has no string field {listed}", _HINT)
        # "\udc80" of JSON is half a character; `repair_bytes` would take it for an undecoded byte.
        yield drop_half_characters("\n\n".join(texts), notes)


def read_records(path: Path, notes: ReadNotes) -> Iterator[tuple[int, str, Any]]:
    """Yield the number, the place and the value of each line that is not blank.

    Raises:
        CorpusError: A line is not JSON.
    """
    offset = measure_mark(path)
    for number, (line, size) in enumerate(_read_record_lines(path, notes), start=1):
        where = f"{path}, line {number} ({describe_offset(path, offset)})"
        offset += size
        line = repair_bytes(line.strip().strip(BYTE_ORDER_MARK), notes)
        if not line:
            continue
        try:
            # Control characters in a string are read, and counted later.
            record = json.loads(line, strict=False)
        except (ValueError, RecursionError) as failure:
            raise CorpusError(f"{where} is not JSON: {failure}", "write one JSON object per line") from None
        yield number, where, record


def _read_record_lines(path: Path, notes: ReadNotes) -> Iterator[tuple[str, int]]:
    """Yield the lines of a `.jsonl` file with their size in bytes, line break included."""
    rest = ""
    for chunk in read_text_chunks(path, notes):
        *lines, rest = (rest + chunk).split("\n")
        for line in lines:
            yield line, _count_bytes(f"{line}\n", notes.encoding)
        if len(rest) > MAX_RECORD_CHARS:
            raise CorpusError(f"{path} has a line of over {MAX_RECORD_CHARS} characters", "split the record")
    yield rest, _count_bytes(rest, notes.encoding)


def _count_bytes(text: str, encoding: str) -> int:
    return len(text.encode(encoding, "surrogateescape"))
