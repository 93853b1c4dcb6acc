"""A list of public-domain books in, their text as documents out, by way of a cache on disk.

The list is data/gutenberg.toml. Books come from a mirror: Project Gutenberg asks programs to keep off its
main site. What arrives is checked (markers, title, size, charset) before it enters the cache.
"""

import codecs
import email.utils
import http.client
import importlib.resources
import re
import ssl
import time
import tomllib
import unicodedata
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tinyedge import __version__
from tinyedge.core.errors import CorpusError
from tinyedge.core.files import write_bytes
from tinyedge.corpus.document import Document
from tinyedge.corpus.document_splitter import split_documents
from tinyedge.corpus.reader import join_wrapped

BASE_URL = "https://gutenberg.pglaf.org/cache/epub/{number}/pg{number}.txt"
USER_AGENT = f"tinyedge/{__version__} (python-urllib; a few books, cached)"
MIN_BOOK_CHARS = 10_000  # a novella has ten times as many
MAX_BOOK_BYTES = 1 << 24  # several times the longest of novels
MAX_CONSECUTIVE_UNREACHABLE = 3  # books in a row for which no server answered: the machine is offline

_START = re.compile(r"\*{3} ?START OF (?:THE|THIS) PROJECT GUTENBERG EBOOK[^*]{0,400}\*{3}")
_END = re.compile(r"\*{3} ?END OF (?:THE|THIS) PROJECT GUTENBERG EBOOK[^*]{0,400}\*{3}")
_CHARSET = re.compile(rb"Character set encoding:\s*([\w.-]+)")
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")
_CREDITS = re.compile(
    r"(?:Produced by|E-?text prepared|Transcribed |End of (?:the )?Project Gutenberg|\[Illustration)"
)
_CHAPTER = "(?i:chapter|book|part|volume|cap[ií]tulo|libro|parte|tomo)"
_HEADING = re.compile(rf"{_CHAPTER} (?:[IVXLCDM]+|\d+)\b.*|{_CHAPTER}\b.*[^.!?…”\"»]|[IVXLCDM]+\.?")
_RETRYABLE_STATUSES = (408, 429, 500, 502, 503, 504)


@dataclass(frozen=True, slots=True)
class Book:
    """A book of Project Gutenberg: its number there, and `verified`, the public source that says so."""

    number: int
    title: str
    author: str
    language: str
    verified: str


@dataclass(frozen=True, slots=True)
class DownloadPolicy:
    """How the server is treated; times in seconds."""

    max_attempts: int = 4
    timeout: float = 30.0  # without a byte
    deadline: float = 300.0  # for one try
    backoff: float = 1.0  # before the second try; doubles
    pause: float = 2.0  # between downloads
    max_wait: float = 60.0  # even if Retry-After asks for more
    sleep: Callable[[float], None] = time.sleep


class _BookError(Exception):
    """Why a book cannot be had."""


class _UnreachableError(_BookError):
    """No server answered."""


class _TransientError(Exception):
    """A failure that another try may mend; `wait` is the server's wish in seconds."""

    def __init__(self, reason: str, wait: float = 0.0, answered: bool = True) -> None:
        super().__init__(reason)
        self.wait = wait
        self.answered = answered


def load_books() -> tuple[Book, ...]:
    """The books of data/gutenberg.toml."""
    data = importlib.resources.files("tinyedge.corpus").joinpath("data/gutenberg.toml")
    return tuple(Book(**entry) for entry in tomllib.loads(data.read_text("utf-8"))["book"])


def fetch_documents(
    cache_dir: Path,
    books: Sequence[Book] | None = None,
    base_url: str = BASE_URL,
    report: Callable[[str], None] = lambda line: None,
    policy: DownloadPolicy = DownloadPolicy(),
) -> Iterator[Document]:
    """Streams the documents of `books`, downloading what `cache_dir` lacks; `report` gets a line a failure.

    Raises CorpusError, after the rest, when no book of a language came.
    """
    books = load_books() if books is None else books
    cache_dir.mkdir(parents=True, exist_ok=True)
    languages_found: set[str] = set()
    consecutive_unreachable = skipped = 0
    for book in books:
        try:
            text = _load_cached_text(book, cache_dir, report)
            if text is None and consecutive_unreachable >= MAX_CONSECUTIVE_UNREACHABLE:
                skipped += 1
            elif text is None:
                report(f"downloading {book.title} (Gutenberg {book.number})")
                text = _download(book, cache_dir, base_url.format(number=book.number), report, policy)
                consecutive_unreachable = 0
        except _BookError as failure:
            report(f"Gutenberg {book.number}, {book.title}: {failure}")
            consecutive_unreachable = (
                consecutive_unreachable + 1 if isinstance(failure, _UnreachableError) else 0
            )
            continue
        if text is not None:
            languages_found.add(book.language)
            yield from split_documents(
                _split_paragraphs(text), f"gutenberg:{book.number}", language=book.language
            )
    if skipped:
        report(f"no server answered: {skipped} more books were not tried")
    missing = sorted({book.language for book in books} - languages_found)
    if missing:
        hint = "check the network and run again, what came is kept; or use --source phrasebook or --input"
        raise CorpusError(f"no book of Project Gutenberg could be had in: {', '.join(missing)}", hint)


def _load_cached_text(book: Book, cache_dir: Path, report: Callable[[str], None]) -> str | None:
    """The text of a book that is in the cache; a damaged copy counts as none."""
    path = _cache_path(book, cache_dir)
    if not path.exists():
        return None
    try:
        return _extract_text(book, path.read_bytes(), report)
    except _BookError:
        return None


def _cache_path(book: Book, cache_dir: Path) -> Path:
    return cache_dir / f"pg{book.number}.txt"


def _download(
    book: Book, cache_dir: Path, url: str, report: Callable[[str], None], policy: DownloadPolicy
) -> str:
    """Downloads, checks and caches a book. A download that broke off goes on where it stopped."""
    path = _cache_path(book, cache_dir)
    part = path.with_suffix(".part")
    for attempt in range(policy.max_attempts):
        try:
            _fetch(url, part, policy)
            break
        except _TransientError as failure:
            if attempt + 1 == policy.max_attempts:
                kind = _BookError if failure.answered else _UnreachableError
                raise kind(f"{failure}, {policy.max_attempts} times") from None
            policy.sleep(min(max(failure.wait, policy.backoff * 2**attempt), policy.max_wait))
    data = part.read_bytes()
    part.unlink()
    text = _extract_text(book, data, report)
    write_bytes(path, data)
    policy.sleep(policy.pause)
    return text


def _fetch(url: str, part: Path, policy: DownloadPolicy) -> None:
    """Downloads `url` into `part`, from where that file ends if the server can."""
    resume_from = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity"})
    if resume_from:
        request.add_header("Range", f"bytes={resume_from}-")
    deadline = time.monotonic() + policy.deadline
    try:
        with urllib.request.urlopen(request, timeout=policy.timeout) as response:
            span = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
            resumed = response.status == 206 and span is not None and int(span[1]) == resume_from
            if response.status == 206 and not resumed:
                part.unlink()
                raise _TransientError("the server sent a part that was not asked for")
            size = resume_from if resumed else 0
            expected = int(response.headers.get("Content-Length", -1))
            expected += size if expected >= 0 else 0
            with part.open("ab" if resumed else "wb") as file:
                while block := response.read1(1 << 16):
                    file.write(block)
                    size += len(block)
                    if size > MAX_BOOK_BYTES:
                        part.unlink()
                        raise _BookError(f"more than {MAX_BOOK_BYTES} bytes came")
                    if time.monotonic() > deadline:
                        raise _TransientError(f"the download took more than {policy.deadline:g} s")
            if 0 <= size < expected:
                raise _TransientError(f"the download broke off at {size} of {expected} bytes")
    except urllib.error.HTTPError as failure:
        with failure:
            if failure.code == 416:  # the part is as long as the book, or of another edition
                part.unlink()
                raise _TransientError("the server cannot go on with a partial download") from None
            if failure.code not in _RETRYABLE_STATUSES:
                raise _BookError(f"the server answered {failure.code} {failure.reason}") from None
            wait = _parse_retry_after(failure.headers.get("Retry-After", ""))
            raise _TransientError(f"the server answered {failure.code} {failure.reason}", wait) from None
    except TimeoutError:
        raise _TransientError(f"no answer within {policy.timeout:g} s", answered=False) from None
    except (urllib.error.URLError, http.client.HTTPException, ConnectionError, ssl.SSLError) as failure:
        raise _TransientError(
            f"no connection ({getattr(failure, 'reason', failure)})", answered=False
        ) from None


def _parse_retry_after(value: str) -> float:
    """The seconds that a Retry-After header asks for: a number, or the time until a date."""
    if value.isdigit():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return 0.0


def _extract_text(book: Book, data: bytes, report: Callable[[str], None]) -> str:
    """The book in `data` without Project Gutenberg's words around it, or _BookError."""
    whole = _decode(book, data, report).replace("\r\n", "\n")
    if re.match(r"\s*<(?:!doctype|html)", whole, re.IGNORECASE):
        raise _BookError("a web page came instead of the book")
    start = _START.search(whole)
    end = _END.search(whole, start.end()) if start else None
    if start is None or end is None:
        raise _BookError("Project Gutenberg's START and END marks are not there")
    wanted, found = _extract_title_words(book.title), _extract_title_words(whole[: start.end()])
    if len(wanted & found) * 2 < len(wanted):
        raise _BookError("another book came: the title does not fit")
    text = whole[start.end() : end.start()]
    if len(text) < MIN_BOOK_CHARS:
        raise _BookError(f"only {len(text)} characters of text came")
    return text


def _decode(book: Book, data: bytes, report: Callable[[str], None]) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        declared = _CHARSET.search(data[:4096])
        name = declared[1].decode() if declared else "iso-8859-1"
    try:
        codecs.lookup(name)
        text = data.decode(name)
    except (LookupError, UnicodeDecodeError):
        name = "iso-8859-1"
        text = data.decode(name)
    report(f"Gutenberg {book.number}, {book.title}: not UTF-8, read as {name}")
    return text


def _extract_title_words(text: str) -> set[str]:
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return set(re.findall(r"[a-z0-9]{4,}", plain))  # shorter ones, "la" and "the", are in any book


def _split_paragraphs(text: str) -> Iterator[str]:
    """The paragraphs of a book, each followed by a border; credits, headings and ornaments are left out."""
    for paragraph in join_wrapped(text.splitlines()):
        paragraph = paragraph.strip()
        if _CREDITS.match(paragraph) or _is_heading(paragraph):
            continue
        yield paragraph.replace("_", "")  # marks of italics
        yield ""


def _is_heading(paragraph: str) -> bool:
    """Whether a paragraph is "CHAPTER IV. The Cave", "XII" or a short line all in capitals."""
    return len(paragraph) <= 80 and (
        _HEADING.fullmatch(paragraph) is not None or (paragraph.isupper() and paragraph[-1] not in '!?”"»')
    )
