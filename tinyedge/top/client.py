"""HTTP client that reads a server's metrics.

In: an address and an optional API key. Out: a `MetricsPage`, or MonitorError. Connects to that address only:
uses no proxy, follows no redirects, and reads at most one page's worth of bytes.
"""

import http.client
import threading
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from tinyedge.core import files
from tinyedge.core.errors import MonitorError, UsageError
from tinyedge.core.printable import printable
from tinyedge.top.prometheus_text import MetricsPage, parse

METRICS_PATH = "/metrics"
TIMEOUT_S = 5.0
MAX_PAGE_BYTES = 1 << 20  # a page of tinyedge serve has about 10 kB
HINT = "start it with tinyedge serve BUNDLE"
# HTTP errors that a repeated request would get again.
PERMANENT_ERRORS = {
    401: ("requires an API key", "pass its file with --api-key-file"),
    403: ("rejects this API key", "pass another one with --api-key-file"),
    404: ("has no metrics at this address", "pass the address of tinyedge serve"),
}


class RequestRefusedError(MonitorError):
    """The server refuses the request, and would refuse it again."""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Refuses redirects, so that the API key is never sent to another server."""

    def redirect_request(self, *arguments: object) -> None:
        return None


class MetricsClient:
    """Client of one server.

    Args:
        url: Address of the server, with or without a scheme and a path.
        api_key: Sent as a bearer token.

    Raises:
        UsageError: The address is invalid.
    """

    def __init__(self, url: str, api_key: str | None = None) -> None:
        try:
            parts = urlsplit(url if "//" in url else f"http://{url}")
            is_valid = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
            (parts.hostname or "").encode("idna")  # as name resolution does
        except ValueError:
            is_valid = False
        if not is_valid or not url.isascii() or not url.isprintable() or " " in url:
            raise UsageError(
                f"URL {url!r} is not the address of a server", "for example http://127.0.0.1:8080"
            )
        path = parts.path if parts.path.strip("/") else METRICS_PATH
        self.address = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        self._request = urllib.request.Request(f"{self.address}{path}", headers={"Accept": "text/plain"})
        if api_key is not None:
            self._request.add_header("Authorization", f"Bearer {api_key}")
        self._reader: _PageReader | None = None
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirects())

    def fetch(self) -> MetricsPage:
        """Read the current metrics.

        Raises:
            MonitorError: The server does not answer, or answers with something else.
            RequestRefusedError: It will not answer another request either.
        """
        try:
            page, missing_bytes = self._request_page()
        except urllib.error.HTTPError as failure:
            failure.close()
            if failure.code in PERMANENT_ERRORS:
                text, hint = PERMANENT_ERRORS[failure.code]
                raise RequestRefusedError(f"{self.address} {text} (HTTP {failure.code})", hint) from None
            raise MonitorError(f"{self.address} answers with HTTP {failure.code}", HINT) from None
        except (OSError, http.client.HTTPException) as failure:
            reason = getattr(failure, "reason", failure)
            text = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
            raise MonitorError(f"{self.address} does not answer: {printable(text)}", HINT) from None
        if len(page) > MAX_PAGE_BYTES:
            raise MonitorError(f"{self.address} sent more than {MAX_PAGE_BYTES} bytes", HINT)
        if missing_bytes:
            raise MonitorError(f"{self.address} closed the connection too early", HINT)
        try:
            return parse(page.decode("utf-8"))
        except ValueError as failure:
            raise MonitorError(
                f"{self.address} sent invalid metrics: {printable(str(failure))}", HINT
            ) from None

    def _request_page(self) -> tuple[bytes, int]:
        """Read the page within TIMEOUT_S.

        A socket's timeout covers one read only, and a server may send one byte per second. So a thread reads
        the page and is abandoned if it takes too long; the next call waits for it again, so there is never
        more than one.

        Returns:
            The page, and the number of announced bytes that are missing from it.
        """
        if self._reader is None:
            self._reader = _PageReader(self._opener, self._request)
            self._reader.start()
        self._reader.join(TIMEOUT_S)
        if self._reader.is_alive():
            raise TimeoutError("timed out")
        reader, self._reader = self._reader, None
        if reader.failure is not None:
            raise reader.failure
        return reader.page, reader.missing_bytes


class _PageReader(threading.Thread):
    """Reads one response."""

    def __init__(self, opener: urllib.request.OpenerDirector, request: urllib.request.Request) -> None:
        super().__init__(daemon=True)
        self._opener, self._request = opener, request
        self.page, self.missing_bytes = b"", 0
        self.failure: Exception | None = None

    def run(self) -> None:
        try:
            with self._opener.open(self._request, timeout=TIMEOUT_S) as answer:
                self.page = answer.read(MAX_PAGE_BYTES + 1)
                self.missing_bytes = answer.length or 0
        except Exception as failure:
            self.failure = failure


def read_api_key(path: Path) -> str:
    """Read an API key from a file.

    Raises:
        MonitorError: The file does not exist or holds no key.
    """
    files.require_file(path, MonitorError)
    key = path.read_text("utf-8", "replace").strip()
    if not (key and key.isascii() and key.isprintable() and " " not in key):
        raise MonitorError(f"{path} holds no API key", "write one line of letters, digits and symbols to it")
    return key
