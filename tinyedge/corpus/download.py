"""Download a file over HTTP: with limits, attempts, pauses that protect the server, and resumption.

In: a URL. Out: its bytes. A download that was interrupted continues where it stopped, if the server can. Does
not know what is downloaded.
"""

import email.utils
import http.client
import re
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tinyedge import __version__

USER_AGENT = f"tinyedge/{__version__} (python-urllib; a few books, cached)"

_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")
_RETRYABLE_STATUSES = (408, 429, 500, 502, 503, 504)


@dataclass(frozen=True, slots=True)
class DownloadPolicy:
    """Limits of a download, and pauses that protect the server; times are in seconds."""

    max_attempts: int = 4
    """Number of attempts for a file."""

    timeout: float = 30.0
    """Longest time without a byte from the server."""

    deadline: float = 300.0
    """Longest time of one attempt."""

    backoff: float = 1.0
    """Time before the second attempt; doubles with each attempt."""

    pause: float = 2.0
    """Time between two downloads."""

    max_wait: float = 60.0
    """Longest time between two attempts, even if Retry-After asks for more."""

    sleep: Callable[[float], None] = time.sleep
    """Function that waits; tests replace it."""


class DownloadError(Exception):
    """A file cannot be downloaded; the message is the reason."""


class UnreachableError(DownloadError):
    """No server answered."""


class _TransientError(Exception):
    """A failure after which another attempt can succeed.

    Args:
        reason: The message.
        wait: Seconds that the server asks to wait.
        answered: Whether a server answered.
    """

    def __init__(self, reason: str, wait: float = 0.0, answered: bool = True) -> None:
        super().__init__(reason)
        self.wait = wait
        self.answered = answered


def download(url: str, part: Path, policy: DownloadPolicy, max_bytes: int) -> bytes:
    """Download a file.

    Args:
        url: Its URL.
        part: Path for the bytes that have come; a later call continues there. It is removed in the end.
        policy: Limits and pauses.
        max_bytes: Largest size of the file.

    Raises:
        DownloadError: The file cannot be downloaded; UnreachableError if no server answered.
    """
    for attempt in range(policy.max_attempts):
        try:
            _fetch(url, part, policy, max_bytes)
            break
        except _TransientError as failure:
            if attempt + 1 == policy.max_attempts:
                kind = DownloadError if failure.answered else UnreachableError
                raise kind(f"{failure} ({policy.max_attempts} attempts)") from None
            policy.sleep(min(max(failure.wait, policy.backoff * 2**attempt), policy.max_wait))
    data = part.read_bytes()
    part.unlink()
    return data


def _fetch(url: str, part: Path, policy: DownloadPolicy, max_bytes: int) -> None:
    """Download `url` into the file `part`; continue at its end if the server supports ranges."""
    resume_from = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity"})
    if resume_from:
        request.add_header("Range", f"bytes={resume_from}-")
    deadline = time.monotonic() + policy.deadline
    try:
        with urllib.request.urlopen(request, timeout=policy.timeout) as response:
            span = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
            resumed = response.status == 206 and span is not None and int(span[1]) == resume_from
            if response.status == 206 and not resumed:
                part.unlink()
                raise _TransientError("the server sent a range that was not requested")
            size = resume_from if resumed else 0
            expected = int(response.headers.get("Content-Length", -1))
            expected += size if expected >= 0 else 0
            with part.open("ab" if resumed else "wb") as file:
                while block := response.read1(1 << 16):
                    file.write(block)
                    size += len(block)
                    if size > max_bytes:
                        part.unlink()
                        raise DownloadError(f"received more than {max_bytes} bytes")
                    if time.monotonic() > deadline:
                        raise _TransientError(f"the download took more than {policy.deadline:g} s")
            if 0 <= size < expected:
                raise _TransientError(f"the download ended after {size} of {expected} bytes")
    except urllib.error.HTTPError as failure:
        with failure:
            if failure.code == 416:  # the part is complete, or of another edition
                part.unlink()
                raise _TransientError("the server cannot continue a partial download") from None
            if failure.code not in _RETRYABLE_STATUSES:
                raise DownloadError(f"the server answered {failure.code} {failure.reason}") from None
            wait = _parse_retry_after(failure.headers.get("Retry-After", ""))
            raise _TransientError(f"the server answered {failure.code} {failure.reason}", wait) from None
    except TimeoutError:
        raise _TransientError(f"no answer within {policy.timeout:g} s", answered=False) from None
    except (urllib.error.URLError, http.client.HTTPException, ConnectionError, ssl.SSLError) as failure:
        raise _TransientError(
            f"no connection ({getattr(failure, 'reason', failure)})", answered=False
        ) from None


def _parse_retry_after(value: str) -> float:
    """Return the seconds that a Retry-After header asks for: a number, or the time until a date."""
    if value.isdigit():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return 0.0
