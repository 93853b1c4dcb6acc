"""JSON: a chat that Telegram, Discord, Messenger or Instagram exported, or a list of records with a text.

In: a `.json` file. Out: the messages, an empty string after each; names and dates are left out. A record of a
list is a document. Any other JSON is refused. Does not decide whether lines belong together.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tinyedge.core.errors import CorpusError
from tinyedge.corpus.characters import drop_half_characters
from tinyedge.corpus.encoding import read_text_chunks
from tinyedge.corpus.formats import END_OF_DOCUMENT, split_paragraphs
from tinyedge.corpus.read_notes import ReadNotes

MAX_CHARS = 1 << 28  # of a file, which is read as a whole
# Types of messages that a person wrote; other types are notices.
_WRITTEN = ("message", "Default", "Reply", "0", "19", "Generic", "Share")
_HINT = "give the export of a chat, or write one JSON object with a field `text` per line to a .jsonl file"


def read_paragraphs(path: Path, notes: ReadNotes) -> Iterator[str]:
    """Stream the messages or the texts of a file.

    Raises:
        CorpusError: The file is not JSON, too large, or has neither messages nor texts.
    """
    value = _load(path, notes)
    if isinstance(value, list) and value and all(isinstance(_get_text(record), str) for record in value):
        for record in value:
            yield from split_paragraphs(drop_half_characters(_get_text(record) or "", notes))
            yield END_OF_DOCUMENT
        return
    chats = list(_find_chats(value))
    if not chats:
        raise CorpusError(f"{path} has neither messages of a chat nor records with a field `text`", _HINT)
    for chat in chats:
        for message in chat:
            yield from _read_message(message, notes)
        yield END_OF_DOCUMENT


def _load(path: Path, notes: ReadNotes) -> Any:
    chunks: list[str] = []
    size = 0
    for chunk in read_text_chunks(path, notes):
        chunks.append(chunk)
        size += len(chunk)
        if size > MAX_CHARS:
            raise CorpusError(f"{path} has more than {MAX_CHARS:,} characters", "split the file")
    try:
        return json.loads("".join(chunks), strict=False)
    except (ValueError, RecursionError) as failure:
        raise CorpusError(f"{path} is not JSON: {failure}", _HINT) from None


def _find_chats(value: Any) -> Iterator[list[Any]]:
    """Yield the lists of messages: of one chat, or of all chats in Telegram's export of an account."""
    if isinstance(value, list):
        # Discord's own data package: a list of {"ID", "Timestamp", "Contents"}.
        if value and all(isinstance(entry, dict) and "Contents" in entry for entry in value):
            yield value
        elif value and all(
            isinstance(entry, dict) and isinstance(entry.get("messages"), list) for entry in value
        ):
            for entry in value:
                yield from _find_chats(entry)
    elif isinstance(value, dict):
        messages = value.get("messages")
        if isinstance(messages, list) and all(isinstance(message, dict) for message in messages):
            yield _in_order(messages)
        chats = value.get("chats")
        if isinstance(chats, dict) and isinstance(chats.get("list"), list):
            for chat in chats["list"]:
                yield from _find_chats(chat)


def _in_order(messages: list[Any]) -> list[Any]:
    """Return the messages from the oldest to the newest; Messenger writes the newest first."""
    times = [message.get("timestamp_ms") for message in (messages[0], messages[-1])] if messages else []
    is_reversed = len(times) == 2 and all(isinstance(time, int) for time in times) and times[0] > times[1]
    return messages[::-1] if is_reversed else messages


def _read_message(message: dict[str, Any], notes: ReadNotes) -> Iterator[str]:
    kind = message.get("type", "message")
    text = _get_text(message) if str(kind) in _WRITTEN or "role" in message else None
    if "sender_name" in message and text is not None:
        text = _repair_messenger(text)
        if "call_duration" in message or message.get("is_unsent"):
            text = None
    if text is None:
        notes.count("notices")
        return
    lines = list(split_paragraphs(drop_half_characters(text, notes)))
    if any(lines):
        notes.count("messages")
        yield from (*lines, "")
    else:
        notes.count("omitted_media")


def _get_text(record: Any) -> str | None:
    """Return the text of a message or a record."""
    if not isinstance(record, dict):
        return None
    value = next((record[name] for name in ("text", "content", "Contents") if name in record), None)
    if isinstance(value, list):  # Telegram: strings, and objects such as links with a `text`
        parts = [part.get("text") if isinstance(part, dict) else part for part in value]
        return "".join(part for part in parts if isinstance(part, str))
    if value is None and ("sender_name" in record or "media_type" in record or "photo" in record):
        return ""
    return value if isinstance(value, str) else None


def _repair_messenger(text: str) -> str:
    """Undo an error of Meta's export: the bytes of UTF-8 are written as the characters U+0000 to U+00FF."""
    try:
        return text.encode("latin-1").decode()
    except UnicodeError:
        return text
