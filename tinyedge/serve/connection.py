"""A client's connection: HTTP/1.1 by h11, with a bound and a deadline on all that a client can do.

h11 reads and frames; this decides when. In: bytes from a socket. Out: one `Request` after another to an
`Application`, and what that sends through an `Exchange`. Knows no routes.
"""

import asyncio
import email.utils
import http
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, cast
from urllib.parse import unquote

import h11

from tinyedge.serve.errors import ApiError
from tinyedge.serve.settings import MAX_BODY_BYTES, MAX_HEAD_BYTES, MAX_HEADERS, Settings

READ_AHEAD = 64 << 10  # bytes of further requests that may arrive before this one is answered
WRITE_HIGH, WRITE_LOW = 32 << 10, 8 << 10  # bytes that wait for a client to read, and when to go on
LINGER_S = 2  # after an answer to a request that was not read to its end; closing at once could destroy it
LINGER_BYTES = 1 << 20
# Connections above --max-connections that are told so; any more are cut without a word.
TOLD = 32

ALWAYS = (
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cache-Control", "no-store"),
)


@dataclass(frozen=True)
class Head:
    """A request without its body. headers: names in lower case. address: this machine's, where it came in."""

    method: str
    path: str
    headers: dict[str, str]
    address: str


class Application(Protocol):
    """What answers."""

    def admit(self, head: Head) -> None:
        """Looks at a request before its body is read. Raises ApiError."""

    async def answer(self, head: Head, body: bytes, exchange: "Exchange") -> None:
        """Answers a request; cancelled when the client goes. Raises ApiError, lets SlowClientError pass."""

    def refused(self, error: ApiError) -> None:
        """Told of a request that never got as far as `answer`."""


class SlowClientError(Exception):
    """The client does not read; its connection is cut already."""


class Exchange:
    """The way back to a client, for one answer. status: 0 until the answer has begun."""

    def __init__(self, connection: "Connection") -> None:
        self._connection = connection
        self.status = 0

    async def send(
        self, status: int, kind: str, body: bytes, headers: Iterable[tuple[str, str]] = ()
    ) -> None:
        """A whole answer of the media type `kind`."""
        self.begin(status, kind, [("Content-Length", str(len(body))), *headers])
        await self.write(body)

    def begin(self, status: int, kind: str, headers: Iterable[tuple[str, str]] = ()) -> None:
        """The head of an answer that is then written."""
        self.status = status
        self._connection.send_head(status, [("Content-Type", kind), *headers])

    async def write(self, data: bytes) -> None:
        """A part of the body. Waits for a client that has not read what is there. Raises SlowClientError."""
        self._connection.send_body(data)
        await self._connection.drained()


class Connection(asyncio.Protocol):
    """One client. `connections`: all there are; it is in there from the beginning to the end."""

    def __init__(self, application: Application, settings: Settings, connections: set["Connection"]) -> None:
        self._application = application
        self._settings = settings
        self._connections = connections
        self._loop = asyncio.get_running_loop()
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)
        self._head: Head | None = None
        self._body = bytearray()
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._readable: asyncio.Future[None] | None = None  # done when the client has read enough
        self._unsent = b""  # framed, and sent with what comes next
        self._bodiless = False  # the answer to a HEAD
        self._lingering = -1  # bytes that were thrown away; -1 before the end
        self._begun = False  # some of the next head has come

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(WRITE_HIGH, WRITE_LOW)
        self._connections.add(self)
        over = len(self._connections) - self._settings.max_connections
        if over > TOLD:
            self._transport.abort()
        elif over > 0:
            error = ApiError(429, "too many connections: try again later", code="connections", retry_after=1)
            self._refuse(error)
        else:
            self._expect(self._settings.client_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)
        self._expect(None)
        if self._task is not None:
            self._task.cancel()
        self.resume_writing()

    def data_received(self, data: bytes) -> None:
        if self._lingering >= 0:
            self._lingering += len(data)
            if self._lingering > LINGER_BYTES:
                self._transport.abort()
            return
        self._http.receive_data(data)
        if self._task is None:
            self._read()
        elif len(self._http.trailing_data[0]) > READ_AHEAD:
            self._transport.abort()

    def eof_received(self) -> None:
        # A client that closes its half after asking is taken to be gone: no HTTP client does that and still
        # reads, and one that has gone must free its place at once. Else the transport closes by itself.
        if self._task is not None:
            self._transport.abort()
        elif self._lingering < 0 and (self._head is not None or self._begun):
            self._application.refused(ApiError(400, "the request ends in the middle"))

    def pause_writing(self) -> None:
        self._readable = self._loop.create_future()

    def resume_writing(self) -> None:
        if self._readable is not None and not self._readable.done():
            self._readable.set_result(None)
        self._readable = None

    # Reading

    def _read(self) -> None:
        """Takes what has arrived as far as it goes."""
        try:
            while True:
                event = self._http.next_event()
                if isinstance(event, h11.Request):
                    self._take_head(event)
                elif isinstance(event, h11.Data):
                    self._body += event.data
                    if len(self._body) > MAX_BODY_BYTES:
                        raise _too_large()
                elif isinstance(event, h11.EndOfMessage):
                    self._expect(None)
                    self._task = self._loop.create_task(self._answer())
                    return
                elif isinstance(event, h11.ConnectionClosed):
                    self._transport.close()
                    return
                else:  # NEED_DATA or PAUSED
                    if self._head is None and not self._begun and self._http.trailing_data[0]:
                        self._begun = True
                        self._expect(self._settings.client_seconds)
                    return
        except h11.RemoteProtocolError as failure:
            if failure.error_status_hint == 431:
                self._refuse(_head_too_large())
            else:
                self._refuse(ApiError(400, f"this is not HTTP/1.1: {failure}", code="invalid_http"))
        except ApiError as error:
            self._refuse(error)

    def _take_head(self, event: h11.Request) -> None:
        # h11 bounds a head that comes in parts, not one that comes at once.
        size = len(event.method) + len(event.target)
        size += sum(len(name) + len(value) for name, value in event.headers)
        if size > MAX_HEAD_BYTES or len(event.headers) > MAX_HEADERS:
            raise _head_too_large()
        headers: dict[str, str] = {}
        for name, value in event.headers:
            key, text = name.decode("ascii"), value.decode("latin-1")
            headers[key] = f"{headers[key]}, {text}" if key in headers else text
        if (
            "content-length" in headers and "transfer-encoding" in headers
        ):  # the way to smuggle one past a proxy
            raise ApiError(400, "Content-Length and Transfer-Encoding are both there", code="invalid_http")
        method = event.method.decode("ascii")
        target = event.target.decode("ascii").partition("?")[0]
        self._bodiless = method == "HEAD"
        if not target.startswith("/"):
            raise ApiError(400, "the request's target must be a path", code="invalid_http")
        address = self._transport.get_extra_info("sockname")[0]
        head = Head(method, unquote(target, errors="replace"), headers, address)
        self._application.admit(head)
        # h11 has seen to it that it is a number
        if int(headers.get("content-length", "0")) > MAX_BODY_BYTES:
            raise _too_large()
        self._head = head
        self._begun = False
        self._expect(self._settings.client_seconds)
        if self._http.they_are_waiting_for_100_continue:
            self._write(h11.InformationalResponse(status_code=100, headers=[]))

    # Answering

    async def _answer(self) -> None:
        assert self._head is not None
        exchange = Exchange(self)
        try:
            await self._application.answer(self._head, bytes(self._body), exchange)
            self._write(h11.EndOfMessage())
        except SlowClientError:
            return
        except ApiError as error:
            if exchange.status:  # half an answer cannot be taken back
                self._transport.abort()
                return
            self._send_refusal(error)
        self._task = None
        self._head = None
        self._body.clear()
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
            self._expect(self._settings.client_seconds)
            self._read()  # what came meanwhile
        else:
            self._end()

    def send_head(self, status: int, headers: list[tuple[str, str]]) -> None:
        """The head of an answer."""
        date = ("Date", email.utils.formatdate(usegmt=True))
        phrase = http.HTTPStatus(status).phrase
        headers = [date, *ALWAYS, *headers]
        self._write(h11.Response(status_code=status, reason=phrase, headers=headers), last=False)

    def send_body(self, data: bytes) -> None:
        """A part of an answer's body; the answer to a HEAD has none."""
        if not self._bodiless:
            self._write(h11.Data(data=data))

    async def drained(self) -> None:
        """Waits until the client has read enough. Raises SlowClientError."""
        if self._readable is None:
            return
        try:
            await asyncio.wait_for(asyncio.shield(self._readable), self._settings.client_seconds)
        except TimeoutError:
            self._transport.abort()
            self._task = None  # it is ending by itself
            raise SlowClientError from None

    def end_when_idle(self) -> None:
        """The server ends: no further request is taken, one that is under way is answered."""
        if self._task is None:
            self._transport.close()

    def abort(self) -> None:
        """Cuts the connection."""
        self._transport.abort()

    def _write(self, event: h11.Event, last: bool = True) -> None:
        """Frames and sends; what is not the last of its kind waits for it, so that both go in one packet."""
        self._unsent += self._http.send(event) or b""
        if last:
            if not self._transport.is_closing():
                self._transport.write(self._unsent)
            self._unsent = b""

    def _refuse(self, error: ApiError) -> None:
        """The answer to what never became a request; the connection ends with it."""
        self._application.refused(error)
        if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self._send_refusal(error, [("Connection", "close")])
        self._end()

    def _send_refusal(self, error: ApiError, headers: Iterable[tuple[str, str]] = ()) -> None:
        body = error.body()
        length = ("Content-Length", str(len(body)))
        self.send_head(error.status, [("Content-Type", "application/json"), length, *error.headers, *headers])
        self.send_body(body)
        self._write(h11.EndOfMessage())

    # Ending

    def _expect(self, seconds: float | None) -> None:
        """By when the client has to have done what is now up to it; None: nothing is."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if seconds is None else self._loop.call_later(seconds, self._overdue)

    def _overdue(self) -> None:
        self._timer = None
        if self._lingering >= 0 or (self._head is None and not self._begun):
            self._transport.abort()  # it was told all, or asked nothing
        else:
            part = "headers" if self._head is None else "body"
            limit = f"{self._settings.client_seconds:g} s"
            self._refuse(ApiError(408, f"the {part} took longer than {limit}", code="timeout"))

    def _end(self) -> None:
        """Closes such that the client still gets what was sent, whatever of its request is left unread."""
        if self._transport.is_closing():
            return
        self._lingering = 0
        self._expect(self._settings.client_seconds if self._transport.get_write_buffer_size() else LINGER_S)
        try:
            self._transport.write_eof()
        except OSError:  # the client has reset it, and nobody has told us yet
            self._transport.abort()


def _head_too_large() -> ApiError:
    limits = f"{MAX_HEAD_BYTES} bytes and {MAX_HEADERS} headers are possible"
    return ApiError(431, f"the headers are too long: {limits}", code="too_large")


def _too_large() -> ApiError:
    return ApiError(413, f"the body is larger than {MAX_BODY_BYTES} bytes", code="too_large")
