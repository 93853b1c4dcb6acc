"""JSON lines: one field of each record, which is a document.

In: a `.jsonl` file. Out: the lines of each text. Does not decide whether lines belong together.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from tinyedge.core.errors import CorpusError
from tinyedge.corpus.characters import repair_bytes, split_lines
from tinyedge.corpus.encoding import BYTE_ORDER_MARK, describe_offset, read_text_chunks
from tinyedge.corpus.formats import END_OF_DOCUMENT
from tinyedge.corpus.formats.tables import to_text
from tinyedge.corpus.read_notes import ReadNotes

MAX_RECORD_CHARS = 1 << 23  # of one line, which cannot be cut
_HALF_CHARACTER = re.compile("[\ud800-\udfff]")  # JSON can hold half an emoji, where a program cut a text


def read_paragraphs(path: Path, notes: ReadNotes, field: str = "") -> Iterator[str]:
    """Stream the lines of a field of each record, `text` if it is empty, after a check of all records."""
    field = field or "text"
    for _ in _read_records(path, ReadNotes(path), field):
        pass
    for text in _read_records(path, notes, field):
        yield from (line if line.strip() else "" for line in split_lines(text))
        yield END_OF_DOCUMENT


def _read_records(path: Path, notes: ReadNotes, field: str) -> Iterator[str]:
    """Yield a field of each line of a `.jsonl` file."""
    offset = 0
    for number, (line, size) in enumerate(_read_record_lines(path, notes), start=1):
        where = f"{path}, line {number} ({describe_offset(path, offset)})"
        offset += size
        line = repair_bytes(line.strip().strip(BYTE_ORDER_MARK), notes)
        if not line:
            continue
        try:
            record = json.loads(
                line, strict=False
            )  # control characters in a string are read, and counted later
        except (ValueError, RecursionError) as failure:
            raise CorpusError(f"{where} is not JSON: {failure}", "write one JSON object per line") from None
        text = record.get(field) if isinstance(record, dict) else None
        text = to_text(text) if isinstance(text, list) else text
        if not isinstance(text, str):
            hint = 'write lines such as {"text": "..."}, or name the field with --field'
            raise CorpusError(f"{where} has no string field `{field}`", hint)
        text, halves = _HALF_CHARACTER.subn("", text)
        notes.count("half_characters", halves)
        yield text


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
