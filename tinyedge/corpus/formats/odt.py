"""OpenDocument text: the text of the body, with notes after their paragraph.

In: an `.odt` file. Out: its lines; a paragraph is a paragraph. Comments and deleted text are left out. Does
not decide whether lines belong together.
"""

from collections.abc import Iterator
from pathlib import Path

from tinyedge.core.errors import CorpusError
from tinyedge.corpus.formats.archive import named_errors, open_archive
from tinyedge.corpus.formats.markup import MarkupRules, read_xml
from tinyedge.corpus.read_notes import ReadNotes

_CONTENT = "content.xml"
_MANIFEST = "META-INF/manifest.xml"
_RULES = MarkupRules(
    blocks=frozenset({"p", "h"}),
    dropped=frozenset(
        {"annotation", "tracked-changes", "note-citation", "forms", "ruby-text", "title", "desc"}
    ),
    characters={"s": " ", "tab": "\t", "line-break": "\n"},
    text_elements=frozenset({"p", "h"}),
    floating=frozenset({"note-body", "text-box"}),
)


def read_paragraphs(path: Path, notes: ReadNotes) -> Iterator[str]:
    """Stream the lines of a document.

    Raises:
        CorpusError: The file is damaged, too large or encrypted.
        MissingDependencyError: lxml is not installed.
    """
    with open_archive(path) as archive, named_errors(path):
        if _MANIFEST in archive and b"encryption-data" in archive.read(_MANIFEST):
            raise CorpusError(f"{path} is encrypted", "save it without a password")
        yield from read_xml(archive.stream(_CONTENT), _RULES, notes)
