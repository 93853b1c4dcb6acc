"""What happened to a file while it was read: encoding, changes, and everything that was left out.

In: counts from the modules that read a file. Out: the file's entry in `corpus.json` and lines for the user.
Does not know formats.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tinyedge.core.errors import MissingDependencyError, TinyEdgeError

# What is counted, with its words for the user: {one|several} where the number decides. A format adds its own
# lines here.
COUNTED = {
    "lines_joined": "wrapped line{|s} joined to {a paragraph|paragraphs}",
    "lines_kept": "line{|s} kept apart",
    "words_joined": "word{|s} joined that a line break had cut",
    "control_characters": "control character{|s} removed",
    "c1_characters": "control character{|s} U+0080-U+009F read as Windows-1252",
    "invalid_bytes": "invalid byte{|s} read as Windows-1252",
    "lines_in_other_encoding": "line{|s} not in UTF-8, read in another encoding",
    "uncertain_encodings": "file{|s} with too few characters to be sure of the encoding",
    "half_characters": "{half|halves} of a character dropped",
    "invisible_characters": "invisible character{|s} dropped",
    "sentences_without_words": "line{|s} without a letter or a digit dropped",
    "front_matter_lines": "line{|s} of front matter dropped",
    "gutenberg_lines": "line{|s} of Project Gutenberg's header and footer dropped",
    "illustrations": "caption{|s} of illustrations dropped",
    "code_blocks": "code block{|s} dropped",
    "code_lines": "line{|s} of code dropped",
    "unclosed_code_blocks": "code block{|s} without an end, dropped up to the next blank line",
    "indented_blocks_kept": "indented block{|s} read as text, because {it holds|they hold} sentences",
    "comments": "comment{|s} dropped",
    "scripts": "{script or style sheet|scripts and style sheets} dropped",
    "formulas": "formula{|s} on {a line of its own|lines of their own} dropped",
    "link_definitions": "link definition{|s} dropped",
    "embedded_files": "embedded file{|s} left out",
    "hidden_elements": "hidden element{|s} dropped",
    "navigation_elements": "navigation element{|s} dropped",
    "page_titles": "title{|s} in the head of a page dropped",
    "page_headers": "{header or footer|headers and footers} of {a page|pages} dropped",
    "forms": "{form or form field|forms and form fields} dropped",
    "embedded_elements": "embedded element{|s} (pictures, video, formulas) dropped",
    "missing_pages": "page{|s} missing in the file",
    "pages_without_text": "page{|s} without text ({a picture|pictures})",
    "running_heads": "{page number or running head|page numbers and running heads} dropped",
    "odd_quotes": "table{|s} with an odd number of quotation marks, so that cells may have run together",
    "cues": "cue{|s} of subtitles read",
    "repeated_lines": "repeated line{|s} of subtitles dropped",
    "sounds": "description{|s} of sounds in subtitles dropped",
    "messages": "message{|s} of chats read, without names and dates",
    "notices": "notice{|s} of a chat program dropped",
    "omitted_media": "message{|s} without text dropped",
    "edit_marks": "mark{|s} of edited messages dropped",
    "line_breaks": "line break{|s} in prompts and completions read as {a space|spaces}",
    "chat_details": "{name, date or picture|names, dates and pictures} of chats dropped",
}
_NUMBERED = re.compile(r"\{([^{|}]*)\|([^{|}]*)\}")
MAX_LISTED = 10  # files that the summary lists by name; corpus.json lists all


@dataclass(slots=True)
class ReadNotes:
    """Record of one file, filled while the file is read."""

    path: Path
    """The file."""

    encoding: str = ""
    """Encoding that its bytes were read with; empty for a format that is not text."""

    other_encoding: str = ""
    """Encoding of its lines that are not UTF-8, in a file in UTF-8."""

    counts: Counter[str] = field(default_factory=Counter)
    """How often each key of COUNTED happened."""

    fields: tuple[str, ...] = ()
    """Columns of a table whose text was read."""

    other_fields: tuple[str, ...] = ()
    """Columns of a table that were left out."""

    missing_field: str = ""
    """Field that the user chose and this file lacks, so that the usual ones were read."""

    pairs: int = 0
    """Number of conversations of a file of pairs that were read."""

    invalid_records: list[dict[str, Any]] = field(default_factory=list)
    """Records of a file of pairs that were skipped: `line` and `reason`."""

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
        entry |= {"other_encoding": self.other_encoding} if self.other_encoding else {}
        entry |= {"fields": list(self.fields), "other_fields": list(self.other_fields)} if self.fields else {}
        entry |= {"missing_field": self.missing_field} if self.missing_field else {}
        entry |= {"pairs": self.pairs} if self.pairs else {}
        entry |= {"invalid_records": self.invalid_records} if self.invalid_records else {}
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
        yield f"read {describe_count(len(files), 'file{|s}')}{f' ({listed})' if listed else ''}"
        unusual = [
            file for file in files if file.get("encoding", "utf-8") != "utf-8" or "other_encoding" in file
        ]
        yield from _list_first(
            [f"{file['name']}: {_describe_encoding(file)}" for file in unusual], "more not in UTF-8"
        )
    tables = [file for file in files if "fields" in file]
    yield from _list_first(
        list(map(_describe_fields, tables)), "more table{|s} (corpus.json lists the columns)"
    )
    for file in files:
        if records := file.get("invalid_records", []):
            yield f"skipped {describe_count(len(records), 'record{|s}')} of {file['name']}:"
            yield from _list_first(
                [f"line {record['line']}: {record['reason']}" for record in records],
                "more (corpus.json lists them)",
            )
    for what, words in COUNTED.items():
        total = sum(file.get(what, 0) for file in files)
        if total:
            number = sum(what in file for file in files)
            where = f", in {number:,} of {len(files):,} files" if len(files) > 1 else ""
            yield f"  {describe_count(total, words)}{where}"
    skipped = reading["skipped"]
    if skipped:
        yield f"skipped {describe_count(len(skipped), 'file{|s}')}:"
        yield from _list_first([entry["reason"] for entry in skipped], "more (corpus.json lists them)")
    if reading["own_files"]:
        yield f"left out {describe_count(reading['own_files'], 'file{|s}')} that tinyedge wrote"
    if reading["other_files"]:
        kinds = describe_other_files(reading["other_files"])
        yield f"not read, because no supported format has the extension: {kinds}"


def _list_first(lines: list[str], more: str) -> Iterator[str]:
    """Yield the first lines, indented, and how many more there are, in the words of `describe_count`."""
    yield from (f"  {line}" for line in lines[:MAX_LISTED])
    if len(lines) > MAX_LISTED:
        yield f"  and {describe_count(len(lines) - MAX_LISTED, more)}"


def _describe_fields(file: dict[str, Any]) -> str:
    others = f"; left out: {', '.join(file['other_fields'][:MAX_LISTED])}" if file["other_fields"] else ""
    missing = f" (has no field {file['missing_field']})" if "missing_field" in file else ""
    return f"{file['name']}: text of {', '.join(file['fields'])}{missing}{others}"


def _describe_encoding(file: dict[str, Any]) -> str:
    unsure = " (too few characters to be sure)" if "uncertain_encodings" in file else ""
    if "other_encoding" not in file:
        return f"read as {file['encoding']}{unsure}"
    lines = describe_count(file["lines_in_other_encoding"], "line{|s}")
    return f"read as {file['encoding']}, and {lines} read as {file['other_encoding']}{unsure}"


def describe_count(number: int, words: str) -> str:
    """Return a number with its words, in which `{one|several}` depends on the number."""
    return f"{number:,} {_NUMBERED.sub(lambda found: found[1] if number == 1 else found[2], words)}"


def describe_other_files(numbers: Mapping[str, int]) -> str:
    """List numbers of files by extension, the largest first."""
    ordered = sorted(numbers.items(), key=lambda item: (-item[1], item[0]))
    kinds = [f"{number:,} {suffix or 'without extension'}" for suffix, number in ordered]
    if len(kinds) > MAX_LISTED:
        others = sum(number for _, number in ordered[MAX_LISTED:])
        kinds[MAX_LISTED:] = [describe_count(others, "other{|s}")]
    return ", ".join(kinds)
