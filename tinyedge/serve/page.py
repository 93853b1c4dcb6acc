"""The one page: read once, with a policy that lets the browser run exactly what is in it."""

import base64
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

FILE = Path(__file__).with_name("page.html")


@dataclass(frozen=True)
class Page:
    """html: as it is sent. policy: its Content-Security-Policy, which names the page's own style and script
    by their hashes, and nothing from elsewhere.
    """

    html: bytes
    policy: str


def load_page() -> Page:
    """The page that ships."""
    html = FILE.read_bytes()
    sources = {tag: _hash(html, tag) for tag in ("style", "script")}
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


def _hash(html: bytes, tag: str) -> str:
    found = re.search(f"<{tag}>(.*?)</{tag}>".encode(), html, re.DOTALL)
    assert found, f"{FILE} has no {tag}"
    return base64.b64encode(hashlib.sha256(found[1]).digest()).decode()
