"""The head of an HTTP request: its limits, its version, its target and its headers.

In: a request that h11 parsed. Out: a RequestHead, or the error that rejects it. Does not know the connection
or the routes.
"""

import re
from dataclasses import dataclass
from urllib.parse import unquote

import h11

from tinyedge.serve.errors import ApiError
from tinyedge.serve.settings import MAX_BODY_BYTES, MAX_HEAD_BYTES, MAX_HEADERS

# A proxy's form of a target: the URL with its host, as RFC 9112, section 3.2.2 requires servers to accept.
ABSOLUTE_TARGET = re.compile(r"https?://(?P<host>[^/?#@]+)(?P<path>/[^?#]*)?", re.IGNORECASE)
MAX_CHUNK_FRAME_BYTES = 32  # size and line breaks of one chunk, leading zeros included


@dataclass(frozen=True)
class RequestHead:
    """A request without its body."""

    method: str
    """HTTP method."""
    path: str
    """Decoded path, without the query."""
    headers: dict[str, str]
    """Headers, with names in lower case. `host` is that of an absolute target, if the request has one."""
    address: str
    """Local address at which the connection arrived."""
    version: str
    """HTTP version, 1.0 or higher."""


def parse_head(event: h11.Request, address: str) -> RequestHead:
    """Check and convert the head of a request.

    Args:
        event: The request.
        address: Local address at which the connection arrived.

    Raises:
        ApiError: It is too long (431), has an unsupported version (505), or is ambiguous or invalid (400).
    """
    # h11 limits a head that arrives in parts, but not one that arrives at once.
    size = len(event.method) + len(event.target)
    size += sum(len(name) + len(value) for name, value in event.headers)
    if size > MAX_HEAD_BYTES or len(event.headers) > MAX_HEADERS:
        raise make_head_too_large_error()
    version = event.http_version.decode("ascii")
    if not version.startswith("1."):
        raise ApiError(
            505, f"HTTP/{version} is not supported: use HTTP/1.1", code="http_version_not_supported"
        )
    headers: dict[str, str] = {}
    for name, value in event.headers:
        key, text = name.decode("ascii"), value.decode("latin-1")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    # Both together are used to smuggle requests past a proxy.
    if "content-length" in headers and "transfer-encoding" in headers:
        raise ApiError(
            400, "Content-Length and Transfer-Encoding are mutually exclusive", code="invalid_http"
        )
    target = event.target.decode("ascii")
    if absolute := ABSOLUTE_TARGET.match(target):
        headers["host"] = absolute["host"]
        target = absolute["path"] or "/"
    target = target.partition("?")[0]
    if not target.startswith("/"):
        raise ApiError(400, "the request's target must be a path or an http URL", code="invalid_http")
    path = unquote(target, errors="replace")
    return RequestHead(event.method.decode("ascii"), path, headers, address, version)


class BodyLimits:
    """Limits of one body: its content, and what a chunked body adds to it.

    h11 ignores chunk extensions and does not bound them: a body of 256 KiB could arrive as gigabytes.
    """

    def __init__(self) -> None:
        """Start a body."""
        self._content_bytes = 0
        self._frame_bytes = 0

    def add(self, data: h11.Data) -> None:
        """Count a part of the content.

        Raises:
            ApiError: The content is too large (413).
        """
        self._content_bytes += len(data.data)
        if data.chunk_end:  # chunk_start is missing if h11 had the size of a chunk but not its data
            self._frame_bytes += MAX_CHUNK_FRAME_BYTES
        if self._content_bytes > MAX_BODY_BYTES:
            raise make_body_too_large_error()

    def check_framing(self, received_bytes: int, trailers: int = 0) -> None:
        """Check what a chunked body adds to its content.

        Args:
            received_bytes: Size of the body as it was received, framing included.
            trailers: Number of headers after the body.

        Raises:
            ApiError: Chunk extensions or trailers are too long, or there are too many trailers (431).
        """
        if trailers > MAX_HEADERS:
            raise make_head_too_large_error()
        if received_bytes > self._content_bytes + self._frame_bytes + MAX_HEAD_BYTES:
            raise ApiError(
                431,
                f"chunk extensions and trailers are too long: at most {MAX_HEAD_BYTES} bytes are allowed",
                code="too_large",
            )


def make_head_too_large_error() -> ApiError:
    """Create the error for headers or trailers above the limits."""
    limits = f"at most {MAX_HEAD_BYTES} bytes and {MAX_HEADERS} headers are allowed"
    return ApiError(431, f"the headers are too long: {limits}", code="too_large")


def make_body_too_large_error() -> ApiError:
    """Create the error for a body above the limit."""
    return ApiError(413, f"the body is larger than {MAX_BODY_BYTES} bytes", code="too_large")
