"""`tinyedge top` with a fake server that answers, refuses or hangs, and the terminal it leaves behind."""

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
from typing import Any

import pytest

from tests.support.metrics_page import make_page
from tinyedge.core.errors import MonitorError, UsageError
from tinyedge.top import client as module
from tinyedge.top.client import MAX_PAGE_BYTES, MetricsClient, RequestRefusedError, read_api_key
from tinyedge.top.prometheus_text import parse
from tinyedge.top.screen import render
from tinyedge.top.snapshot import Snapshot

SECONDS = 20  # time limit of a test that waits; none reaches it


class FakeHandler(http.server.BaseHTTPRequestHandler):
    """Sends the response that the test sets, and records the requests."""

    status = 200
    body = b""
    response_headers: dict[str, str]
    requests: list[tuple[str, str | None]]

    def do_GET(self) -> None:
        type(self).requests.append((self.path, self.headers.get("Authorization")))
        self.send_response(self.status)
        for name, value in self.response_headers.items():
            self.send_header(name, value)
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(self.body)

    def log_message(self, *arguments: object) -> None:
        pass


@contextlib.contextmanager
def serve_page(
    port: int = 0, body: str | bytes = "", status: int = 200, **headers: str
) -> Iterator[tuple[type[FakeHandler], str]]:
    """Run a server on loopback; yields its handler class and its address."""
    content = body if isinstance(body, bytes) else body.encode()
    attributes = {"status": status, "body": content, "response_headers": headers, "requests": []}
    handler = type("Handler", (FakeHandler,), attributes)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield handler, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def find_closed_port() -> int:
    with serve_page() as (_, address):
        return int(address.rpartition(":")[2])


def run_top(*words: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "tinyedge", "top", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_one_screen_of_a_server(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("secret\n")
    with serve_page(body=make_page()) as (handler, address):
        done = run_top(address, "--once", "--api-key-file", tmp_path / "key")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("tinyedge 0.2.0  http://127.0.0.1:")
        assert "p95 71.3" in done.stdout
        assert "\x1b" not in done.stdout
        assert handler.requests == [("/metrics", "Bearer secret")]


def test_once_without_a_server() -> None:
    done = run_top(f"http://127.0.0.1:{find_closed_port()}", "--once")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: http://127.0.0.1:")
    assert "does not answer: Connection refused\nhint: " in done.stderr


@pytest.mark.parametrize(
    ("status", "error", "message"),
    [
        (401, RequestRefusedError, "requires an API key"),
        (403, RequestRefusedError, "rejects this API key"),
        (404, RequestRefusedError, "has no metrics at this address"),
        (302, MonitorError, "answers with HTTP 302"),
        (429, MonitorError, "answers with HTTP 429"),
        (500, MonitorError, "answers with HTTP 500"),
    ],
)
def test_a_server_that_refuses(status: int, error: type[MonitorError], message: str) -> None:
    with serve_page(body="secret elsewhere") as (other, elsewhere):
        headers: dict[str, Any] = {"Location": f"{elsewhere}/metrics"} if status == 302 else {}
        with (
            serve_page(status=status, **headers) as (_, address),
            pytest.raises(error, match=message) as caught,
        ):
            MetricsClient(address, "secret").fetch()
        assert isinstance(caught.value, RequestRefusedError) is (error is RequestRefusedError)
        assert other.requests == []  # the key was sent to no other server


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"<html>\n", "line 1 is not a sample"),
        (b"a \xff\n", "sent invalid metrics"),
        (b"a 1\nb 1", "the last line has no line break"),
        (b"#" * (MAX_PAGE_BYTES + 1), "more than 1048576 bytes"),
    ],
)
def test_a_server_that_sends_an_invalid_page(body: bytes, message: str) -> None:
    with serve_page(body=body) as (_, address), pytest.raises(MonitorError, match=message):
        MetricsClient(address).fetch()


def test_a_server_that_closes_the_connection_early() -> None:
    headers: dict[str, Any] = {"Content-Length": "1000"}
    with (
        serve_page(body=b"a 1\n", **headers) as (_, address),
        pytest.raises(MonitorError, match="closed the connection too early"),
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
def test_an_invalid_address(url: str) -> None:
    with pytest.raises(UsageError, match="is not the address of a server"):
        MetricsClient(url)


def test_a_slow_server_has_one_deadline_for_the_complete_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TIMEOUT_S", 0.3)
    done = threading.Event()

    def send_slowly(self: FakeHandler) -> None:
        self.send_response(200)
        self.end_headers()
        while not done.wait(0.05):
            self.wfile.write(b"#")

    monkeypatch.setattr(FakeHandler, "do_GET", send_slowly)
    with serve_page() as (_, address):
        server = MetricsClient(address)
        before = threading.active_count()
        for _ in range(3):
            with pytest.raises(MonitorError, match="timed out"):
                server.fetch()
        assert threading.active_count() <= before + 2  # the client's reader and the server's handler
        done.set()


@pytest.mark.parametrize(
    "line",
    [
        'tinyedge_tokens_total{kind="\x1b]0;PWN\x07"} 3',
        "tinyedge_throttling_flags +Inf",
        "tinyedge_uptime_seconds +Inf",
        "tinyedge_rss_bytes +Inf",
        "tinyedge_rss_bytes -1e300",
        "tinyedge_throttling_flags -1",
    ],
)
def test_invalid_figures_are_unknown_and_control_characters_are_removed(line: str) -> None:
    name = line.partition(" ")[0].partition("{")[0]
    rows = [row for row in make_page().splitlines() if not row.startswith(name) or "{" in line]
    figures = Snapshot.from_page(parse("\n".join([*rows, line]) + "\n"), 0.0)
    screen = "\n".join(render([figures, figures], "here"))
    assert all(char.isprintable() or char == "\n" for char in screen)
    assert "inf" not in screen.lower()
    assert "0" * 20 not in screen


def test_an_address_may_be_short_or_have_a_path() -> None:
    with serve_page(body=make_page()) as (handler, address):
        MetricsClient(address.removeprefix("http://")).fetch()
        MetricsClient(f"{address}/").fetch()
        MetricsClient(f"{address}/other/metrics").fetch()
        assert [path for path, _ in handler.requests] == ["/metrics", "/metrics", "/other/metrics"]


@pytest.mark.parametrize("content", ["", " \n", "two words", "ñ", "a\nb"])
def test_an_invalid_key(content: str, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(content)
    with pytest.raises(MonitorError, match=r"holds no API key|is empty"):
        read_api_key(tmp_path / "key")
    with pytest.raises(MonitorError, match="does not exist"):
        read_api_key(tmp_path / "none")


def test_an_error_names_the_invalid_flag() -> None:
    for value in ("0", "nan", "-1", "1e9"):
        done = run_top("--interval", value)
        assert (done.returncode, done.stdout) == (2, "")
        assert f"--interval {float(value)} is outside" in done.stderr


class TopSession:
    """`tinyedge top` on its own pseudo-terminal."""

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

    def wait_for(self, text: str) -> None:
        """Read until the screen shows `text`; the next call searches after it."""
        end = time.monotonic() + SECONDS
        while text.encode() not in self.shown:
            assert time.monotonic() < end, self.shown.decode(errors="replace")[-2000:]
            if select.select([self.master], [], [], 0.2)[0]:
                self.shown += os.read(self.master, 1 << 16)
        self.shown = self.shown.partition(text.encode())[2]

    def wait_for_exit(self) -> tuple[int, list[object]]:
        """Wait for the exit; return its code and the terminal's settings afterwards."""
        self.wait_for("\x1b[?25h\x1b[?1049l")  # the cursor and the shell's screen are restored
        code = self.process.wait(SECONDS)
        after = termios.tcgetattr(self.slave)
        os.close(self.master)
        os.close(self.slave)
        return code, after


@pytest.mark.parametrize("leave", ["q", "interrupt", "terminate"])
def test_the_live_screen_and_three_ways_to_leave_it(leave: str) -> None:
    with serve_page(body=make_page()) as (handler, address):
        session = TopSession(address, "--interval", "0.1")
        session.wait_for("\x1b[?1049h\x1b[?25l")
        session.wait_for("p95 71.3")
        handler.body = make_page(response_p95_seconds=0.3).encode()
        session.wait_for("p95 300.0")
        session.wait_for("! p95 over 250")
        if leave == "q":
            os.write(session.master, b"q")
        else:
            session.process.send_signal(signal.SIGINT if leave == "interrupt" else signal.SIGTERM)
        code, after = session.wait_for_exit()
    assert code == (143 if leave == "terminate" else 0)
    assert after == session.before
    assert b"error" not in session.shown
    assert b"Traceback" not in session.shown


def test_a_server_that_stops_and_restarts() -> None:
    with serve_page(body=make_page()) as (_, address):
        port = int(address.rpartition(":")[2])
        session = TopSession(address, "--interval", "0.1")
        session.wait_for("p95 71.3")
    session.wait_for("does not answer: Connection refused")
    session.wait_for("p95 71.3")  # the last known figures stay
    with serve_page(port, body=make_page(response_p95_seconds=0.09)):
        session.wait_for("p95 90.0")
        os.write(session.master, b"q")
        assert session.wait_for_exit()[0] == 0


def test_a_missing_key_ends_the_command() -> None:
    with serve_page(status=401) as (_, address):
        session = TopSession(address, "--interval", "0.1")
        code, after = session.wait_for_exit()
    assert code == 1
    assert after == session.before


def test_a_pipe_gets_one_block_per_interval() -> None:
    with serve_page(body=make_page()) as (_, address):
        command = f"{sys.executable} -m tinyedge top {address} --interval 0.1 | head -n 24"
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    assert "\x1b" not in done.stdout
    assert done.stdout.count("p95 71.3") >= 1
    assert done.stdout.startswith("tinyedge top  http://")
