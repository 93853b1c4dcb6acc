"""The web page: read once, with a Content-Security-Policy that allows exactly its own style and script."""

import base64
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from tinyedge.core.errors import ServeError

PAGE_FILE = Path(__file__).with_name("page.html")


@dataclass(frozen=True)
class Page:
    """The page and its policy."""

    html: bytes
    """Content as it is sent."""
    policy: str
    """Content-Security-Policy: the hashes of the page's own style and script, and no other source."""


def load_page() -> Page:
    """Read the page from the package."""
    html = PAGE_FILE.read_bytes()
    sources = {tag: _hash_element(html, tag) for tag in ("style", "script")}
    policy = "; ".join(
        (
            "default-src 'none'",
            *(f"{tag}-src 'sha256-{digest}'" for tag, digest in sources.items()),
            "connect-src 'self'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )
    return Page(html, policy)


def _hash_element(html: bytes, tag: str) -> str:
    found = re.search(f"<{tag}>(.*?)</{tag}>".encode(), html, re.DOTALL)
    if not found:
        raise ServeError(f"{PAGE_FILE} has no {tag}", "install tinyedge again")
    return base64.b64encode(hashlib.sha256(found[1]).digest()).decode()
