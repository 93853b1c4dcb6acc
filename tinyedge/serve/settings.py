"""Settings of the server: its address, who may send requests, and all limits.

In: values from the command line or a caller, and the file of the API key. Out: a checked `Settings`. Does not
know the network: `server` binds the address.
"""

import hmac
import os
import re
import stat
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from pathlib import Path

from tinyedge.core.errors import UsageError
from tinyedge.core.settings import check_settings, setting
from tinyedge.host.affinity import default_threads, require_usable_threads
from tinyedge.host.process_environment import erase_variable

KEY_VARIABLE = "TINYEDGE_API_KEY"
KEY_PATTERN = re.compile(r"[!-~]{16,512}")  # printable in a header, and too long to guess
MAX_KEY_FILE_BYTES = 4096

MAX_HEAD_BYTES = 16 << 10  # request line and headers
MAX_HEADERS = 100
MAX_BODY_BYTES = 256 << 10  # a bias for each of 8,000 tokens takes 120 kB
MAX_ANSWERS = 16  # of one request: number of prompts times n


@dataclass(frozen=True)
class Settings:
    """Settings of the server.

    Raises:
        UsageError: A value has the wrong type or is outside its range, a host name is invalid, the home is
            empty, or a word list is given although the filter is off; the message names the parameter.
    """

    bundle: Path
    """Folder that `tinyedge export` made."""
    host: str = setting("127.0.0.1", help="Address to listen on.", section="Network")
    """Address to listen on."""
    port: int = setting(
        8080, low=0, high=65535, help="Port to listen on; 0 selects a free one.", section="Network"
    )
    """Port to listen on; 0 selects a free one."""
    api_key: str | None = field(default=None, repr=False)
    """Key that each request must contain, if any."""
    insecure: bool = setting(
        False, help="Accept requests from other machines without a key.", section="Network"
    )
    """Whether other machines may send requests without a key."""
    allowed_hosts: tuple[str, ...] = ()
    """Names accepted in a Host header, in addition to loopback's and the address of the connection."""
    threads: int = setting(default_threads(), help="CPU cores used to compute a token.", section="Limits")
    """CPU cores used to compute a token, at most those of this machine."""
    parallel: int = setting(
        1, low=1, high=16, help="Requests that generate at the same time.", section="Limits"
    )
    """Requests that generate at the same time."""
    queue: int = setting(
        8, low=0, high=1000, help="Requests that may wait; any more are answered with 429.", section="Limits"
    )
    """Requests that may wait for their turn."""
    max_tokens: int = setting(
        512, low=1, high=100_000, help="Maximum number of tokens in an answer.", section="Limits"
    )
    """Maximum number of tokens in an answer."""
    max_seconds: float = setting(
        60, low=0.1, high=86_400, help="Time limit of a request, waiting included.", section="Limits"
    )
    """Seconds from a request's arrival to its last token, at most."""
    max_connections: int = setting(
        128, low=1, high=10_000, help="Connections open at the same time.", section="Limits"
    )
    """Connections open at the same time."""
    client_seconds: float = setting(
        10,
        low=0.1,
        high=3600,
        section="Limits",
        help="Time limit for a client to send its headers, to send its body, or to read.",
    )
    """Seconds that a client has to send its headers, then its body, and to read what is ready for it."""
    home: str | None = setting(
        None,
        section="Home commands",
        help="Answer home commands with calls of tools. A file with the names of your home, or request:"
        " each request lists them, as Home Assistant's do.",
    )
    """A file with the names of a home, or `request`; None for a model that does not know home commands."""
    filtered: bool = True
    """Whether answers end before a word of the list."""
    filter_file: Path | None = None
    """The list of words; None is the one that comes with tinyedge."""

    def __post_init__(self) -> None:
        check_settings(self)
        require_usable_threads(self.threads)
        if self.home == "":  # an unset variable of a script, which would turn the commands off
            raise UsageError(
                "home is empty", "pass a file with the names of your devices, or request", ("home",)
            )
        if self.filter_file and not self.filtered:
            raise UsageError("filter_file is given, but filtered is False", "leave one of them out")
        if not isinstance(self.allowed_hosts, tuple):  # a string would allow each of its characters
            raise UsageError(
                f"allowed_hosts {self.allowed_hosts!r} is not a tuple",
                "pass a tuple of host names",
                ("allowed_hosts",),
            )
        for host in self.allowed_hosts:
            if not isinstance(host, str) or not re.fullmatch(r"[A-Za-z0-9._-]+", host):
                raise UsageError(
                    f"allowed_hosts {host!r} is not a host name",
                    "pass the name alone, without http:// and the port",
                    ("allowed_hosts",),
                )

    def is_key(self, given: str) -> bool:
        """Check whether `given` is the key, in constant time; true if there is no key."""
        if self.api_key is None:
            return True
        return hmac.compare_digest(_hash_key(given), _hash_key(self.api_key))


def _hash_key(key: str) -> bytes:
    # Both keys are hashed, so that not even the length of the key influences the time.
    return hmac.digest(b"tinyedge", key.encode("utf-8", "surrogateescape"), "sha256")


def find_key(file: Path | None, environment: MutableMapping[str, str] = os.environ) -> str | None:
    """Read the API key from a file or from TINYEDGE_API_KEY.

    Args:
        file: File that contains the key; None reads the environment only.
        environment: Environment variables; TINYEDGE_API_KEY is removed from them. In this process's own, its
            value is overwritten too, see `erase_variable`.

    Returns:
        The key; None if there is neither.

    Raises:
        UsageError: Both are given, the file cannot be read, every user can read it, or the key is invalid.
    """
    if environment is os.environ:
        erase_variable(KEY_VARIABLE)
    from_environment = environment.pop(KEY_VARIABLE, None)  # child processes must not inherit it
    if file is None:
        if from_environment is None:
            return None
        return _require_key(from_environment, KEY_VARIABLE)
    if from_environment is not None:
        raise UsageError(
            f"api_key_file and {KEY_VARIABLE} are both given", "omit one of them", ("api_key_file",)
        )
    try:
        status = file.stat()
        if not stat.S_ISREG(status.st_mode):
            raise UsageError(
                f"api_key_file {file} is not a regular file", "pass a file with the key", ("api_key_file",)
            )
        if status.st_mode & (stat.S_IROTH | stat.S_IWOTH):
            raise UsageError(
                f"api_key_file {file} can be read or written by every user",
                f"chmod 600 {file}",
                ("api_key_file",),
            )
        with file.open("rb") as opened:
            content = opened.read(MAX_KEY_FILE_BYTES)
    except OSError as failure:
        raise UsageError(
            f"api_key_file {file} cannot be read: {failure.strerror}", "check the path", ("api_key_file",)
        ) from None
    return _require_key(content.decode("utf-8", "replace").strip(), f"api_key_file {file}")


def _require_key(key: str, source: str) -> str:
    if not KEY_PATTERN.fullmatch(key):
        raise UsageError(
            f"{source} is not one key of 16-512 printable ASCII characters without spaces",
            "create one with: openssl rand -hex 32",
            ("api_key_file",),
        )
    return key
