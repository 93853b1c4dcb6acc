"""Write documents to a corpus file and its report.

In: documents of the requested sources. Out: `corpus_bilingual.txt` with one sentence per line and a blank
line between documents, and `corpus.json` with the request, the content and the sha256 of inputs and corpus. A
later run decides from it whether it may reuse or replace the corpus. Does not know tokenizers or models.
"""

import contextlib
import datetime
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tinyedge import __version__
from tinyedge.core.errors import CorpusError
from tinyedge.core.files import (
    atomic_writer,
    read_json,
    sha256_file,
    sync_folder,
    write_json,
)
from tinyedge.corpus.document import Document
from tinyedge.corpus.document_counter import DocumentCounter
from tinyedge.corpus.find_files import find_files
from tinyedge.corpus.own_files import CACHE_MARKER
from tinyedge.corpus.pairs import read_pairs
from tinyedge.corpus.read_notes import ReadLog, describe_reading
from tinyedge.corpus.reader import read_documents
from tinyedge.corpus.request import COMMANDS, GUTENBERG, PHRASEBOOK
from tinyedge.corpus.request import CorpusRequest as CorpusRequest

CORPUS_NAME = "corpus_bilingual.txt"
REPORT_NAME = "corpus.json"
PENDING_NAME = f".{REPORT_NAME}.next"  # report of a corpus file that is about to be renamed to its final name
SCHEMA = "tinyedge.corpus/1"
LICENCES = {
    PHRASEBOOK: "Apache-2.0",
    GUTENBERG: "public domain in the USA (Project Gutenberg)",
    COMMANDS: "CC BY 4.0, (c) contributors of github.com/OHF-Voice/intents (builtin: Apache-2.0)",
}
USER_LICENCE = "unknown (user's own text)"


@dataclass(frozen=True, slots=True)
class CorpusReport:
    """Content of `corpus.json`; counts are in sentences, documents and UTF-8 bytes."""

    corpus: dict[str, Any]
    """File name, sha256 and counts of the corpus, and the number of duplicates that were dropped."""

    request: dict[str, Any]
    """The request, as `CorpusRequest.to_json` returns it."""

    sources: list[dict[str, Any]]
    """Name, licence, language and counts of each source."""

    languages: dict[str, dict[str, int]]
    """Counts of each language."""

    created: str
    """Time of the build, ISO 8601 in UTC."""

    version: str
    """Version of tinyedge that built the corpus."""

    reading: dict[str, Any] = field(default_factory=lambda: ReadLog().to_json())
    """What was read, changed, dropped and skipped, as `ReadLog.to_json` returns it."""

    def to_json(self) -> dict[str, Any]:
        """Return the content of `corpus.json`."""
        return {
            "schema": SCHEMA,
            "created": self.created,
            "tinyedge": self.version,
            "corpus": self.corpus,
            "request": self.request,
            "sources": self.sources,
            "languages": self.languages,
            "reading": self.reading,
        }

    @property
    def has_pairs(self) -> bool:
        """Whether a document is a conversation: its lines are prompt, completion, prompt, and so on."""
        return self.request.get("pairs") is True

    @property
    def origin(self) -> str:
        """What the user gave, for an error about the text: sources and inputs."""
        given = [*(f"--source {name}" for name in self.request["sources"]), *self.request["inputs"]]
        return given[0] if len(given) == 1 else f"{given[0]} with {len(given) - 1} more"

    def matches(self, request: CorpusRequest) -> bool:
        """Whether a new build would read the same text.

        The request and the input files are unchanged, and no file that was skipped can be read now.
        """
        skipped = self.reading["skipped"]
        if skipped and (request.reading.strict or any("extra" in entry for entry in skipped)):
            return False
        return self.request == request.to_json()


def load_report(path: Path) -> CorpusReport:
    """Read a `corpus.json`.

    Raises:
        CorpusError: The file is missing or is not a valid report.
    """
    value = read_json(path, SCHEMA, CorpusError)
    try:
        return CorpusReport(
            corpus=dict(value["corpus"]),
            request=dict(value["request"]),
            sources=list(value["sources"]),
            languages=dict(value["languages"]),
            created=value["created"],
            version=value["tinyedge"],
            reading=ReadLog().to_json() | dict(value.get("reading", {})),
        )
    except (KeyError, TypeError, ValueError) as failure:
        raise CorpusError(f"{path} lacks a field ({failure})", "build the corpus again") from None


def prepare_corpus(
    request: CorpusRequest, output_dir: Path, report: Callable[[str], None] = lambda line: None
) -> CorpusReport:
    """Build the corpus in a folder, or reuse the existing one if it matches the request.

    Args:
        request: The texts to build from.
        output_dir: Folder of the corpus file, its report and the download cache.
        report: Receives lines about progress.

    Raises:
        CorpusError: An input cannot be read, the corpus cannot be written, or the folder contains a corpus or
            a report that tinyedge did not write or that was changed later; such a file is never replaced.
    """
    output = output_dir / CORPUS_NAME
    _finish_interrupted_build(output)
    if output.exists():
        existing = _load_own_report(output)
        if existing.matches(request):
            report(f"{output} matches the request: reused")
            _report_reading(existing, report)
            return existing
        report(f"{output} does not match the request: building it again")
    elif (description := output_dir / REPORT_NAME).exists():
        _require_own(description)
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
    except OSError as failure:
        raise CorpusError(
            f"{output_dir} cannot be created: {failure.strerror}", "give another --output-dir"
        ) from None
    log = ReadLog()
    documents = _iter_documents(request, output_dir, report, log)
    built = build_corpus(documents, output, request=request, log=log)
    _report_reading(built, report)
    return built


def build_corpus(
    documents: Iterable[Document], output: Path, *, request: CorpusRequest, log: ReadLog | None = None
) -> CorpusReport:
    """Stream documents to a corpus file and write `corpus.json` next to it; both files or none.

    The report is complete on disk, under PENDING_NAME, before the corpus gets its name: if the process is
    killed in between, the next `prepare_corpus` gives the report its name.

    A document with exactly the sentences of an earlier one is dropped and counted as a duplicate; repeated
    conversations stay.

    Args:
        documents: The documents, in order.
        output: Path of the corpus file.
        request: The request that the report records.
        log: What was read; filled while the documents are read.

    Raises:
        CorpusError: There is no sentence, the corpus file is one of the inputs, or a file cannot be written.
    """
    requested = request.to_json()
    if any(Path(name).resolve() == output.resolve() for name in requested["files"]):
        raise CorpusError(f"{output} is both input and output", "give another --output-dir")
    counter = DocumentCounter()
    pending = output.with_name(PENDING_NAME)
    try:
        with atomic_writer(output) as file:
            for text in counter.encode(documents, keep_repeated="pairs" in requested):
                file.write(text)
            if not counter.counts:
                hint = "give other --source or --input"
                raise CorpusError("the corpus would be empty: no sentence was found", hint)
            corpus = {
                "file": output.name,
                "sha256": counter.digest.hexdigest(),
                "bytes": file.tell(),
                "sentences": counter.total("sentences"),
                "documents": counter.total("documents"),
                "duplicates": counter.duplicates,
            }
            sources = [
                _describe_source(*key, requested["files"]) | dict(counts)
                for key, counts in counter.counts.items()
            ]
            created = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
            reading = (log or ReadLog()).to_json()
            languages = counter.languages()
            report = CorpusReport(corpus, requested, sources, languages, created, __version__, reading)
            write_json(pending, report.to_json())
        pending.replace(output.with_name(REPORT_NAME))
        sync_folder(output.parent)
    except BaseException as failure:
        with contextlib.suppress(OSError, CorpusError):
            _finish_interrupted_build(output)
        if not isinstance(failure, OSError):
            raise
        hint = "free some space, or give another --output-dir"
        raise CorpusError(f"{output} cannot be written: {failure.strerror}", hint) from None
    return report


def has_pairs(path: Path) -> bool:
    """Whether the documents of a corpus file are conversations, which its report tells.

    Raises:
        CorpusError: They were, and the file was changed since.
    """
    try:
        report = load_report(path.with_name(REPORT_NAME))
    except CorpusError:
        return False
    if report.has_pairs and report.corpus.get("sha256") != sha256_file(path):
        raise CorpusError(
            f"{path} held pairs and was changed since tinyedge wrote it",
            "edit the file of the pairs instead, and pass it with --input",
        )
    return report.has_pairs


def _describe_source(name: str, language: str, files: dict[str, str | None]) -> dict[str, Any]:
    """Return the entry of a source in `corpus.json`, without counts; a user's file has its sha256 too."""
    if name in files:
        return {"name": name, "licence": USER_LICENCE, "language": language, "sha256": files[name]}
    source = name.partition(":")[0]  # "gutenberg" of "gutenberg:1342"
    licence = LICENCES.get(source, USER_LICENCE)
    return {"name": name, "licence": licence, "language": language}


def _iter_documents(
    request: CorpusRequest, output_dir: Path, report: Callable[[str], None], log: ReadLog
) -> Iterator[Document]:
    """Yield the documents of all requested sources and inputs; import only the requested sources."""
    if PHRASEBOOK in request.sources:
        from tinyedge.corpus import phrasebook

        yield from phrasebook.generate_documents(request.seed)
    if GUTENBERG in request.sources:
        from tinyedge.corpus import gutenberg

        yield from gutenberg.fetch_documents(_make_cache(output_dir / GUTENBERG), report=report, log=log)
    if COMMANDS in request.sources:
        from tinyedge.corpus.commands.source import generate_documents

        yield from generate_documents(
            request.commands, request.seed, _make_cache(output_dir / COMMANDS), report
        )
    if pairs := request.find_pairs():
        find_files(request.inputs, log)  # notes what it leaves out
        yield from read_pairs(pairs, log, request.reading.strict)
    elif request.inputs:
        yield from read_documents(request.inputs, settings=request.reading, log=log)


def _make_cache(folder: Path) -> Path:
    """Make a folder for downloads, which no run reads as the user's text."""
    folder.mkdir(exist_ok=True)
    (folder / CACHE_MARKER).touch()
    return folder


def has_report(output: Path) -> bool:
    """Whether a report next to a corpus file, final or pending, records exactly its content."""
    reports = (output.with_name(REPORT_NAME), *output.parent.glob(f".{REPORT_NAME}.*"))
    return any(_describes(path, output) for path in reports)


def _finish_interrupted_build(output: Path) -> None:
    """Give a pending report its name if its corpus has its own; otherwise remove the report.

    A temporary report of tinyedge 0.1.0, which wrote no pending one, is accepted too.
    """
    if not output.parent.is_dir():
        return
    pending = output.with_name(PENDING_NAME)
    if os.path.lexists(pending):
        _require_own(pending)
    for path in sorted(output.parent.glob(f".{REPORT_NAME}.*")):
        if _describes(path, output):
            path.replace(output.with_name(REPORT_NAME))
            sync_folder(output.parent)
    pending.unlink(missing_ok=True)  # interrupted before the corpus got its name


def _describes(description: Path, output: Path) -> bool:
    """Whether a report is complete and is that of the corpus at `output`."""
    try:
        return bool(load_report(description).corpus["sha256"] == sha256_file(output))
    except (CorpusError, OSError, KeyError):
        return False


def _require_own(description: Path) -> None:
    """Raise CorpusError if `description` is not a report of tinyedge."""
    try:
        read_json(description, SCHEMA, CorpusError)
    except CorpusError as failure:
        raise CorpusError(
            f"{description} was not written by tinyedge corpus ({failure})",
            "move it away, or give another --output-dir",
        ) from None


def _load_own_report(output: Path) -> CorpusReport:
    """Load the report of the corpus at `output`.

    Raises:
        CorpusError: tinyedge did not write the corpus, or it was changed later.
    """
    hint = "give --skip-corpus to train on it unchanged, or give another --output-dir"
    try:
        existing = load_report(output.with_name(REPORT_NAME))
    except CorpusError as failure:
        raise CorpusError(f"{output} was not written by tinyedge ({failure})", hint) from None
    if existing.corpus.get("sha256") != sha256_file(output):
        raise CorpusError(f"{output} was changed since tinyedge wrote it", hint)
    return existing


def _report_reading(built: CorpusReport, report: Callable[[str], None]) -> None:
    for line in describe_reading(built.reading):
        report(line)
    if repeated := built.corpus["duplicates"]:
        report(f"dropped {repeated:,} documents that repeat an earlier one")
