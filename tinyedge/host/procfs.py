"""Small files of /proc and /sys, read without complaint: what cannot be read, or is nonsense, is None."""

import contextlib
from pathlib import Path


def read_text(path: Path) -> str | None:
    """A small file's text, stripped; None where there is none. The device tree ends its strings with NUL."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\0\n ") or None
    except OSError:
        return None


def read_fields(text: str | None) -> dict[str, str]:
    """`key : value` lines; of a key that comes once a core, the first."""
    fields: dict[str, str] = {}
    for line in (text or "").splitlines():
        key, colon, value = line.partition(":")
        if colon:
            fields.setdefault(key.strip(), value.strip())
    return fields


def read_number(text: str | None) -> int | None:
    """A whole number, whatever unit follows it."""
    with contextlib.suppress(ValueError, IndexError):
        return int((text or "").split()[0])
    return None
