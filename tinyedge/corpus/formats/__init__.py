"""File formats that can be read. A format is a module of this package with one function, `read_paragraphs`.

In: the name of a file. Out: the format that reads it. Does not know how lines are joined or sentences split.

    def read_paragraphs(path: Path, notes: ReadNotes) -> Iterator[str]

yields the text of a file in order: lines or paragraphs, an empty string as a boundary between paragraphs, and
END_OF_DOCUMENT after each document of a file that holds several (a record of `.jsonl`, a row of a table). It
streams where the format allows it, and counts what it leaves out in `notes`. A file that it cannot read
raises CorpusError, before anything is yielded wherever that is possible. `path` may end in COMPRESSED:
`tinyedge.corpus.encoding.open_file` opens both. Libraries of an extra are imported inside the function.
"""

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tinyedge.core.errors import CorpusError
from tinyedge.corpus.encoding import COMPRESSED
from tinyedge.corpus.read_notes import ReadNotes

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

    def read_paragraphs(self, path: Path, notes: ReadNotes) -> Iterator[str]:
        """Stream the text of a file, as the module's docstring describes."""
        module = importlib.import_module(f"{__name__}.{self.module}")
        paragraphs: Iterator[str] = module.read_paragraphs(path, notes)
        return paragraphs


FORMATS = {
    ".txt": Format("text", has_lines=True),
    ".md": Format("markdown", has_lines=True),
    ".jsonl": Format("jsonl", has_lines=True, has_documents=True),
}
"""Format by file name extension, in lower case."""


def find_format(path: Path) -> Format | None:
    """Return the format of a file by its name, or None if it is not supported."""
    name = path.name.lower().removesuffix(COMPRESSED)
    return next((found for suffix, found in FORMATS.items() if name.endswith(suffix)), None)


def get_format(path: Path) -> Format:
    """Return the format of a file that `find_format` knows."""
    found = find_format(path)
    if found is None:
        raise CorpusError(f"{path} has an unsupported file name extension", describe_formats())
    return found


def describe_formats() -> str:
    """Return a hint that lists the supported formats."""
    return f"supported are {', '.join(FORMATS)}, each also with {COMPRESSED}"
