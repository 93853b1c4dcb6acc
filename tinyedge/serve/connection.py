"""A client connection: HTTP/1.1 by h11, with limits and deadlines for everything a client can do.

h11 parses and frames messages; this module decides when to read and write. In: bytes from a socket. Out: one
request after another to an `Application`, and to the client what that sends with a `ResponseWriter`. Does not
know the routes.
"""

import asyncio
import email.utils
import http
from collections.abc import Iterable
from typing import Protocol, cast

import h11

from tinyedge.serve.errors import ApiError
from tinyedge.serve.request_head import (
    BodyLimits,
    RequestHead,
    make_body_too_large_error,
    make_head_too_large_error,
    parse_head,
)
from tinyedge.serve.settings import MAX_BODY_BYTES, MAX_HEAD_BYTES, Settings

MAX_READ_AHEAD = 64 << 10  # bytes of the next requests that may arrive before the current one is answered
WRITE_HIGH, WRITE_LOW = 32 << 10, 8 << 10  # bytes waiting for the client: pause writing above, resume below
LINGER_S = (
    2  # after an answer to a request that was not read completely: closing at once could discard the answer
)
LINGER_BYTES = 1 << 20
# Connections above --max-connections that get an error response; further ones are closed without one.
MAX_REJECTED_CONNECTIONS = 32

COMMON_HEADERS = (
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cache-Control", "no-store"),
)


class Application(Protocol):
    """The part that answers requests."""

    def admit(self, head: RequestHead) -> None:
        """Check a request before its body is read.

        Raises:
            ApiError: The request is rejected.
        """

    async def answer(self, head: RequestHead, body: bytes, response: "ResponseWriter") -> None:
        """Answer a request. The call is cancelled if the client disconnects.

        Raises:
            ApiError: The request failed; it becomes the answer if none has started.
            SlowClientError: Raised by `response` and passed on.
        """

    def record_refusal(self, error: ApiError) -> None:
        """Record a request that was rejected before `answer`."""


class SlowClientError(Exception):
    """The client does not read; its connection was aborted."""


class ResponseWriter:
    """Sends the answer to one request."""

    status: int
    """HTTP status of the answer; 0 until it has started."""

    def __init__(self, connection: "Connection") -> None:
        self._connection = connection
        self.status = 0

    async def send(
        self, status: int, media_type: str, body: bytes, headers: Iterable[tuple[str, str]] = ()
    ) -> None:
        """Send a complete answer."""
        self.start(status, media_type, [("Content-Length", str(len(body))), *headers])
        await self.write(body)

    def start(self, status: int, media_type: str, headers: Iterable[tuple[str, str]] = ()) -> None:
        """Send the head of an answer whose body follows by `write`."""
        self.status = status
        self._connection.send_head(status, [("Content-Type", media_type), *headers])

    async def write(self, data: bytes) -> None:
        """Send a part of the body, and wait if the client has too much left to read.

        Raises:
            SlowClientError: The client did not read in time.
        """
        self._connection.send_body(data)
        await self._connection.drain()


class Connection(asyncio.Protocol):
    """The connection of one client."""

    def __init__(self, application: Application, settings: Settings, connections: set["Connection"]) -> None:
        """Create the protocol of a connection.

        Args:
            application: Answers the requests.
            settings: Limits and deadlines.
            connections: All open connections; this one is added when it opens and removed when it closes.
        """
        self._application = application
        self._settings = settings
        self._connections = connections
        self._loop = asyncio.get_running_loop()
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)
        self._head: RequestHead | None = None
        self._body = bytearray()
        self._body_limits = BodyLimits()
        self._received_bytes = 0  # by h11, since the connection was opened
        self._body_start = 0  # value of _received_bytes where the body begins
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._drain_waiter: asyncio.Future[None] | None = None  # done when the client has read enough
        self._unsent = b""  # framed bytes that are sent with the next ones
        self._is_head_request = False  # the answer has no body
        self._discarded_bytes = -1  # bytes received after the last answer; -1 before it
        self._has_partial_head = False  # some of the next head has arrived

    # Called by asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Accept the connection, or reject it if there are too many."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(WRITE_HIGH, WRITE_LOW)
        self._connections.add(self)
        over = len(self._connections) - self._settings.max_connections
        if over > MAX_REJECTED_CONNECTIONS:
            self._transport.abort()
        elif over > 0:
            error = ApiError(429, "too many connections: try again later", code="connections", retry_after=1)
            self._refuse(error)
        else:
            self._set_deadline(self._settings.client_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the request in progress."""
        self._connections.discard(self)
        self._set_deadline(None)
        if self._task is not None:
            self._task.cancel()
        self.resume_writing()

    def data_received(self, data: bytes) -> None:
        """Process received bytes, or discard them after the last answer."""
        if self._discarded_bytes >= 0:
            self._discarded_bytes += len(data)
            if self._discarded_bytes > LINGER_BYTES:
                self._transport.abort()
            return
        self._http.receive_data(data)
        self._received_bytes += len(data)
        if self._task is None:
            self._read_events()
        elif len(self._http.trailing_data[0]) > MAX_READ_AHEAD:
            self._transport.abort()

    def eof_received(self) -> None:
        """Handle the end of the client's data; the transport then closes itself."""
        # A client that closes its sending half during a request is treated as disconnected: no HTTP client
        # does that and still reads, and the slot of a disconnected client must be freed at once.
        if self._task is not None:
            self._transport.abort()
        elif self._discarded_bytes < 0 and (self._head is not None or self._has_partial_head):
            self._application.record_refusal(ApiError(400, "the request is incomplete"))

    def pause_writing(self) -> None:
        """Make `drain` wait: too many bytes are waiting for the client."""
        self._drain_waiter = self._loop.create_future()

    def resume_writing(self) -> None:
        """Let `drain` continue: the client has read enough."""
        if self._drain_waiter is not None and not self._drain_waiter.done():
            self._drain_waiter.set_result(None)
        self._drain_waiter = None

    # Reading

    def _read_events(self) -> None:
        """Process the received bytes up to the end of the current request."""
        try:
            while True:
                event = self._http.next_event()
                if isinstance(event, h11.Request):
                    self._handle_head(event)
                elif isinstance(event, h11.Data):
                    self._body_limits.add(event)
                    self._body += event.data
                elif isinstance(event, h11.EndOfMessage) and self._head is not None:
                    self._body_limits.check_framing(self._count_body_bytes(), len(event.headers))
                    self._set_deadline(None)
                    self._task = self._loop.create_task(self._answer(self._head))
                    return
                elif isinstance(event, h11.ConnectionClosed):
                    self._transport.close()
                    return
                else:  # NEED_DATA or PAUSED
                    if self._head is None and not self._has_partial_head and self._http.trailing_data[0]:
                        self._has_partial_head = True
                        self._set_deadline(self._settings.client_seconds)
                    if self._head is not None:
                        self._body_limits.check_framing(self._count_body_bytes())
                    return
        except h11.RemoteProtocolError as failure:
            if failure.error_status_hint == 431:
                self._refuse(make_head_too_large_error())
            else:
                self._refuse(ApiError(400, f"this is not HTTP/1.1: {failure}", code="invalid_http"))
        except ApiError as error:
            self._refuse(error)

    def _handle_head(self, event: h11.Request) -> None:
        self._is_head_request = event.method == b"HEAD"
        head = parse_head(event, self._transport.get_extra_info("sockname")[0])
        self._application.admit(head)
        # h11 has checked that it is a number.
        if int(head.headers.get("content-length", "0")) > MAX_BODY_BYTES:
            raise make_body_too_large_error()
        self._head = head
        self._body_limits = BodyLimits()
        self._body_start = self._received_bytes - len(self._http.trailing_data[0])
        self._has_partial_head = False
        self._set_deadline(self._settings.client_seconds)
        if self._http.they_are_waiting_for_100_continue:
            self._write(h11.InformationalResponse(status_code=100, headers=[]))

    def _count_body_bytes(self) -> int:
        """Count the bytes of the current body that h11 has read, framing included."""
        return self._received_bytes - len(self._http.trailing_data[0]) - self._body_start

    # Answering

    async def _answer(self, head: RequestHead) -> None:
        response = ResponseWriter(self)
        try:
            await self._application.answer(head, bytes(self._body), response)
            self._write(h11.EndOfMessage())
        except SlowClientError:
            return
        except ApiError as error:
            if response.status:  # a part of the answer was already sent
                self._transport.abort()
                return
            self._send_error(error)
        self._task = None
        self._head = None
        self._body.clear()
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
            self._set_deadline(self._settings.client_seconds)
            self._read_events()  # bytes that arrived in the meantime
        else:
            self._close_gracefully()

    def send_head(self, status: int, headers: list[tuple[str, str]]) -> None:
        """Send the head of an answer."""
        date = ("Date", email.utils.formatdate(usegmt=True))
        phrase = http.HTTPStatus(status).phrase
        headers = [date, *COMMON_HEADERS, *headers]
        self._write(h11.Response(status_code=status, reason=phrase, headers=headers), last=False)

    def send_body(self, data: bytes) -> None:
        """Send a part of the body; the answer to a HEAD request has none."""
        if not self._is_head_request:
            self._write(h11.Data(data=data))

    async def drain(self) -> None:
        """Wait until the client has read enough.

        Raises:
            SlowClientError: It did not within `client_seconds`; the connection is aborted.
        """
        if self._drain_waiter is None:
            return
        try:
            await asyncio.wait_for(asyncio.shield(self._drain_waiter), self._settings.client_seconds)
        except TimeoutError:
            self._transport.abort()
            self._task = None  # this task ends by itself, and must not be cancelled
            raise SlowClientError from None

    def close_if_idle(self) -> None:
        """Close the connection unless a request is being answered; used during shutdown."""
        if self._task is None:
            self._transport.close()

    def abort(self) -> None:
        """Close the connection at once."""
        self._transport.abort()

    def _write(self, event: h11.Event, last: bool = True) -> None:
        """Frame and send an event; with `last` False, send it together with the next one, in one packet."""
        self._unsent += self._http.send(event) or b""
        if last:
            if not self._transport.is_closing():
                self._transport.write(self._unsent)
            self._unsent = b""

    def _refuse(self, error: ApiError) -> None:
        """Send an error to a request that was not accepted, and close the connection."""
        self._application.record_refusal(error)
        if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self._send_error(error, [("Connection", "close")])
        self._close_gracefully()

    def _send_error(self, error: ApiError, headers: Iterable[tuple[str, str]] = ()) -> None:
        body = error.encode()
        length = ("Content-Length", str(len(body)))
        self.send_head(error.status, [("Content-Type", "application/json"), length, *error.headers, *headers])
        self.send_body(body)
        self._write(h11.EndOfMessage())

    # Closing

    def _set_deadline(self, seconds: float | None) -> None:
        """Set the time limit for the client's next action; None if none is expected."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if seconds is None else self._loop.call_later(seconds, self._handle_timeout)

    def _handle_timeout(self) -> None:
        self._timer = None
        if self._discarded_bytes >= 0 or (self._head is None and not self._has_partial_head):
            self._transport.abort()  # it has its answer, or sent no request
        else:
            part = "headers" if self._head is None else "body"
            limit = f"{self._settings.client_seconds:g} s"
            self._refuse(ApiError(408, f"the {part} took longer than {limit}", code="timeout"))

    def _close_gracefully(self) -> None:
        """Close so that the client still receives the answer, even if a part of its request was not read."""
        if self._transport.is_closing():
            return
        self._discarded_bytes = 0
        self._set_deadline(
            self._settings.client_seconds if self._transport.get_write_buffer_size() else LINGER_S
        )
        try:
            self._transport.write_eof()
        except OSError:  # the client has reset the connection, and asyncio has not reported it yet
            self._transport.abort()
