"""Documents in; the corpus file and `corpus.json` beside it out. And back: a corpus file as documents.

`corpus_bilingual.txt` has a sentence a line and a blank line between documents. `corpus.json` says what was
asked for, what came, and the sha256 of both, so that a later run knows whether it may use or replace it.
"""

import datetime
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyedge import __version__
from tinyedge.core.errors import CorpusError, UsageError
from tinyedge.core.files import atomic_writer, read_json, require_file, sha256_file
from tinyedge.corpus.document import Document
from tinyedge.corpus.document_splitter import MAX_DOCUMENT_CHARS
from tinyedge.corpus.reader import find_files, read_documents, read_lines

CORPUS_NAME = "corpus_bilingual.txt"
REPORT_NAME = "corpus.json"
SCHEMA = "tinyedge.corpus/1"
PHRASEBOOK = "phrasebook"
GUTENBERG = "gutenberg"
SOURCES = (PHRASEBOOK, GUTENBERG)
LICENCES = {PHRASEBOOK: "Apache-2.0", GUTENBERG: "public domain in the USA (Project Gutenberg)"}
USER_LICENCE = "unknown (user's own text)"


@dataclass(frozen=True, slots=True)
class CorpusRequest:
    """What to make a corpus of: names of SOURCES, then files and folders; `seed` is the phrasebook's."""

    sources: tuple[str, ...]
    inputs: tuple[Path, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        unknown = [name for name in self.sources if name not in SOURCES]
        if unknown:
            raise UsageError(f"--source {unknown[0]} is not known", f"known are: {', '.join(SOURCES)}")
        if not self.sources and not self.inputs:
            raise UsageError("there is nothing to make a corpus of", "give --source or --input")

    def to_json(self) -> dict[str, Any]:
        """The request as `corpus.json` keeps it, with the sha256 of every input file as it is now."""
        files = {str(file.path): _hash_input(file.path) for file in find_files(self.inputs)}
        return {
            "sources": list(self.sources),
            "inputs": [str(path) for path in self.inputs],
            "seed": self.seed,
            "files": files,
        }


@dataclass(frozen=True, slots=True)
class CorpusReport:
    """A corpus as `corpus.json` describes it; counts are in sentences, documents and bytes of UTF-8."""

    corpus: dict[str, Any]
    request: dict[str, Any]
    sources: list[dict[str, Any]]
    languages: dict[str, dict[str, int]]
    created: str
    version: str

    def to_json(self) -> dict[str, Any]:
        """The content of `corpus.json`."""
        return {
            "schema": SCHEMA,
            "created": self.created,
            "tinyedge": self.version,
            "corpus": self.corpus,
            "request": self.request,
            "sources": self.sources,
            "languages": self.languages,
        }

    def matches(self, request: CorpusRequest) -> bool:
        """Whether the same was asked for, of input files that have not changed since."""
        return self.request == request.to_json()


def load_report(path: Path) -> CorpusReport:
    """Reads a `corpus.json`; raises CorpusError if it is not one."""
    value = read_json(path, SCHEMA, CorpusError)
    try:
        return CorpusReport(
            corpus=dict(value["corpus"]),
            request=dict(value["request"]),
            sources=list(value["sources"]),
            languages=dict(value["languages"]),
            created=value["created"],
            version=value["tinyedge"],
        )
    except (KeyError, TypeError, ValueError) as failure:
        raise CorpusError(f"{path} lacks a field ({failure})", "make the corpus again") from None


def prepare_corpus(
    request: CorpusRequest, output_dir: Path, report: Callable[[str], None] = lambda line: None
) -> CorpusReport:
    """Makes the corpus of `output_dir`, or takes the one there if it is what `request` asks for.

    `report` gets lines about progress. Raises CorpusError rather than replace a corpus that tinyedge did not
    write or that was changed since.
    """
    output = output_dir / CORPUS_NAME
    if output.exists():
        existing = _load_own_report(output)
        if existing.matches(request):
            report(f"{output} is there and is what was asked for: kept")
            return existing
        report(f"{output} was made of something else: made again")
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
    except OSError as failure:
        raise CorpusError(
            f"{output_dir} cannot be made: {failure.strerror}", "give another --output-dir"
        ) from None
    if any(file.path.resolve() == output.resolve() for file in find_files(request.inputs)):
        raise CorpusError(f"{output} is both input and output", "give another --output-dir")
    return build_corpus(_iter_documents(request, output_dir, report), output, request=request)


def build_corpus(documents: Iterable[Document], output: Path, *, request: CorpusRequest) -> CorpusReport:
    """Streams `documents` to `output` and describes it in `corpus.json` beside it; all of it or nothing.

    A document that came before, sentence for sentence, is dropped and counted. Raises CorpusError if nothing
    is left or if the file cannot be written.
    """
    requested = request.to_json()
    counter = _DocumentCounter()
    try:
        with atomic_writer(output.with_name(REPORT_NAME)) as description, atomic_writer(output) as file:
            for text in counter.encode_unique(documents):
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
            report = CorpusReport(corpus, requested, sources, counter.languages(), created, __version__)
            description.write(json.dumps(report.to_json(), indent=2, ensure_ascii=False).encode() + b"\n")
            description.flush()  # a full disk shows here, before either file takes its name
    except OSError as failure:
        hint = "free some space, or give another --output-dir"
        raise CorpusError(f"{output} cannot be written: {failure.strerror}", hint) from None
    return report


def read_corpus_documents(path: Path) -> Iterator[list[str]]:
    """Streams a corpus file as documents, each a list of sentences; none empty, none much over 1 MB.

    Raises CorpusError, with the byte offset, for what is not UTF-8 text.
    """
    require_file(path, CorpusError)
    sentences: list[str] = []
    size = 0
    for line in read_lines(path):
        sentence = line.strip()
        if sentences and (not sentence or size >= MAX_DOCUMENT_CHARS):
            yield sentences
            sentences, size = [], 0
        if sentence:
            sentences.append(sentence)
            size += len(sentence)
    if sentences:
        yield sentences


class _DocumentCounter:
    """Counts documents on their way to the file, by source and language, and drops the repeated ones."""

    def __init__(self) -> None:
        self.counts: dict[tuple[str, str], Counter[str]] = {}
        self.duplicates = 0
        self.digest = hashlib.sha256()

    def encode_unique(self, documents: Iterable[Document]) -> Iterator[bytes]:
        """What the corpus file gets for each document."""
        seen: set[bytes] = set()
        for document in documents:
            text = "".join(f"{sentence}\n" for sentence in document.sentences).encode()
            digest = hashlib.blake2b(text, digest_size=16).digest()
            if digest in seen:
                self.duplicates += 1
            elif text:
                counts = self.counts.setdefault((document.source, document.language), Counter())
                counts.update(documents=1, sentences=len(document.sentences), bytes=len(text))
                text = b"\n" + text if seen else text
                seen.add(digest)
                self.digest.update(text)
                yield text

    def total(self, what: str) -> int:
        return sum(counts[what] for counts in self.counts.values())

    def languages(self) -> dict[str, dict[str, int]]:
        """The counts of each language."""
        sums: dict[str, Counter[str]] = {}
        for (_, language), counts in self.counts.items():
            sums.setdefault(language, Counter()).update(counts)
        return {language: dict(counts) for language, counts in sorted(sums.items())}


def _describe_source(name: str, language: str, files: dict[str, str]) -> dict[str, Any]:
    """What `corpus.json` says of a source besides its counts; a file of the user's has its sha256 too."""
    if name in files:
        return {"name": name, "licence": USER_LICENCE, "language": language, "sha256": files[name]}
    licence = LICENCES.get(name.partition(":")[0], USER_LICENCE)  # "gutenberg:1342" is of gutenberg
    return {"name": name, "licence": licence, "language": language}


def _iter_documents(
    request: CorpusRequest, output_dir: Path, report: Callable[[str], None]
) -> Iterator[Document]:
    """The documents of all that was asked for. Only the sources asked for are imported."""
    if PHRASEBOOK in request.sources:
        from tinyedge.corpus import phrasebook

        yield from phrasebook.generate_documents(request.seed)
    if GUTENBERG in request.sources:
        from tinyedge.corpus import gutenberg

        yield from gutenberg.fetch_documents(output_dir / GUTENBERG, report=report)
    if request.inputs:
        yield from read_documents(request.inputs, report)


def _load_own_report(output: Path) -> CorpusReport:
    """The report of the corpus at `output`; raises CorpusError unless it is as tinyedge wrote it."""
    hint = "--skip-corpus trains on it as it is; or give another --output-dir"
    try:
        existing = load_report(output.with_name(REPORT_NAME))
    except CorpusError as failure:
        raise CorpusError(f"{output} was not written by tinyedge ({failure})", hint) from None
    if existing.corpus.get("sha256") != sha256_file(output):
        raise CorpusError(f"{output} was changed since tinyedge wrote it", hint)
    return existing


def _hash_input(path: Path) -> str:
    try:
        return sha256_file(path)
    except OSError as failure:
        raise CorpusError(f"{path} cannot be read: {failure.strerror}", "check its permissions") from None
