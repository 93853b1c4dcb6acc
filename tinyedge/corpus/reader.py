"""Read the user's files as documents.

In: paths of files and folders. Out: documents. Files are streamed; no complete file or long line is in
memory. Does not download anything. Does not know how a file format is read: `tinyedge.corpus.formats` does.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tinyedge.core.errors import CorpusError
from tinyedge.corpus.document import Document
from tinyedge.corpus.document_splitter import split_documents
from tinyedge.corpus.find_files import find_files
from tinyedge.corpus.formats import END_OF_DOCUMENT, get_format
from tinyedge.corpus.line_joining import join_if_wrapped
from tinyedge.corpus.read_notes import ReadNotes

MANY_FILES = 20  # so many files are one document each; fewer files are split, to hold out enough


def read_documents(
    paths: Sequence[Path], report: Callable[[str], None] = lambda line: None
) -> Iterator[Document]:
    """Stream the documents of files and folders.

    Args:
        paths: Files and folders, read in this order; the files of a folder are read in sorted order.
        report: Receives a line about files that were skipped because they contain no text.

    Raises:
        CorpusError: A file cannot be read as text, or a file that was given explicitly contains no text.
    """
    files = find_files(paths)
    empty: list[Path] = []
    for file in files:
        documents = _read_file(file.path, as_one_document=len(files) >= MANY_FILES)
        first = next(documents, None)
        if first is not None:
            yield first
            yield from documents
        elif file.is_explicit:
            raise CorpusError(f"{file.path} contains no text", "give a file with sentences in it")
        else:
            empty.append(file.path)
    if empty:
        report(f"skipped {len(empty)} files without text; the first is {empty[0]}")


def _read_file(path: Path, as_one_document: bool) -> Iterator[Document]:
    file_format = get_format(path)
    units = file_format.read_paragraphs(path, ReadNotes(path))
    is_document = as_one_document or file_format.has_documents
    for is_end, part in itertools.groupby(units, END_OF_DOCUMENT.__eq__):
        if is_end:
            continue
        if file_format.has_lines:
            part = join_if_wrapped(part)
        yield from split_documents(part, str(path), as_one_document=is_document)
