"""Read the user's files as documents.

In: paths of files and folders. Out: documents, and a log of what was read, changed and left out. Files are
streamed; no complete file or long line is in memory. Does not download anything. Does not know how a file
format is read: `tinyedge.corpus.formats` does.
"""

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tinyedge.core.errors import CorpusError, MissingDependencyError
from tinyedge.corpus.characters import clean_characters
from tinyedge.corpus.document import Document
from tinyedge.corpus.document_splitter import split_documents
from tinyedge.corpus.find_files import find_files
from tinyedge.corpus.formats import END_OF_DOCUMENT, get_format
from tinyedge.corpus.formats.tables import MissingFieldError
from tinyedge.corpus.gutenberg_marks import drop_boilerplate
from tinyedge.corpus.line_joining import join_lines
from tinyedge.corpus.line_passage import CompleteLine
from tinyedge.corpus.read_notes import ReadLog, ReadNotes, describe_reading
from tinyedge.corpus.read_settings import ReadSettings

DEFAULT_SETTINGS = ReadSettings()
MANY_FILES = 20  # this many files or more are one document each; fewer are split, to hold out enough


def read_documents(
    paths: Sequence[Path],
    report: Callable[[str], None] = lambda line: None,
    settings: ReadSettings = DEFAULT_SETTINGS,
    log: ReadLog | None = None,
) -> Iterator[Document]:
    """Stream the documents of files and folders.

    A file that cannot be read is skipped, and the reason is reported. If a package is missing, that is an
    error for a file that the user named, and not for a file in a folder.

    Args:
        paths: Files and folders, read in this order; the files of a folder are read in sorted order.
        report: Receives lines about what was read, changed and skipped, after the last document, if there is
            no log.
        settings: How files are read.
        log: Receives what was read, changed and skipped.

    Raises:
        CorpusError: No file contains text that can be read, or one cannot be read and `settings` are strict.
        MissingDependencyError: A package is missing to read a file that was given itself.
    """
    is_reported = log is None
    log = ReadLog() if log is None else log
    files = find_files(paths, log)
    if settings.strict and log.skipped:
        raise CorpusError(log.skipped[0]["reason"], "omit --strict to skip it")
    first_failure: CorpusError | MissingDependencyError | None = None
    for file in files:
        notes = ReadNotes(file.path)
        documents = _read_file(notes, settings, len(files))
        try:
            document = next(documents, None)
            if document is None:
                reason = "contains no text" if file.path.stat().st_size else "is empty"
                raise CorpusError(f"{file.path} {reason}", "give a file with sentences in it")
            log.files.append(notes)
            yield document
            yield from documents
        except (CorpusError, MissingDependencyError) as failure:
            if settings.strict or (file.is_explicit and isinstance(failure, MissingDependencyError)):
                raise
            first_failure = first_failure or failure
            log.skip(file.path, failure, is_partial=notes in log.files[-1:])
    if not log.files and first_failure is not None:
        raise first_failure
    if settings.field:
        _check_field(log, settings.field)
    if is_reported:
        for line in describe_reading(log.to_json()):
            report(line)


def _check_field(log: ReadLog, field: str) -> None:
    """Raise CorpusError if no file had the field that the user chose, which is misspelled then."""
    tables = [notes for notes in log.files if notes.fields]
    if tables and all(notes.missing_field for notes in tables):
        names = dict.fromkeys(name for notes in tables for name in (*notes.fields, *notes.other_fields))
        hint = f"choose one with --field: {', '.join(list(names)[:20])}"
        raise CorpusError(f"no file has a field {field}", hint)


def _read_file(notes: ReadNotes, settings: ReadSettings, file_count: int) -> Iterator[Document]:
    """Stream the documents of a file.

    Args:
        notes: Names the file, and receives what is changed and dropped.
        settings: How the file is read.
        file_count: Number of files that are read. A single one must have the field that the user chose.
    """
    file_format = get_format(notes.path)
    is_document = file_count >= MANY_FILES or file_format.has_documents
    try:
        units = _peek(file_format.read_paragraphs(notes.path, notes, settings))
    except MissingFieldError:
        if file_count == 1:
            raise
        notes.missing_field = settings.field
        usual = dataclasses.replace(settings, field="")
        units = file_format.read_paragraphs(notes.path, notes, usual)
    for is_end, part in itertools.groupby(units, END_OF_DOCUMENT.__eq__):
        if is_end:
            continue
        clean: Iterator[str] = (_clean(unit, notes) for unit in part)
        if file_format.has_lines and not file_format.has_documents:
            clean = drop_boilerplate(clean, notes)
        paragraphs = join_lines(clean, settings.lines, notes) if file_format.has_lines else clean
        yield from split_documents(paragraphs, str(notes.path), as_one_document=is_document, notes=notes)


def _clean(unit: str, notes: ReadNotes) -> str:
    text = clean_characters(unit, notes)
    return CompleteLine(text) if isinstance(unit, CompleteLine) else text


def _peek(units: Iterator[str]) -> Iterator[str]:
    """Read the first unit, so that errors before it are raised here."""
    return itertools.chain(list(itertools.islice(units, 1)), units)
