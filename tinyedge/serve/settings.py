"""What `tinyedge serve` was told, checked: where it listens, who may ask, and every bound.

Knows no network: the server looks after binding.
"""

import hmac
import os
import re
import stat
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from pathlib import Path

from tinyedge.core.config import flag
from tinyedge.core.errors import UsageError

KEY_VARIABLE = "TINYEDGE_API_KEY"
KEY = re.compile(r"[!-~]{16,512}")  # what a header can carry, and nobody guesses
MAX_KEY_FILE_BYTES = 4096

MAX_HEAD_BYTES = 16 << 10  # request line and headers
MAX_HEADERS = 100
MAX_BODY_BYTES = 256 << 10  # a bias for each of 8,000 tokens is 120 kB
MAX_ANSWERS = 16  # of one request: its prompts times its n


@dataclass(frozen=True)
class Settings:
    """How to serve a bundle.

    host, port: where to listen; port 0 takes a free one. api_key: what a request must carry, if anything.
    insecure: other machines may ask without a key. allowed_hosts: names that a Host header may hold besides
    loopback's and the address that the request came in on. threads: cores for one token. parallel: requests
    that generate at the same time. queue: requests that wait for their turn. max_tokens: of one answer, at
    most. max_seconds: a request's wall clock, from its arrival to its last token. max_connections: at the
    same time. client_seconds: how long a client may take to send its headers, then its body, and to read
    what is ready for it. filtered: answers end before a listed word; filter_file: whose words, None is the
    list that comes with tinyedge.
    """

    bundle: Path
    host: str = "127.0.0.1"
    port: int = 8080
    api_key: str | None = field(default=None, repr=False)
    insecure: bool = False
    allowed_hosts: tuple[str, ...] = ()
    threads: int = 1
    parallel: int = 1
    queue: int = 8
    max_tokens: int = 512
    max_seconds: float = 60
    max_connections: int = 128
    client_seconds: float = 10
    filtered: bool = True
    filter_file: Path | None = None

    def __post_init__(self) -> None:
        for name, low, high in (
            ("port", 0, 65535),
            ("threads", 1, 64),
            ("parallel", 1, 16),
            ("queue", 0, 1000),
            ("max_tokens", 1, 100_000),
            ("max_seconds", 0.1, 86_400),
            ("max_connections", 1, 10_000),
            ("client_seconds", 0.1, 3600),
        ):
            value = getattr(self, name)
            if not low <= value <= high:  # NaN is in no range
                raise UsageError(f"{flag(name)} {value} is outside {low}-{high}")
        if self.filter_file and not self.filtered:
            raise UsageError("--no-filter and --filter cannot both be", "leave one of them out")
        for host in self.allowed_hosts:
            if not re.fullmatch(r"[A-Za-z0-9._-]+", host):
                raise UsageError(
                    f"--allow-host {host!r} is no host name",
                    "pass the name alone, without http:// and the port",
                )

    def is_key(self, given: str) -> bool:
        """Whether `given` is the key; takes as long for a wrong one as for the right one."""
        if self.api_key is None:
            return True
        return hmac.compare_digest(_digest(given), _digest(self.api_key))


def _digest(key: str) -> bytes:
    # Of both, so that not even the key's length shows in the time.
    return hmac.digest(b"tinyedge", key.encode("utf-8", "surrogateescape"), "sha256")


def find_key(file: Path | None, environment: MutableMapping[str, str] = os.environ) -> str | None:
    """The API key, from a file or from TINYEDGE_API_KEY, which is taken out of `environment`.

    Raises UsageError where there are both, where others may read the file, or where it holds no good key.
    """
    from_environment = environment.pop(KEY_VARIABLE, None)  # child processes need not see it
    if file is None:
        if from_environment is None:
            return None
        return _require_key(from_environment, KEY_VARIABLE)
    if from_environment is not None:
        raise UsageError(f"--api-key-file and {KEY_VARIABLE} are both given", "keep one of them")
    try:
        status = file.stat()
        if not stat.S_ISREG(status.st_mode):
            raise UsageError(f"--api-key-file {file} is not a regular file", "pass a file that holds the key")
        if status.st_mode & (stat.S_IROTH | stat.S_IWOTH):
            raise UsageError(f"--api-key-file {file} is open to every user", f"chmod 600 {file}")
        with file.open("rb") as opened:
            content = opened.read(MAX_KEY_FILE_BYTES)
    except OSError as failure:
        raise UsageError(
            f"--api-key-file {file} cannot be read: {failure.strerror}", "check the path"
        ) from None
    return _require_key(content.decode("utf-8", "replace").strip(), f"--api-key-file {file}")


def _require_key(key: str, source: str) -> str:
    if not KEY.fullmatch(key):
        raise UsageError(
            f"{source} is not one key of 16-512 printable ASCII characters without spaces",
            "make one with: openssl rand -hex 32",
        )
    return key
