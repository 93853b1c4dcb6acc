"""A real `tinyedge serve` on loopback, and a client that can send any bytes, valid or not.

Used by the soak test and by the tests. Needs only the standard library.
"""

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

TIMEOUT_S = 60  # how long a server or an answer is waited for
POLL_S = 0.005
JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class HttpAnswer:
    """An answer of the server."""

    status: int
    """HTTP status."""
    headers: dict[str, str]
    """Headers, with names in lower case."""
    body: bytes
    """Complete body, without its framing."""

    def json(self) -> Any:
        """Parse the body as JSON."""
        return json.loads(self.body)

    @property
    def text(self) -> str:
        """Text of a completion's first choice."""
        return str(self.json()["choices"][0]["text"])


@dataclass(frozen=True)
class ServerExit:
    """How a server exited."""

    code: int
    """Exit code."""
    stdout: str
    """Standard output."""
    stderr: str
    """Standard error."""
    seconds: float
    """Time from the signal to the exit."""


class Server:
    """A server process on a free port: `with Server(bundle, "--queue", 4) as server:` starts and stops it."""

    def __init__(self, bundle: Path, *flags: object, env: dict[str, str] | None = None) -> None:
        command = [sys.executable, "-m", "tinyedge", "serve", str(bundle), "--port", "0", *map(str, flags)]
        self._command = command
        self._environment = {**os.environ, **(env or {})}
        self.port = 0
        self._first_line = ""

    def __enter__(self) -> "Server":
        self.start()
        self._first_line = _read_line(self.process.stdout.fileno()) if self.process.stdout else ""
        found = re.search(r"at http://\S+:(\d+)$", self._first_line.strip())
        if not found:
            server_exit = self.stop()
            raise RuntimeError(f"no server: {server_exit}")
        self.port = int(found[1])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.stop()

    def start(self) -> None:
        """Start the process without waiting until it is ready."""
        self.process = subprocess.Popen(
            self._command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            env=self._environment,
        )

    def stop(self, number: signal.Signals = signal.SIGTERM) -> ServerExit:
        """Send a signal and wait for the exit."""
        started = time.monotonic()
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)
        try:
            stdout, stderr = self.process.communicate(timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        return ServerExit(
            self.process.returncode, self._first_line + stdout, stderr, time.monotonic() - started
        )

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> HttpAnswer:
        """Send one request on a new connection."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT_S)
        with contextlib.closing(connection):
            connection.request(method, path, body, headers or {})
            return _read(connection.getresponse())

    def get(self, path: str, **headers: str) -> HttpAnswer:
        """Send a GET request."""
        return self.request("GET", path, headers=headers)

    def post(self, path: str, fields: object, headers: dict[str, str] | None = None) -> HttpAnswer:
        """Send a POST request with JSON."""
        return self.request("POST", path, json.dumps(fields).encode(), {**JSON, **(headers or {})})

    def complete(self, prompt: str = "The captain", **fields: object) -> HttpAnswer:
        """Send a request to /v1/completions."""
        return self.post("/v1/completions", {"prompt": prompt, **fields})

    def connect(self) -> socket.socket:
        """Open a connection without sending anything."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=TIMEOUT_S)

    def start_completion(self, prompt: str = "The captain", **fields: object) -> socket.socket:
        """Open a connection and request a completion, without reading the answer."""
        connection = self.connect()
        connection.sendall(completion_request({"prompt": prompt, **fields}))
        return connection

    def send_raw(self, data: bytes) -> HttpAnswer | None:
        """Send bytes and read one answer; None if the server closes the connection without one."""
        with self.connect() as connection:
            with contextlib.suppress(ConnectionError):  # the server may answer before it has read everything
                connection.sendall(data)
            method = data.partition(b" ")[0].decode("latin-1")
            response = http.client.HTTPResponse(connection, method=method)
            try:
                response.begin()
            except (http.client.BadStatusLine, ConnectionError):
                return None
            return _read(response)

    def read_metric(self, name: str) -> float:
        """Read one value of /metrics by its complete name; 0 if it is absent."""
        found = re.search(rf"^{re.escape(name)} (\S+)$", self.get("/metrics").body.decode(), re.MULTILINE)
        return float(found[1]) if found else 0.0

    def wait_for_metric(self, name: str, value: float) -> float:
        """Wait until a metric is `value` and return the seconds it took; TimeoutError if it never is."""
        return wait_until(lambda: self.read_metric(name) == value, f"{name} is not {value}")

    def read_process_stats(self) -> dict[str, int]:
        """Read the rss and its peak in bytes, and the number of threads and open files."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        fields = dict(line.split(":", 1) for line in status.splitlines())
        kb = {"rss": "VmRSS", "peak": "VmHWM"}
        found = {name: int(fields[field].split()[0]) * 1024 for name, field in kb.items()}
        files = len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))
        return {**found, "threads": int(fields["Threads"]), "files": files}


def completion_request(fields: object, *headers: str) -> bytes:
    """Encode a request to /v1/completions, with additional header lines."""
    body = json.dumps(fields).encode()
    lines = (
        "POST /v1/completions HTTP/1.1",
        "Host: localhost",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *headers,
    )
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def wait_until(condition: Callable[[], bool], message: str) -> float:
    """Wait until a condition holds and return the seconds it took; TimeoutError if it never does.

    Args:
        condition: Called repeatedly.
        message: Message of the TimeoutError.
    """
    started = time.monotonic()
    while not condition():
        if time.monotonic() - started > TIMEOUT_S:
            raise TimeoutError(message)
        time.sleep(POLL_S)
    return time.monotonic() - started


def _read_line(descriptor: int) -> str:
    """Read one line and not a byte more: a buffer would keep the next ones from `communicate`."""
    line = b""
    while not line.endswith(b"\n") and (byte := os.read(descriptor, 1)):
        line += byte
    return line.decode()


def parse_events(body: bytes) -> Iterator[Any]:
    """Yield the JSON of each event of a stream, which must end with [DONE]."""
    *parts, done, rest = body.decode().split("\n\n")
    assert (done, rest) == ("data: [DONE]", ""), body[-200:]
    for part in parts:
        assert part.startswith("data: ")
        yield json.loads(part[6:])


def _read(response: http.client.HTTPResponse) -> HttpAnswer:
    headers = {name.lower(): value for name, value in response.getheaders()}
    return HttpAnswer(response.status, headers, response.read())
