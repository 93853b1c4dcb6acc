"""What happened to a file while it was read: encoding, changes, and everything that was left out.

In: counts from the modules that read a file. Out: the file's entry in `corpus.json` and lines for the user.
Does not know formats.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tinyedge.core.errors import MissingDependencyError, TinyEdgeError

# What is counted, with its words for the user. A format adds its own lines here.
COUNTED = {
    "lines_joined": "wrapped lines joined to paragraphs",
    "lines_kept": "lines kept apart",
    "words_joined": "words joined that a line break had cut",
    "control_characters": "control characters removed",
    "c1_characters": "control characters U+0080-U+009F read as Windows-1252",
    "invalid_bytes": "invalid bytes read as Windows-1252",
    "half_characters": "halves of a character dropped",
    "invisible_characters": "invisible characters dropped",
    "sentences_without_words": "lines without a letter or a digit dropped",
    "front_matter_lines": "lines of front matter dropped",
    "code_blocks": "code blocks dropped",
    "code_lines": "lines of code dropped",
    "unclosed_code_blocks": "code blocks without an end, dropped up to the next blank line",
    "indented_blocks_kept": "indented blocks read as text, because they hold sentences",
    "comments": "comments dropped",
    "scripts": "scripts and style sheets dropped",
    "formulas": "formulas on lines of their own dropped",
    "link_definitions": "link definitions dropped",
    "embedded_files": "embedded files left out",
    "hidden_elements": "hidden elements dropped",
    "navigation_elements": "navigation elements dropped",
    "missing_pages": "pages missing in the file",
    "pages_without_text": "pages without text (pictures)",
    "running_heads": "page numbers and running heads dropped",
    "cues": "cues of subtitles read",
    "repeated_lines": "repeated lines of subtitles dropped",
    "messages": "messages of chats read, without names and dates",
    "notices": "notices of a chat program dropped",
    "omitted_media": "messages without text dropped",
    "edit_marks": "marks of edited messages dropped",
    "chat_details": "names, dates and pictures of chats dropped",
}
MAX_LISTED = 10  # files that the summary lists by name; corpus.json lists all


@dataclass(slots=True)
class ReadNotes:
    """Record of one file, filled while the file is read."""

    path: Path
    """The file."""

    encoding: str = ""
    """Encoding that its bytes were read with; empty for a format that is not text."""

    counts: Counter[str] = field(default_factory=Counter)
    """How often each key of COUNTED happened."""

    fields: tuple[str, ...] = ()
    """Columns of a table whose text was read."""

    other_fields: tuple[str, ...] = ()
    """Columns of a table that were left out."""

    def count(self, what: str, number: int = 1) -> None:
        """Add to a count; `what` is a key of COUNTED."""
        if what not in COUNTED:
            raise KeyError(what)
        if number:
            self.counts[what] += number

    def to_json(self) -> dict[str, Any]:
        """Return the file's entry in `corpus.json`."""
        counts = {what: self.counts[what] for what in COUNTED if self.counts[what]}
        entry: dict[str, Any] = {"name": str(self.path)}
        entry |= {"encoding": self.encoding} if self.encoding else {}
        entry |= {"fields": list(self.fields), "other_fields": list(self.other_fields)} if self.fields else {}
        return entry | counts


@dataclass(slots=True)
class ReadLog:
    """Record of all files of a corpus, filled while they are read."""

    files: list[ReadNotes] = field(default_factory=list)
    """Files that were read, in order."""

    skipped: list[dict[str, str]] = field(default_factory=list)
    """Files in a supported format that were not read: `name`, `reason`, and `extra` if one is missing."""

    other_files: Counter[str] = field(default_factory=Counter)
    """Number of files that no supported format reads, by file name extension."""

    own_files: int = 0
    """Number of files that were left out because tinyedge wrote them."""

    def skip(self, path: Path, failure: TinyEdgeError, is_partial: bool = False) -> None:
        """Record a file that could not be read, or that could be read only in part."""
        hint = f" ({failure.hint})" if failure.hint else ""
        part = "; the text before it was read" if is_partial else ""
        entry = {"name": str(path), "reason": f"{failure.message}{hint}{part}"}
        if isinstance(failure, MissingDependencyError):
            entry["reason"] = f"{path} needs an extra: {entry['reason']}"
            entry["extra"] = failure.extra
        self.skipped.append(entry)

    def to_json(self) -> dict[str, Any]:
        """Return the field `reading` of `corpus.json`."""
        return {
            "files": [notes.to_json() for notes in self.files],
            "skipped": self.skipped,
            "other_files": dict(sorted(self.other_files.items())),
            "own_files": self.own_files,
        }


def describe_reading(reading: dict[str, Any]) -> Iterator[str]:
    """Describe the field `reading` of a `corpus.json` in lines for the user.

    Args:
        reading: What `ReadLog.to_json` returned.
    """
    files = reading["files"]
    if files:
        encodings = Counter(file["encoding"] for file in files if "encoding" in file)
        listed = ", ".join(f"{number:,} {name}" for name, number in encodings.most_common())
        yield f"read {len(files):,} file{'s' * (len(files) != 1)}{f' ({listed})' if listed else ''}"
        unusual = [file for file in files if file.get("encoding", "utf-8") != "utf-8"]
        for file in unusual[:MAX_LISTED]:
            yield f"  {file['name']}: read as {file['encoding']}"
        if len(unusual) > MAX_LISTED:
            yield f"  and {len(unusual) - MAX_LISTED:,} more that are not UTF-8"
    tables = [file for file in files if "fields" in file]
    for file in tables[:MAX_LISTED]:
        others = f"; left out: {', '.join(file['other_fields'][:MAX_LISTED])}" if file["other_fields"] else ""
        yield f"  {file['name']}: text of {', '.join(file['fields'])}{others}"
    if len(tables) > MAX_LISTED:
        yield f"  and {len(tables) - MAX_LISTED:,} more tables (corpus.json lists their columns)"
    for what, words in COUNTED.items():
        total = sum(file.get(what, 0) for file in files)
        if total:
            number = sum(what in file for file in files)
            where = f", in {number:,} of {len(files):,} files" if len(files) > 1 else ""
            yield f"  {total:,} {words}{where}"
    skipped = reading["skipped"]
    if skipped:
        yield f"skipped {len(skipped):,} file{'s' * (len(skipped) != 1)}:"
        for entry in skipped[:MAX_LISTED]:
            yield f"  {entry['reason']}"
        if len(skipped) > MAX_LISTED:
            yield f"  and {len(skipped) - MAX_LISTED:,} more (corpus.json lists them)"
    if reading["own_files"]:
        yield f"left out {reading['own_files']:,} files that tinyedge wrote"
    if reading["other_files"]:
        kinds = describe_other_files(reading["other_files"])
        yield f"not read, because no supported format has the extension: {kinds}"


def describe_other_files(numbers: Mapping[str, int]) -> str:
    """List numbers of files by extension, the largest first."""
    ordered = sorted(numbers.items(), key=lambda item: (-item[1], item[0]))
    kinds = [f"{number:,} {suffix or 'without extension'}" for suffix, number in ordered]
    if len(kinds) > MAX_LISTED:
        kinds[MAX_LISTED:] = [f"{sum(number for _, number in ordered[MAX_LISTED:]):,} others"]
    return ", ".join(kinds)
