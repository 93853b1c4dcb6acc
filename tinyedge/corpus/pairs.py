"""Pairs of a prompt and a completion, as documents: the lines of a conversation are its turns.

In: files of pairs. `.jsonl` has one record per line, `{"prompt": ..., "completion": ...}` or OpenAI's
`{"messages": [...]}`; a table (`.csv`, `.tsv`) has columns `prompt` and `completion`. Out: documents whose
lines are prompt, completion, prompt, completion, and so on. A record that is not such a conversation is
skipped, and noted with its line. Does not know tokens.
"""

import itertools
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tinyedge.core.errors import CorpusError
from tinyedge.core.files import require_file
from tinyedge.corpus.characters import clean_characters, drop_half_characters, split_lines
from tinyedge.corpus.document import Document
from tinyedge.corpus.encoding import COMPRESSED
from tinyedge.corpus.find_files import InputFile
from tinyedge.corpus.formats.csv_table import read_rows_by_line
from tinyedge.corpus.formats.jsonl import read_records
from tinyedge.corpus.language import detect_language
from tinyedge.corpus.read_notes import ReadLog, ReadNotes, describe_reading

PROMPT, COMPLETION, MESSAGES = "prompt", "completion", "messages"
ROLES = {"system": PROMPT, "developer": PROMPT, "user": PROMPT, "assistant": COMPLETION}
MAX_CHARS = 100_000  # of a conversation: far more than any context, and less than a line of a corpus may have
SAMPLE_RECORDS = 100  # of which one must be a pair, so that a file is one of pairs
_TABLES = (".csv", ".tsv")
_HINT = 'write lines such as {"prompt": "...", "completion": "..."}'


class InvalidRecordError(Exception):
    """A record is no conversation to learn from; the message is the reason."""


def is_pair_file(path: Path) -> bool:
    """Whether a file holds pairs: by the fields of its first records, or by its first row."""
    name = path.name.lower().removesuffix(COMPRESSED)
    notes = ReadNotes(path)
    try:
        if name.endswith(".jsonl"):
            records = itertools.islice(read_records(path, notes), SAMPLE_RECORDS)
            return any(_looks_like_pair(record) for *_, record in records)
        if name.endswith(_TABLES):
            header = _read_header(read_rows_by_line(path, notes))
            return PROMPT in header and COMPLETION in header
    except (CorpusError, OSError):
        pass  # whoever reads the file reports it
    return False


def choose_pair_files(files: Sequence[InputFile], has_other_text: bool = False) -> list[InputFile]:
    """Return the files if they hold pairs, or none if they hold text.

    Args:
        files: Files of one corpus.
        has_other_text: Whether the corpus has text from elsewhere too.

    Raises:
        CorpusError: Some hold pairs, and others text.
    """
    pairs = [file for file in files if is_pair_file(file.path)]
    if pairs and (has_other_text or len(pairs) < len(files)):
        other = next((str(file.path) for file in files if file not in pairs), "--source")
        raise CorpusError(
            f"{pairs[0].path} holds pairs, but {other} is text: one run cannot learn from both",
            "train on the text first, then go on with the pairs: tinyedge train --init-from; or pass --field"
            " NAME to read a field of the pairs as text",
        )
    return pairs


def read_pairs(files: Sequence[InputFile], log: ReadLog, strict: bool = False) -> Iterator[Document]:
    """Stream the conversations of files of pairs.

    Args:
        files: The files.
        log: Receives what was read and what was skipped.
        strict: Whether a record that cannot be used is an error.

    Raises:
        CorpusError: A file cannot be read, or none of its records can be used.
    """
    for file in files:
        notes = ReadNotes(file.path)
        log.files.append(notes)
        for line, record in _read_records(file.path, notes):
            try:
                turns = [_clean(turn, notes) for turn in _to_turns(record)]
                _require_text(turns)
            except InvalidRecordError as failure:
                if strict:
                    raise CorpusError(
                        f"{file.path}, line {line}: {failure}", "omit --strict to skip it"
                    ) from None
                notes.invalid_records.append({"line": line, "reason": str(failure)})
                continue
            notes.pairs += 1
            yield Document(tuple(turns), detect_language("\n".join(turns)), str(file.path))
        if not notes.pairs:
            first = notes.invalid_records[0] if notes.invalid_records else None
            reason = f": line {first['line']}: {first['reason']}" if first else ""
            raise CorpusError(f"{file.path} has no pair to learn from{reason}", _HINT)


def read_conversations(
    path: Path, report: Callable[[str], None] = lambda line: None
) -> Iterator[tuple[str, ...]]:
    """Stream the turns of each conversation of one file of pairs.

    Args:
        path: The file.
        report: Receives lines about what was read and skipped, after the last conversation.

    Raises:
        CorpusError: The file does not hold pairs.
    """
    require_file(path, CorpusError)
    if not is_pair_file(path):
        raise CorpusError(f"{path} does not hold pairs", _HINT)
    log = ReadLog()
    for document in read_pairs([InputFile(path, is_explicit=True)], log):
        yield document.sentences
    for line in describe_reading(log.to_json()):
        report(line)


def _looks_like_pair(record: Any) -> bool:
    if not isinstance(record, dict):
        return False
    messages = record.get(MESSAGES)
    return (PROMPT in record and COMPLETION in record) or (
        isinstance(messages, list)
        and bool(messages)
        and all(isinstance(message, dict) and "role" in message for message in messages)
    )


def _read_records(path: Path, notes: ReadNotes) -> Iterator[tuple[int, Any]]:
    """Yield the line and the content of each record."""
    if not path.name.lower().removesuffix(COMPRESSED).endswith(_TABLES):
        for line, _, record in read_records(path, notes):
            yield line, record
        return
    rows = read_rows_by_line(path, notes)
    header = _read_header(rows)
    for line, row in rows:
        yield line, dict(zip(header, row, strict=False))


def _read_header(rows: Iterator[tuple[int, list[str]]]) -> list[str]:
    """Return the names of a table's columns: its first row."""
    _, cells = next(rows, (0, []))
    return [cell.strip() for cell in cells]


def _to_turns(record: Any) -> list[str]:
    """Return prompt, completion, prompt, completion, and so on, of a record."""
    if not isinstance(record, dict):
        raise InvalidRecordError("it is not an object")
    if MESSAGES in record and PROMPT not in record:
        return _join_messages(record[MESSAGES])
    for name in (PROMPT, COMPLETION):
        if not isinstance(record.get(name), str):
            raise InvalidRecordError(f"`{name}` is {'not text' if name in record else 'missing'}")
    return [record[PROMPT], record[COMPLETION]]


def _join_messages(messages: Any) -> list[str]:
    """Return the turns of messages: those before an answer are one prompt, answers in a row are one."""
    if not isinstance(messages, list) or not messages:
        raise InvalidRecordError("`messages` is not a list of messages")
    turns: list[str] = []
    last = ""
    for number, message in enumerate(messages):
        role = message.get("role") if isinstance(message, dict) else None
        if role not in ROLES:
            raise InvalidRecordError(f"messages[{number}] has the role {role!r:.40}, not {', '.join(ROLES)}")
        if message.get("tool_calls") or message.get("function_call"):
            raise InvalidRecordError(f"messages[{number}] calls a tool, and only text is learned")
        if message.get("weight", 1) != 1:
            raise InvalidRecordError(f"messages[{number}] has a weight, and every answer counts the same")
        text = _read_content(message.get("content"), number)
        if ROLES[role] == last:
            turns[-1] += f"\n{text}"
        elif not turns and ROLES[role] == COMPLETION:
            raise InvalidRecordError("an answer comes before the first prompt")
        else:
            turns.append(text)
        last = ROLES[role]
    if last != COMPLETION:
        raise InvalidRecordError("the last message is not the assistant's")
    return turns


def _read_content(content: Any, number: int) -> str:
    if isinstance(content, list):
        parts = [
            part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str)
        ]
        content = "".join(parts) if len(parts) == len(content) else None
    if not isinstance(content, str):
        raise InvalidRecordError(f"messages[{number}] has no text")
    return content


def _clean(turn: str, notes: ReadNotes) -> str:
    """Return a turn in one line; count its line breaks."""
    lines = [" ".join(line.split()) for line in split_lines(drop_half_characters(turn, notes))]
    lines = [line for line in lines if line]
    notes.count("line_breaks", max(0, len(lines) - 1))
    return " ".join(unicodedata.normalize("NFC", clean_characters(" ".join(lines), notes)).split())


def _require_text(turns: Sequence[str]) -> None:
    """Raise InvalidRecordError for a turn without text, and for a conversation too large for one document."""
    for number, turn in enumerate(turns):
        if not turn:
            raise InvalidRecordError(f"the {COMPLETION if number % 2 else PROMPT} is empty")
    if sum(map(len, turns)) > MAX_CHARS:
        raise InvalidRecordError(f"it has more than {MAX_CHARS:,} characters")
