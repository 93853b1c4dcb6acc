"""Downloads from a local server that misbehaves, and the text that a book becomes."""

import contextlib
import datetime
import email.utils
import http.server
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tinyedge import __version__
from tinyedge.core.errors import CorpusError
from tinyedge.corpus import gutenberg
from tinyedge.corpus.download import DownloadPolicy
from tinyedge.corpus.gutenberg import Book, fetch_documents, load_books
from tinyedge.corpus.read_notes import ReadLog

QUIXOTE = Book(7, "Don Quijote", "Cervantes", "es", "a test")
PAN = Book(8, "Peter Pan", "Barrie", "en", "a test")
PARAGRAPH = (
    "En un lugar de la _Mancha_, de cuyo nombre no quiero\r\n"
    "acordarme, vivía un hidalgo. Tenía un galgo.\r\n\r\n"
)
SENTENCES = (
    "En un lugar de la Mancha, de cuyo nombre no quiero acordarme, vivía un hidalgo.",
    "Tenía un galgo.",
)


def make_book(title: str = "Don Quijote", head: str = "", paragraphs: int = 200) -> str:
    return (
        f"\ufeffThe Project Gutenberg eBook of {title}\r\n\r\nTitle: {title}\r\n{head}\r\n"
        f"*** START OF THE PROJECT GUTENBERG EBOOK {title.upper()} ***\r\n\r\n"
        "Produced by somebody kind\r\nand another\r\n\r\n"
        "CAPÍTULO PRIMERO\r\n\r\nXII.\r\n\r\nCapítulo 2. De algo\r\n\r\n"
        f"{PARAGRAPH * paragraphs}"
        f"Parte de él quedó allí.\r\n\r\n* * *\r\n\r\nEnd of Project Gutenberg's {title}\r\n\r\n"
        f"*** END OF THE PROJECT GUTENBERG EBOOK {title.upper()} ***\r\n\r\nA licence.\r\n"
    )


class Answer:
    """How the server answers one request."""

    def __init__(
        self,
        status: int = 200,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
        cut: int | None = None,
        delay: float = 0.0,
        ranges: bool = False,
        drip: float = 0.0,
    ) -> None:
        self.status, self.body, self.headers = status, body, headers or {}
        self.cut, self.delay, self.ranges, self.drip = cut, delay, ranges, drip


class Mirror:
    """A server that gives prepared answers in order, and repeats the last one."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.requests: list[dict[str, str]] = []
        mirror = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answer = mirror.answers.pop(0) if len(mirror.answers) > 1 else mirror.answers[0]
                mirror.requests.append({"path": self.path, **self.headers})
                time.sleep(answer.delay)
                body, status, headers = answer.body, answer.status, dict(answer.headers)
                wanted = self.headers.get("Range")
                if wanted and answer.ranges:
                    start = int(wanted.removeprefix("bytes=").rstrip("-"))
                    headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
                    body, status = body[start:], 206
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                with contextlib.suppress(ConnectionError):  # the client has stopped waiting
                    for start in range(5 if answer.drip else 0):
                        self.wfile.write(body[start : start + 1])
                        time.sleep(answer.drip)
                    self.wfile.write(body[5 if answer.drip else 0 : answer.cut])

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/{{number}}.txt"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    mirror = Mirror()
    yield mirror
    mirror.close()


class Run:
    """One run of fetch_documents(): the documents, the reported lines, and the times it would have slept."""

    def __init__(self, mirror: Mirror, cache: Path, *books: Book, timeout: float = 5.0) -> None:
        self.lines: list[str] = []
        self.slept: list[float] = []
        policy = DownloadPolicy(timeout=timeout, sleep=self.slept.append)
        self.documents = list(
            fetch_documents(cache, books or [QUIXOTE], mirror.url, self.lines.append, policy)
        )


GOOD = make_book().encode()


def run_and_fail(mirror: Mirror, cache: Path, *answers: Answer, timeout: float = 5.0) -> str:
    """Run with one book, which must fail, and return the reported reason."""
    mirror.answers = list(answers)
    lines: list[str] = []
    policy = DownloadPolicy(timeout=timeout, sleep=lambda _: None)
    with pytest.raises(CorpusError, match="is available in: es"):
        list(fetch_documents(cache, [QUIXOTE], mirror.url, lines.append, policy))
    assert not (cache / "pg7.txt").exists()
    return lines[-1]


def test_a_book_becomes_documents(mirror: Mirror, tmp_path: Path) -> None:
    mirror.answers = [Answer(body=GOOD)]
    run = Run(mirror, tmp_path / "cache")
    assert {document.source for document in run.documents} == {"gutenberg:7"}
    assert {document.language for document in run.documents} == {"es"}
    assert sum((document.sentences for document in run.documents), ()) == (
        *SENTENCES * 200,
        "Parte de él quedó allí.",
    )
    assert all(sum(map(len, document.sentences)) >= 4_000 for document in run.documents)
    assert len(run.documents) > 2
    assert mirror.requests[0]["User-Agent"].startswith(f"tinyedge/{__version__}")
    assert run.slept == [2.0]


def test_the_cache_is_used_and_repaired(mirror: Mirror, tmp_path: Path) -> None:
    mirror.answers = [Answer(body=GOOD)]
    first = Run(mirror, tmp_path)
    again = Run(mirror, tmp_path)
    assert again.documents == first.documents
    assert len(mirror.requests) == 1
    (tmp_path / "pg7.txt").write_bytes(GOOD[:5_000])
    assert Run(mirror, tmp_path).documents == first.documents
    assert len(mirror.requests) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["pg7.txt"]


def test_404_fails_at_once(mirror: Mirror, tmp_path: Path) -> None:
    assert "404" in run_and_fail(mirror, tmp_path, Answer(404))
    assert len(mirror.requests) == 1


def test_500_is_retried_with_backoff(mirror: Mirror, tmp_path: Path) -> None:
    mirror.answers = [Answer(500), Answer(503), Answer(body=GOOD)]
    run = Run(mirror, tmp_path)
    assert run.documents
    assert run.slept == [1.0, 2.0, 2.0]  # the last is the pause after the book


def test_attempts_are_limited(mirror: Mirror, tmp_path: Path) -> None:
    assert "502" in run_and_fail(mirror, tmp_path, Answer(502))
    assert len(mirror.requests) == 4


@pytest.mark.parametrize(("asked", "slept"), [("7", 7.0), ("9999", 60.0), ("nonsense", 1.0)])
def test_retry_after_is_honoured_and_capped(mirror: Mirror, tmp_path: Path, asked: str, slept: float) -> None:
    mirror.answers = [Answer(429, headers={"Retry-After": asked}), Answer(body=GOOD)]
    assert Run(mirror, tmp_path).slept[0] == slept


def test_retry_after_may_be_a_date(mirror: Mirror, tmp_path: Path) -> None:
    then = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=30)
    mirror.answers = [
        Answer(429, headers={"Retry-After": email.utils.format_datetime(then, usegmt=True)}),
        Answer(body=GOOD),
    ]
    assert 20 < Run(mirror, tmp_path).slept[0] <= 30


def test_a_slow_server_times_out(mirror: Mirror, tmp_path: Path) -> None:
    mirror.answers = [Answer(body=GOOD, delay=0.15), Answer(body=GOOD)]
    run = Run(mirror, tmp_path, timeout=0.05)
    assert run.documents
    assert run.slept[0] == 1.0


def test_a_slow_download_is_ended_at_the_deadline(mirror: Mirror, tmp_path: Path) -> None:
    mirror.answers = [Answer(body=GOOD, drip=0.02), Answer(body=GOOD, ranges=True)]
    lines: list[str] = []
    policy = DownloadPolicy(deadline=0.05, max_attempts=2, sleep=lambda _: None)
    assert list(fetch_documents(tmp_path, [QUIXOTE], mirror.url, lines.append, policy))
    assert 1 <= int(mirror.requests[1]["Range"].removeprefix("bytes=").rstrip("-")) <= 5
    assert (tmp_path / "pg7.txt").read_bytes() == GOOD


def test_no_server_is_an_error_after_a_few_books(mirror: Mirror, tmp_path: Path) -> None:
    lines: list[str] = []
    books = [Book(number, "Don Quijote", "", "es", "") for number in range(1, 9)]
    with pytest.raises(CorpusError) as caught:
        list(
            fetch_documents(
                tmp_path,
                books,
                "http://127.0.0.1:9/{number}",
                lines.append,
                DownloadPolicy(sleep=lambda _: None),
            )
        )
    assert "--source phrasebook" in caught.value.hint
    assert sum("no connection" in line for line in lines) == 3
    assert lines[-1] == "no server answered: 5 more books were not tried"


def test_a_truncated_book_is_resumed(mirror: Mirror, tmp_path: Path) -> None:
    mirror.answers = [Answer(body=GOOD, cut=9_000), Answer(body=GOOD, ranges=True)]
    assert Run(mirror, tmp_path).documents
    assert mirror.requests[1]["Range"] == "bytes=9000-"
    assert (tmp_path / "pg7.txt").read_bytes() == GOOD


def test_without_range_support_a_download_restarts(mirror: Mirror, tmp_path: Path) -> None:
    mirror.answers = [Answer(body=GOOD, cut=9_000), Answer(body=GOOD)]
    assert Run(mirror, tmp_path).documents
    assert (tmp_path / "pg7.txt").read_bytes() == GOOD


def test_a_partial_file_that_is_too_long_is_deleted(mirror: Mirror, tmp_path: Path) -> None:
    (tmp_path / "pg7.part").write_bytes(b"x" * 100_000)
    mirror.answers = [Answer(416), Answer(body=GOOD)]
    assert Run(mirror, tmp_path).documents
    assert "Range" not in mirror.requests[1]


def test_a_book_that_stays_truncated_run_and_fail(mirror: Mirror, tmp_path: Path) -> None:
    assert f"ended after 100 of {len(GOOD)} bytes" in run_and_fail(
        mirror, tmp_path, Answer(body=GOOD, cut=100)
    )


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"<!DOCTYPE html><html><body>Sorry</body></html>", "a web page"),
        (PARAGRAPH.encode() * 200, "START and END"),
        (GOOD[: len(GOOD) - 300], "START and END"),
        (make_book("La de Bringas, don").encode(), "the title does not match"),
        (make_book(paragraphs=2).encode(), "characters of text"),
    ],
)
def test_a_download_that_is_not_the_book_is_refused(
    mirror: Mirror, tmp_path: Path, body: bytes, reason: str
) -> None:
    assert reason in run_and_fail(mirror, tmp_path, Answer(body=body))
    assert len(mirror.requests) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "head", ["", "Character set encoding: ISO-8859-1\r\n", "Character set encoding: klingon\r\n"]
)
def test_latin_1_is_read_and_reported(mirror: Mirror, tmp_path: Path, head: str) -> None:
    mirror.answers = [Answer(body=make_book(head=head).lstrip("\ufeff").encode("latin-1"))]
    run = Run(mirror, tmp_path)
    assert run.documents[0].sentences[:2] == SENTENCES
    assert "not UTF-8, read as" in run.lines[-1]


def test_quotes_of_windows_1252_survive_and_verse_stays_a_line_each(mirror: Mirror, tmp_path: Path) -> None:
    verse = ["En un lugar de la Mancha", "De cuyo nombre se acuerda", "“Yo”, dijo uno"]
    book = make_book(head="Character set encoding: ISO-8859-1\r\n").lstrip("\ufeff")
    book = book.replace("* * *", "\r\n".join(f"    {line}" for line in verse))
    mirror.answers = [Answer(body=book.encode("cp1252"))]
    log = ReadLog()
    policy = DownloadPolicy(sleep=lambda _: None)
    documents = fetch_documents(tmp_path, [QUIXOTE], mirror.url, policy=policy, log=log)
    sentences = [sentence for document in documents for sentence in document.sentences]
    assert sentences[-3:] == verse
    assert log.files[0].counts["lines_kept"] == 2


def test_an_endless_download_is_ended(
    mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gutenberg, "MAX_BOOK_BYTES", 5_000)
    assert "more than 5000 bytes" in run_and_fail(mirror, tmp_path, Answer(body=GOOD))
    assert not list(tmp_path.iterdir())


def test_one_failure_does_not_stop_the_other_books(mirror: Mirror, tmp_path: Path) -> None:
    other = Book(9, "Don Quijote", "Cervantes", "es", "a test")
    mirror.answers = [Answer(404), Answer(body=GOOD)]
    run = Run(mirror, tmp_path, other, QUIXOTE)
    assert run.documents
    assert any("Gutenberg 9, Don Quijote: the server answered 404" in line for line in run.lines)


def test_a_language_without_a_book_is_an_error(mirror: Mirror, tmp_path: Path) -> None:
    mirror.answers = [Answer(404), Answer(body=GOOD)]
    with pytest.raises(CorpusError, match="is available in: en"):
        Run(mirror, tmp_path, PAN, QUIXOTE)


def test_the_list_of_books_is_consistent() -> None:
    books = load_books()
    numbers = [book.number for book in books]
    assert len(set(numbers)) == len(numbers)
    for language in ("en", "es"):
        assert sum(book.language == language for book in books) >= 12
    assert all(book.title and book.author and "/" in book.verified for book in books)
    assert all(int(book.author.rpartition("-")[2]) < 1950 for book in books)
