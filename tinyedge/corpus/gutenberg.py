"""Download public-domain books of Project Gutenberg, with a cache on disk.

In: the list of books in data/gutenberg.toml. Out: their text as documents. Books come from a mirror, because
Project Gutenberg asks programs not to use its main site. Each download is checked (markers, title, size,
character set) before it enters the cache. Does not know the corpus file.
"""

import importlib.resources
import itertools
import re
import tomllib
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tinyedge.core.errors import CorpusError
from tinyedge.core.files import write_bytes
from tinyedge.corpus.characters import clean_characters, split_lines
from tinyedge.corpus.document import Document
from tinyedge.corpus.document_splitter import split_documents
from tinyedge.corpus.download import DownloadError, DownloadPolicy, UnreachableError, download
from tinyedge.corpus.encoding import WINDOWS_1252
from tinyedge.corpus.gutenberg_marks import END, START
from tinyedge.corpus.line_joining import join_lines
from tinyedge.corpus.read_notes import ReadLog, ReadNotes
from tinyedge.corpus.read_settings import AUTO_LINES

BASE_URL = "https://gutenberg.pglaf.org/cache/epub/{number}/pg{number}.txt"
DEFAULT_POLICY = DownloadPolicy()
MIN_BOOK_CHARS = 10_000  # a novella has ten times as many
MAX_BOOK_BYTES = 1 << 24  # several times the size of the longest novel
MAX_CONSECUTIVE_UNREACHABLE = 3  # books without an answer; then the machine counts as offline

_CHARSET = re.compile(rb"Character set encoding:\s*([\w.-]+)")
# Old books declare these and contain the quotes and dashes of Windows-1252 all the same.
_SUBSETS_OF_WINDOWS_1252 = ("iso-8859-1", "iso8859-1", "latin1", "latin-1", "us-ascii", "ascii")
_CREDITS = re.compile(
    r"(?:Produced by|E-?text prepared|Transcribed |End of (?:the )?Project Gutenberg|\[Illustration)"
)
_CHAPTER = "(?i:chapter|book|part|volume|cap[ií]tulo|libro|parte|tomo)"
_HEADING = re.compile(rf"{_CHAPTER} (?:[IVXLCDM]+|\d+)\b.*|{_CHAPTER}\b.*[^.!?…”\"»]|[IVXLCDM]+\.?")


@dataclass(frozen=True, slots=True)
class Book:
    """A book of Project Gutenberg."""

    number: int
    """Its number at Project Gutenberg."""

    title: str
    """Title; compared with the title in the download."""

    author: str
    """Author with years of birth and death."""

    language: str
    """ISO 639-1 code of the language."""

    verified: str
    """Public source in which number, title, author and language were looked up."""


def load_books() -> tuple[Book, ...]:
    """Load the list in data/gutenberg.toml."""
    data = importlib.resources.files("tinyedge.corpus").joinpath("data/gutenberg.toml")
    return tuple(Book(**entry) for entry in tomllib.loads(data.read_text("utf-8"))["book"])


def fetch_documents(
    cache_dir: Path,
    books: Sequence[Book] | None = None,
    base_url: str = BASE_URL,
    report: Callable[[str], None] = lambda line: None,
    policy: DownloadPolicy = DEFAULT_POLICY,
    log: ReadLog | None = None,
) -> Iterator[Document]:
    """Stream the documents of some books, and download those that are not in the cache.

    Args:
        cache_dir: Folder of the cache.
        books: The books; the list in data/gutenberg.toml if None.
        base_url: URL of a book, with `{number}` in place of its number.
        report: Receives a line about each download and each failure.
        policy: Limits and pauses of the downloads.
        log: Receives what was joined and changed in each book.

    Raises:
        CorpusError: No book of a language is available; raised after the documents of all other books.
    """
    books = load_books() if books is None else books
    cache_dir.mkdir(parents=True, exist_ok=True)
    languages_found: set[str] = set()
    unreachable = skipped = 0
    for book in books:
        try:
            text = _load_cached_text(book, cache_dir, report)
            if text is None and unreachable >= MAX_CONSECUTIVE_UNREACHABLE:
                skipped += 1
            elif text is None:
                report(f"downloading {book.title} (Gutenberg {book.number})")
                text = _download(book, cache_dir, base_url.format(number=book.number), report, policy)
                unreachable = 0
        except DownloadError as failure:
            report(f"Gutenberg {book.number}, {book.title}: {failure}")
            unreachable = unreachable + 1 if isinstance(failure, UnreachableError) else 0
            continue
        if text is not None:
            languages_found.add(book.language)
            notes = ReadNotes(_cache_path(book, cache_dir))
            if log is not None:
                log.files.append(notes)
            paragraphs = _split_paragraphs(text, notes)
            name = f"gutenberg:{book.number}"
            yield from split_documents(paragraphs, name, language=book.language, notes=notes)
    if skipped:
        report(f"no server answered: {skipped} more books were not tried")
    missing = sorted({book.language for book in books} - languages_found)
    if missing:
        hint = (
            "check the network and run again, finished books are kept; or use --source phrasebook or --input"
        )
        raise CorpusError(f"no book of Project Gutenberg is available in: {', '.join(missing)}", hint)


def _load_cached_text(book: Book, cache_dir: Path, report: Callable[[str], None]) -> str | None:
    """Return the text of a cached book; None if there is no copy or it is damaged."""
    path = _cache_path(book, cache_dir)
    if not path.exists():
        return None
    try:
        return _extract_text(book, path.read_bytes(), report)
    except DownloadError:
        return None


def _cache_path(book: Book, cache_dir: Path) -> Path:
    return cache_dir / f"pg{book.number}.txt"


def _download(
    book: Book, cache_dir: Path, url: str, report: Callable[[str], None], policy: DownloadPolicy
) -> str:
    """Download, check and cache a book; continue an interrupted download where it stopped."""
    path = _cache_path(book, cache_dir)
    data = download(url, path.with_suffix(".part"), policy, MAX_BOOK_BYTES)
    text = _extract_text(book, data, report)
    write_bytes(path, data)
    policy.sleep(policy.pause)
    return text


def _extract_text(book: Book, data: bytes, report: Callable[[str], None]) -> str:
    """Return the text of a book without Project Gutenberg's header and footer.

    Raises:
        DownloadError: The data is not this book.
    """
    document = _decode(book, data, report).replace("\r\n", "\n")
    if re.match(r"\s*<(?:!doctype|html)", document, re.IGNORECASE):
        raise DownloadError("received a web page instead of the book")
    start = START.search(document)
    end = END.search(document, start.end()) if start else None
    if start is None or end is None:
        raise DownloadError("Project Gutenberg's START and END marks are missing")
    wanted, found = _extract_title_words(book.title), _extract_title_words(document[: start.end()])
    if len(wanted & found) * 2 < len(wanted):
        raise DownloadError("received another book: the title does not match")
    text = document[start.end() : end.start()]
    if len(text) < MIN_BOOK_CHARS:
        raise DownloadError(f"received only {len(text)} characters of text")
    return text


def _decode(book: Book, data: bytes, report: Callable[[str], None]) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        declared = _CHARSET.search(data[:4096])
        name = declared[1].decode() if declared else WINDOWS_1252
    if name.lower() in _SUBSETS_OF_WINDOWS_1252:
        name = WINDOWS_1252
    try:
        text = data.decode(name)
    except (LookupError, UnicodeDecodeError):
        name = WINDOWS_1252
        text = data.decode(name, "surrogateescape")
    report(f"Gutenberg {book.number}, {book.title}: not UTF-8, read as {name}")
    return text


def _extract_title_words(text: str) -> set[str]:
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return set(re.findall(r"[a-z0-9]{4,}", plain))  # shorter words ("la", "the") are in every book


def _split_paragraphs(text: str, notes: ReadNotes) -> Iterator[str]:
    """Yield the paragraphs and the kept lines of a book, with boundaries, without credits and headings."""
    lines = (clean_characters(line, notes) for line in split_lines(text))
    units = map(str.strip, join_lines(lines, AUTO_LINES, notes))
    for is_text, block in itertools.groupby(units, bool):
        if not is_text:
            yield ""
            continue
        paragraphs = list(block)
        if not _CREDITS.match(paragraphs[0]):
            # An underscore marks italics.
            yield from (paragraph.replace("_", "") for paragraph in paragraphs if not _is_heading(paragraph))


def _is_heading(paragraph: str) -> bool:
    """Whether a paragraph is like "CHAPTER IV. The Cave", "XII", or a short line in capitals."""
    return len(paragraph) <= 80 and (
        _HEADING.fullmatch(paragraph) is not None or (paragraph.isupper() and paragraph[-1] not in '!?”"»')
    )
