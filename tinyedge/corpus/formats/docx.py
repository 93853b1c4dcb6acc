"""Word documents: the text of body, footnotes and endnotes.

In: a `.docx` file. Out: its lines; a paragraph is a paragraph. Inserted text is read and deleted text is not,
as after "accept all changes"; comments, headers and footers are left out. Does not decide whether lines
belong together.
"""

from collections.abc import Iterator
from pathlib import Path

from tinyedge.corpus.formats.archive import named_errors, open_archive
from tinyedge.corpus.formats.markup import MarkupRules, read_xml
from tinyedge.corpus.read_notes import ReadNotes

_BODY = "word/document.xml"
_NOTES = ("word/footnotes.xml", "word/endnotes.xml")
# ECMA-376, part 1. `fallback` repeats a text box for old programs; text of fields and deletions is not `t`.
_RULES = MarkupRules(
    blocks=frozenset({"p"}),
    dropped=frozenset({"fallback", "del", "movefrom", "rt", "ppr", "rpr", "sectpr"}),
    characters={"tab": "\t", "br": "\n", "cr": "\n", "nobreakhyphen": "\u2011"},
    text_elements=frozenset({"t"}),
    floating=frozenset({"txbxcontent"}),
)


def read_paragraphs(path: Path, notes: ReadNotes) -> Iterator[str]:
    """Stream the lines of a document.

    Raises:
        CorpusError: The file is damaged or too large.
        MissingDependencyError: lxml is not installed.
    """
    with open_archive(path) as archive, named_errors(path):
        for name in (_BODY, *_NOTES):
            if name == _BODY or name in archive:
                yield from read_xml(archive.stream(name), _RULES, notes)
                yield ""
