"""File formats that can be read. A format is a module of this package with one function, `read_paragraphs`.

In: the name of a file. Out: the format that reads it. Does not know how lines are joined or sentences split.

    def read_paragraphs(path: Path, notes: ReadNotes) -> Iterator[str]

yields the text of a file in order: lines or paragraphs, an empty string as a boundary between paragraphs, and
END_OF_DOCUMENT after each document of a file that holds several (a record of `.jsonl`, a row of a table). It
streams where the format allows it, and counts what it leaves out in `notes`. A file that it cannot read
raises CorpusError, before anything is yielded wherever that is possible. `path` may end in COMPRESSED:
`tinyedge.corpus.encoding.open_file` opens both. Libraries of an extra are imported inside the function. A
format with fields has a third parameter `field`, one that joins lines itself has `lines`; both are values of
ReadSettings.
"""

import importlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tinyedge.core.errors import CorpusError
from tinyedge.corpus.characters import split_lines
from tinyedge.corpus.encoding import COMPRESSED
from tinyedge.corpus.read_notes import ReadNotes
from tinyedge.corpus.read_settings import ReadSettings

END_OF_DOCUMENT = "\f"


@dataclass(frozen=True, slots=True)
class Format:
    """A file format."""

    module: str
    """Module of this package that reads it."""

    has_lines: bool = False
    """Whether it yields lines that may be hard-wrapped, and not complete paragraphs."""

    has_documents: bool = False
    """Whether a file holds several documents, each followed by END_OF_DOCUMENT."""

    has_fields: bool = False
    """Whether a file has named fields or columns, of which the user may choose one."""

    can_be_compressed: bool = True
    """Whether a file may end in COMPRESSED too; false for formats that are compressed themselves."""

    joins_lines: bool = False
    """Whether it joins lines itself, because line breaks have a meaning of their own in it."""

    def read_paragraphs(self, path: Path, notes: ReadNotes, settings: ReadSettings) -> Iterator[str]:
        """Stream the text of a file, as the module's docstring describes."""
        module = importlib.import_module(f"{__name__}.{self.module}")
        options = {"field": settings.field} if self.has_fields else {}
        options |= {"lines": settings.lines} if self.joins_lines else {}
        paragraphs: Iterator[str] = module.read_paragraphs(path, notes, **options)
        return paragraphs


_TEXT = Format("text", has_lines=True)
_MARKDOWN = Format("markdown", joins_lines=True)
_HTML = Format("html", has_lines=True)
_SUBTITLES = Format("subtitles")
_TABLE = Format("csv_table", has_documents=True, has_fields=True)
FORMATS = {
    ".txt": _TEXT,
    ".text": _TEXT,
    ".md": _MARKDOWN,
    ".markdown": _MARKDOWN,
    ".jsonl": Format("jsonl", has_lines=True, has_documents=True, has_fields=True),
    ".json": Format("chat_json", has_lines=True, has_documents=True),
    ".html": _HTML,
    ".htm": _HTML,
    ".xhtml": _HTML,
    ".srt": _SUBTITLES,
    ".vtt": _SUBTITLES,
    ".csv": _TABLE,
    ".tsv": _TABLE,
    ".parquet": Format("parquet", has_documents=True, has_fields=True, can_be_compressed=False),
    ".epub": Format("epub", has_lines=True, can_be_compressed=False),
    ".docx": Format("docx", has_lines=True, can_be_compressed=False),
    ".odt": Format("odt", has_lines=True, can_be_compressed=False),
    ".pdf": Format("pdf", has_lines=True, can_be_compressed=False),
}
"""Format by file name extension, in lower case."""

_NAMES = (
    "authors changelog changes contributing contributors copying copyright credits history install licence"
    " license news notice notes readme thanks todo"
)
TEXT_NAMES = frozenset(_NAMES.split())
"""Names without extension, in lower case, of files that are plain text."""


def mark_boundaries(lines: Iterable[str]) -> Iterator[str]:
    """Yield lines, each blank one as an empty string, which is a boundary between paragraphs."""
    return (line if line.strip() else "" for line in lines)


def split_paragraphs(text: str) -> Iterator[str]:
    """Yield the lines of a text, each blank one as an empty string."""
    return mark_boundaries(split_lines(text))


def find_format(path: Path) -> Format | None:
    """Return the format of a file by its name, or None if it is not supported."""
    name = path.name.lower()
    plain = name.removesuffix(COMPRESSED)
    if plain in TEXT_NAMES:
        return _TEXT
    found = next((found for suffix, found in FORMATS.items() if plain.endswith(suffix)), None)
    return found if found and (name == plain or found.can_be_compressed) else None


def get_format(path: Path) -> Format:
    """Return the format of a file by its name.

    Raises:
        CorpusError: The format is not supported.
    """
    found = find_format(path)
    if found is None:
        raise CorpusError(f"{path} has an unsupported file name extension", describe_formats())
    return found


def describe_formats() -> str:
    """Return a hint that lists the supported formats."""
    return f"supported are {', '.join(FORMATS)}; those that are text also with {COMPRESSED}"
