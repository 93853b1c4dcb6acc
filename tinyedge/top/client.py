"""Asks a server for its metrics.

In: an address, perhaps an API key. Out: `MetricsPage`, or MonitorError. Nothing but what was named is asked:
no proxy, no other place that the server points to, no more than a page's worth of bytes.
"""

import http.client
import threading
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from tinyedge.core import files
from tinyedge.core.errors import MonitorError, UsageError
from tinyedge.top.prometheus_text import MetricsPage, parse

METRICS_PATH = "/metrics"
TIMEOUT_S = 5.0
MAX_PAGE_BYTES = 1 << 20  # a page of tinyedge serve has some 10 kB
HINT = "is it running? tinyedge serve BUNDLE starts one"
# Answers that asking again does not change.
PERMANENT_ERRORS = {
    401: ("wants an API key", "pass its file with --api-key-file"),
    403: ("refuses this API key", "pass another with --api-key-file"),
    404: ("has no metrics there", "name the address of tinyedge serve"),
}


class RequestRefusedError(MonitorError):
    """The server answers, and will not answer otherwise."""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A key goes to the server that it was meant for, wherever that one points."""

    def redirect_request(self, *arguments: object) -> None:
        return None


class MetricsClient:
    """One server. Raises UsageError for an address that can't be one."""

    def __init__(self, url: str, api_key: str | None = None) -> None:
        try:
            parts = urlsplit(url if "//" in url else f"http://{url}")
            usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
            (parts.hostname or "").encode("idna")  # as a look-up of the name would
        except ValueError:
            usable = False
        if not usable or not url.isascii() or not url.isprintable() or " " in url:
            raise UsageError(f"URL {url!r} is no address of a server", "for example http://127.0.0.1:8080")
        path = parts.path if parts.path.strip("/") else METRICS_PATH
        self.address = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        self._request = urllib.request.Request(f"{self.address}{path}", headers={"Accept": "text/plain"})
        if api_key is not None:
            self._request.add_header("Authorization", f"Bearer {api_key}")
        self._reader: _PageReader | None = None
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirects())

    def fetch(self) -> MetricsPage:
        """What it says now. Raises MonitorError where it doesn't, RefusedError where it won't ever."""
        try:
            page, missing = self._request_page()
        except urllib.error.HTTPError as failure:
            failure.close()
            if failure.code in PERMANENT_ERRORS:
                said, hint = PERMANENT_ERRORS[failure.code]
                raise RequestRefusedError(f"{self.address} {said} (HTTP {failure.code})", hint) from None
            raise MonitorError(f"{self.address} answers with HTTP {failure.code}", HINT) from None
        except (OSError, http.client.HTTPException) as failure:
            reason = getattr(failure, "reason", failure)
            said = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
            raise MonitorError(f"{self.address} does not answer: {replace_unprintable(said)}", HINT) from None
        if len(page) > MAX_PAGE_BYTES:
            raise MonitorError(f"{self.address} says more than {MAX_PAGE_BYTES} bytes", HINT)
        if missing:
            raise MonitorError(f"{self.address} does not answer: it hung up", HINT)
        try:
            return parse(page.decode("utf-8"))
        except ValueError as failure:
            raise MonitorError(
                f"{self.address} says what is no metrics: {replace_unprintable(str(failure))}", HINT
            ) from None

    def _request_page(self) -> tuple[bytes, int]:
        """The page, and how many of its announced bytes did not come. All of it in TIMEOUT_S.

        A socket's timeout is for each piece, and a server may send one byte a second: so another thread
        reads, and is left behind where it takes too long; there is never more than one.
        """
        if self._reader is None:
            self._reader = _PageReader(self._opener, self._request)
            self._reader.start()
        self._reader.join(TIMEOUT_S)
        if self._reader.is_alive():
            raise TimeoutError("it takes too long")
        reader, self._reader = self._reader, None
        if reader.failure is not None:
            raise reader.failure
        return reader.page, reader.missing


class _PageReader(threading.Thread):
    """Reads one answer."""

    def __init__(self, opener: urllib.request.OpenerDirector, request: urllib.request.Request) -> None:
        super().__init__(daemon=True)
        self._opener, self._request = opener, request
        self.page, self.missing = b"", 0
        self.failure: Exception | None = None

    def run(self) -> None:
        try:
            with self._opener.open(self._request, timeout=TIMEOUT_S) as answer:
                self.page = answer.read(MAX_PAGE_BYTES + 1)
                self.missing = answer.length or 0
        except Exception as failure:
            self.failure = failure


def replace_unprintable(text: str) -> str:
    """A server's word, harmless on a terminal."""
    return "".join(char if char.isprintable() else "?" for char in text)


def read_api_key(path: Path) -> str:
    """The first line of a file. Raises MonitorError where it is no key."""
    files.require_file(path, MonitorError)
    key = path.read_text("utf-8", "replace").strip()
    if not (key and key.isascii() and key.isprintable() and " " not in key):
        raise MonitorError(f"{path} holds no API key", "one line of letters, digits and signs")
    return key
