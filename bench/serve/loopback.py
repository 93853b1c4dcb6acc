"""A real `tinyedge serve` on loopback, and a client that says exactly what it is told, well or badly.

Used by the soak and by the tests. Standard library alone.
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

PATIENCE_S = 60  # until a server or an answer that does not come is given up
POLL_S = 0.005
JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Answer:
    """What came back. headers: names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body, which has to be JSON."""
        return json.loads(self.body)

    @property
    def text(self) -> str:
        """A completion's text."""
        return str(self.json()["choices"][0]["text"])


@dataclass(frozen=True)
class End:
    """How a server ended. seconds: from the signal on."""

    code: int
    stdout: str
    stderr: str
    seconds: float


class Server:
    """`with Server(bundle, "--queue", 4) as server:` starts one on a free port, and stops it at the end."""

    def __init__(self, bundle: Path, *flags: object, env: dict[str, str] | None = None) -> None:
        command = [sys.executable, "-m", "tinyedge", "serve", str(bundle), "--port", "0", *map(str, flags)]
        self._command = command
        self._environment = {**os.environ, **(env or {})}
        self.port = 0
        self._first = ""

    def __enter__(self) -> "Server":
        self.start()
        self._first = self.process.stdout.readline() if self.process.stdout else ""
        found = re.search(r"at http://\S+:(\d+)$", self._first.strip())
        if not found:
            end = self.stop()
            raise RuntimeError(f"no server: {end}")
        self.port = int(found[1])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.stop()

    def start(self) -> None:
        """Starts the process, without waiting until it answers."""
        self.process = subprocess.Popen(
            self._command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            env=self._environment,
        )

    def stop(self, number: signal.Signals = signal.SIGTERM) -> End:
        """Sends a signal and waits for the end."""
        began = time.monotonic()
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)
        try:
            stdout, stderr = self.process.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        return End(self.process.returncode, self._first + stdout, stderr, time.monotonic() - began)

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Answer:
        """One request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        with contextlib.closing(connection):
            connection.request(method, path, body, headers or {})
            return _read(connection.getresponse())

    def get(self, path: str, **headers: str) -> Answer:
        """GET."""
        return self.request("GET", path, headers=headers)

    def post(self, path: str, fields: object, headers: dict[str, str] | None = None) -> Answer:
        """POST of JSON."""
        return self.request("POST", path, json.dumps(fields).encode(), {**JSON, **(headers or {})})

    def complete(self, prompt: str = "The captain", **fields: object) -> Answer:
        """POST /v1/completions."""
        return self.post("/v1/completions", {"prompt": prompt, **fields})

    def connect(self) -> socket.socket:
        """A connection that has said nothing yet."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S)

    def begin(self, prompt: str = "The captain", **fields: object) -> socket.socket:
        """A connection on which a completion was asked for; nothing is read."""
        connection = self.connect()
        connection.sendall(completion_request({"prompt": prompt, **fields}))
        return connection

    def say(self, data: bytes) -> Answer | None:
        """Sends bytes as they are and reads one answer; None where the server closes without one."""
        with self.connect() as connection:
            with contextlib.suppress(ConnectionError):  # it may answer before it has read all
                connection.sendall(data)
            method = data.partition(b" ")[0].decode("latin-1")
            response = http.client.HTTPResponse(connection, method=method)
            try:
                response.begin()
            except (http.client.BadStatusLine, ConnectionError):
                return None
            return _read(response)

    def metric(self, name: str) -> float:
        """One value of /metrics by its whole name; 0 where it is not there."""
        found = re.search(rf"^{re.escape(name)} (\S+)$", self.get("/metrics").body.decode(), re.MULTILINE)
        return float(found[1]) if found else 0.0

    def wait(self, name: str, value: float) -> float:
        """Seconds until a metric is `value`; raises TimeoutError where it never is."""
        return wait_until(lambda: self.metric(name) == value, f"{name} is not {value}")

    def process_figures(self) -> dict[str, int]:
        """rss and peak in bytes, threads, and open files."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        fields = dict(line.split(":", 1) for line in status.splitlines())
        kb = {"rss": "VmRSS", "peak": "VmHWM"}
        found = {name: int(fields[field].split()[0]) * 1024 for name, field in kb.items()}
        files = len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))
        return {**found, "threads": int(fields["Threads"]), "files": files}


def completion_request(fields: object, *headers: str) -> bytes:
    """A completion as bytes."""
    body = json.dumps(fields).encode()
    lines = (
        "POST /v1/completions HTTP/1.1",
        "Host: localhost",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *headers,
    )
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def wait_until(holds: Callable[[], bool], what: str) -> float:
    """Seconds until something holds; raises TimeoutError where it never does."""
    began = time.monotonic()
    while not holds():
        if time.monotonic() - began > PATIENCE_S:
            raise TimeoutError(what)
        time.sleep(POLL_S)
    return time.monotonic() - began


def events(body: bytes) -> Iterator[Any]:
    """The JSON of a stream's events, which has to end with [DONE]."""
    *parts, done, rest = body.decode().split("\n\n")
    assert (done, rest) == ("data: [DONE]", ""), body[-200:]
    for part in parts:
        assert part.startswith("data: ")
        yield json.loads(part[6:])


def _read(response: http.client.HTTPResponse) -> Answer:
    headers = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, headers, response.read())
