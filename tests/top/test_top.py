"""`tinyedge top` against a server of its own: answers, refusals, silence; and a terminal left clean."""

import contextlib
import http.server
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.metrics_page import page
from tinyedge.core.errors import MonitorError, UsageError
from tinyedge.top import client as module
from tinyedge.top.client import MAX_PAGE_BYTES, MetricsClient, RequestRefusedError, read_api_key
from tinyedge.top.prometheus_text import parse
from tinyedge.top.screen import render
from tinyedge.top.snapshot import Snapshot

SECONDS = 20  # until a test gives up; none of them waits for it


class Fake(http.server.BaseHTTPRequestHandler):
    """Answers as the test says, and remembers what it was asked."""

    status = 200
    body = b""
    headers_sent: dict[str, str]
    asked: list[tuple[str, str | None]]

    def do_GET(self) -> None:
        type(self).asked.append((self.path, self.headers.get("Authorization")))
        self.send_response(self.status)
        for name, value in self.headers_sent.items():
            self.send_header(name, value)
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(self.body)

    def log_message(self, *arguments: object) -> None:
        pass


@contextlib.contextmanager
def serving(
    port: int = 0, body: str | bytes = "", status: int = 200, **headers: str
) -> Iterator[tuple[type[Fake], str]]:
    """A server on loopback, and its address."""
    content = body if isinstance(body, bytes) else body.encode()
    attributes = {"status": status, "body": content, "headers_sent": headers, "asked": []}
    handler = type("Handler", (Fake,), attributes)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield handler, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def closed_port() -> int:
    with serving() as (_, address):
        return int(address.rpartition(":")[2])


def top(*words: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "tinyedge", "top", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_once(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("secret\n")
    with serving(body=page()) as (handler, address):
        done = top(address, "--once", "--api-key-file", tmp_path / "key")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("tinyedge 0.2.0  http://127.0.0.1:")
        assert "p95 71.3" in done.stdout
        assert "\x1b" not in done.stdout
        assert handler.asked == [("/metrics", "Bearer secret")]


def test_once_without_a_server() -> None:
    done = top(f"http://127.0.0.1:{closed_port()}", "--once")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: http://127.0.0.1:")
    assert "does not answer: Connection refused\nhint: " in done.stderr


@pytest.mark.parametrize(
    ("status", "error", "said"),
    [
        (401, RequestRefusedError, "wants an API key"),
        (403, RequestRefusedError, "refuses this API key"),
        (404, RequestRefusedError, "has no metrics there"),
        (302, MonitorError, "answers with HTTP 302"),
        (429, MonitorError, "answers with HTTP 429"),
        (500, MonitorError, "answers with HTTP 500"),
    ],
)
def test_a_server_that_refuses(status: int, error: type[MonitorError], said: str) -> None:
    with serving(body="secret elsewhere") as (other, elsewhere):
        headers = {"Location": f"{elsewhere}/metrics"} if status == 302 else {}
        with serving(status=status, **headers) as (_, address), pytest.raises(error, match=said) as caught:
            MetricsClient(address, "secret").fetch()
        assert isinstance(caught.value, RequestRefusedError) is (error is RequestRefusedError)
        assert other.asked == []  # the key went nowhere else


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"<html>\n", "line 1 is no sample"),
        (b"a \xff\n", "what is no metrics"),
        (b"a 1\nb 1", "last line has no end"),
        (b"#" * (MAX_PAGE_BYTES + 1), "more than 1048576 bytes"),
    ],
)
def test_a_server_that_talks_nonsense(body: bytes, said: str) -> None:
    with serving(body=body) as (_, address), pytest.raises(MonitorError, match=said):
        MetricsClient(address).fetch()


def test_a_server_that_hangs_up() -> None:
    headers = {"Content-Length": "1000"}
    with (
        serving(body=b"a 1\n", **headers) as (_, address),
        pytest.raises(MonitorError, match="it hung up"),
    ):
        MetricsClient(address).fetch()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ftp://127.0.0.1",
        "http://",
        "http://127.0.0.1:99999",
        "http://a b",
        "file:///etc/passwd",
        "http://ñ",
    ],
)
def test_an_address_that_cannot_be_one(url: str) -> None:
    with pytest.raises(UsageError, match="is no address of a server"):
        MetricsClient(url)


def test_a_server_that_drips_has_one_deadline_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TIMEOUT_S", 0.3)
    done = threading.Event()

    def drip(self: Fake) -> None:
        self.send_response(200)
        self.end_headers()
        while not done.wait(0.05):
            self.wfile.write(b"#")

    monkeypatch.setattr(Fake, "do_GET", drip)
    with serving() as (_, address):
        server = MetricsClient(address)
        before = threading.active_count()
        for _ in range(3):
            with pytest.raises(MonitorError, match="takes too long"):
                server.fetch()
        assert threading.active_count() <= before + 2  # one that reads, one that answers it
        done.set()


@pytest.mark.parametrize(
    "line",
    [
        'tinyedge_tokens_total{kind="\x1b]0;PWN\x07"} 3',
        "tinyedge_throttled_bits +Inf",
        "tinyedge_uptime_seconds +Inf",
        "tinyedge_rss_bytes +Inf",
        "tinyedge_rss_bytes -1e300",
        "tinyedge_throttled_bits -1",
    ],
)
def test_odd_figures_are_unknown_and_odd_words_harmless(line: str) -> None:
    name = line.partition(" ")[0].partition("{")[0]
    kept = [row for row in page().splitlines() if not row.startswith(name) or "{" in line]
    figures = Snapshot.from_page(parse("\n".join([*kept, line]) + "\n"), 0.0)
    screen = "\n".join(render([figures, figures], "here"))
    assert all(char.isprintable() or char == "\n" for char in screen)
    assert "inf" not in screen.lower()
    assert "0" * 20 not in screen


def test_an_address_may_be_short_or_have_a_path() -> None:
    with serving(body=page()) as (handler, address):
        MetricsClient(address.removeprefix("http://")).fetch()
        MetricsClient(f"{address}/").fetch()
        MetricsClient(f"{address}/other/metrics").fetch()
        assert [path for path, _ in handler.asked] == ["/metrics", "/metrics", "/other/metrics"]


@pytest.mark.parametrize("content", ["", " \n", "two words", "ñ", "a\nb"])
def test_a_key_that_cannot_be_one(content: str, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(content)
    with pytest.raises(MonitorError, match=r"holds no API key|is empty"):
        read_api_key(tmp_path / "key")
    with pytest.raises(MonitorError, match="does not exist"):
        read_api_key(tmp_path / "none")


def test_bad_flags_are_named() -> None:
    for value in ("0", "nan", "-1", "1e9"):
        done = top("--interval", value)
        assert (done.returncode, done.stdout) == (2, "")
        assert f"--interval {float(value):g}" in done.stderr


class Session:
    """`tinyedge top` on a terminal of its own."""

    def __init__(self, *words: object) -> None:
        self.master, slave = pty.openpty()
        self.before = termios.tcgetattr(slave)
        command = [sys.executable, "-m", "tinyedge", "top", *map(str, words)]
        self.slave = slave
        self.shown = b""
        self.process = subprocess.Popen(
            command,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            env={**os.environ, "COLUMNS": "100"},
        )

    def until(self, text: str) -> None:
        """Reads until the screen has had `text`; what comes after it is looked at next."""
        end = time.monotonic() + SECONDS
        while text.encode() not in self.shown:
            assert time.monotonic() < end, self.shown.decode(errors="replace")[-2000:]
            if select.select([self.master], [], [], 0.2)[0]:
                self.shown += os.read(self.master, 1 << 16)
        self.shown = self.shown.partition(text.encode())[2]

    def end(self) -> tuple[int, list[object]]:
        """Exit code, and the terminal's settings afterwards."""
        self.until("\x1b[?25h\x1b[?1049l")  # the cursor is back, and the shell's own screen
        code = self.process.wait(SECONDS)
        after = termios.tcgetattr(self.slave)
        os.close(self.master)
        os.close(self.slave)
        return code, after


@pytest.mark.parametrize("leave", ["q", "interrupt", "terminate"])
def test_live_and_how_it_is_left(leave: str) -> None:
    with serving(body=page()) as (handler, address):
        session = Session(address, "--interval", "0.1")
        session.until("\x1b[?1049h\x1b[?25l")
        session.until("p95 71.3")
        handler.body = page(response_p95_seconds=0.3).encode()
        session.until("p95 300.0")
        session.until("! p95 over 250")
        if leave == "q":
            os.write(session.master, b"q")
        else:
            session.process.send_signal(signal.SIGINT if leave == "interrupt" else signal.SIGTERM)
        code, after = session.end()
    assert code == (143 if leave == "terminate" else 0)
    assert after == session.before
    assert b"error" not in session.shown
    assert b"Traceback" not in session.shown


def test_a_server_that_goes_and_comes_back() -> None:
    with serving(body=page()) as (_, address):
        port = int(address.rpartition(":")[2])
        session = Session(address, "--interval", "0.1")
        session.until("p95 71.3")
    session.until("does not answer: Connection refused")
    session.until("p95 71.3")  # what was last known stays
    with serving(port, body=page(response_p95_seconds=0.09)):
        session.until("p95 90.0")
        os.write(session.master, b"q")
        assert session.end()[0] == 0


def test_a_key_that_is_missing_ends_it() -> None:
    with serving(status=401) as (_, address):
        session = Session(address, "--interval", "0.1")
        code, after = session.end()
    assert code == 1
    assert after == session.before


def test_a_pipe_gets_one_block_after_the_other() -> None:
    with serving(body=page()) as (_, address):
        command = f"{sys.executable} -m tinyedge top {address} --interval 0.1 | head -n 24"
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    assert "\x1b" not in done.stdout
    assert done.stdout.count("p95 71.3") >= 1
    assert done.stdout.startswith("tinyedge top  http://")
