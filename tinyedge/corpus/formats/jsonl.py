"""JSON lines: the field `text` of each record, which is a document.

In: a `.jsonl` file. Out: the lines of each text. Does not decide whether lines belong together.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from tinyedge.core.errors import CorpusError
from tinyedge.corpus.encoding import (
    BYTE_ORDER_MARK,
    describe_offset,
    read_text_chunks,
    replace_control_characters,
)
from tinyedge.corpus.formats import END_OF_DOCUMENT
from tinyedge.corpus.read_notes import ReadNotes

MAX_RECORD_CHARS = 1 << 23  # of one line, which cannot be cut


def read_paragraphs(path: Path, notes: ReadNotes) -> Iterator[str]:
    """Stream the lines of each record's `text`."""
    for text in _read_records(path, notes):
        yield from (line if line.strip() else "" for line in text.splitlines())
        yield END_OF_DOCUMENT


def _read_records(path: Path, notes: ReadNotes) -> Iterator[str]:
    """Yield the `text` field of each line of a `.jsonl` file."""
    offset = 0
    for number, (line, size) in enumerate(_read_record_lines(path, notes), start=1):
        where = f"{path}, line {number} ({describe_offset(path, offset)})"
        offset += size
        line = line.strip().strip(BYTE_ORDER_MARK)
        if not line:
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as failure:
            raise CorpusError(f"{where} is not JSON: {failure}", "write one JSON object per line") from None
        text = record.get("text") if isinstance(record, dict) else None
        if not isinstance(text, str):
            raise CorpusError(f"{where} has no string field `text`", 'write lines such as {"text": "..."}')
        try:
            text.encode()
        except UnicodeEncodeError:
            raise CorpusError(
                f"{where} has half a surrogate pair in `text`", "write the record again"
            ) from None
        yield replace_control_characters(text, notes)


def _read_record_lines(path: Path, notes: ReadNotes) -> Iterator[tuple[str, int]]:
    """Yield the lines of a `.jsonl` file with their size in bytes, line break included."""
    rest = ""
    encoding = "utf-8"
    for chunk, encoding in read_text_chunks(path, notes):
        *lines, rest = (rest + chunk).split("\n")
        for line in lines:
            yield line, len(f"{line}\n".encode(encoding))
        if len(rest) > MAX_RECORD_CHARS:
            raise CorpusError(f"{path} has a line of over {MAX_RECORD_CHARS} characters", "split the record")
    yield rest, len(rest.encode(encoding))
