"""Read a corpus file back as documents.

In: a file that `build` wrote, or the user's own with a sentence per line. Out: its documents.
"""

from collections.abc import Iterator
from pathlib import Path

from tinyedge.core.errors import CorpusError
from tinyedge.core.files import require_file
from tinyedge.corpus.document_splitter import MAX_DOCUMENT_CHARS
from tinyedge.corpus.encoding import read_lines
from tinyedge.corpus.read_notes import ReadNotes


def read_corpus_documents(path: Path) -> Iterator[list[str]]:
    """Stream a corpus file as documents, each a list of sentences; none is empty or much larger than 1 MB.

    Raises:
        CorpusError: The file is missing, or is not UTF-8 text; the message contains the byte offset.
    """
    require_file(path, CorpusError)
    sentences: list[str] = []
    size = 0
    for line in read_lines(path, ReadNotes(path), "utf-8"):
        sentence = line.strip()
        if sentences and (not sentence or size >= MAX_DOCUMENT_CHARS):
            yield sentences
            sentences, size = [], 0
        if sentence:
            sentences.append(sentence)
            size += len(sentence)
    if sentences:
        yield sentences
