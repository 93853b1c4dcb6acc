"""Artifacts on disk: written completely or not at all, and read with errors that name the file.

A power cut after a rename without fsync leaves a file of length zero; so an artifact is written to a
temporary name in the same folder, synced, renamed, and the folder synced.
"""

import contextlib
import errno
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from tinyedge.core.errors import TinyEdgeError

TEMPORARY_SUFFIX = ".tmp"
# Exceptions raised by code that reads fields of unvalidated JSON, if a field is missing or has another type.
INVALID_FIELD_ERRORS = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError)


@contextlib.contextmanager
def atomic_writer(path: Path) -> Iterator[IO[bytes]]:
    """Open a binary file that gets the name `path` only if the block ends without an exception.

    A temporary file that a killed process left has the same name, so the next writer removes it.

    Yields:
        The temporary file, open for writing.

    Raises:
        OSError: The file cannot be written; the error names `path`. An old file is then unchanged, and the
            temporary one is removed.
    """
    _require_regular(path)  # a rename would replace a device by a file
    temporary = path.with_name(f".{path.name}{TEMPORARY_SUFFIX}")
    try:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
        with temporary.open("xb") as file:  # "x", so that an existing link is not followed
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as failure:  # an error of write names no file, one of rename the temporary file
        raise OSError(failure.errno, failure.strerror, str(path)) from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def sync_folder(folder: Path) -> None:
    """Make renames inside `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path`, atomically."""
    with atomic_writer(path) as file:
        file.write(data)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8 to `path`, atomically."""
    write_bytes(path, text.encode("utf-8", "backslashreplace"))  # a path may contain bytes that are not text


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented UTF-8 JSON to `path`, atomically. Raises ValueError for NaN and infinity."""
    write_text(path, to_json(value))


def to_json(value: Any) -> str:
    """Return indented JSON with a line break at its end. Raises ValueError for NaN and infinity."""
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def read_json(
    path: Path, schema: str | tuple[str, ...], error: type[TinyEdgeError], hint: str = ""
) -> dict[str, Any]:
    """Read a JSON object whose field `schema` is `schema`, or one of several.

    Args:
        path: The file.
        schema: What its field `schema` may be.
        error: What to raise.
        hint: Remedy that the error suggests; by default, to create the file again.

    Raises:
        error: The file is missing, not JSON, or has another schema.
    """
    require_file(path, error)
    try:
        value = json.loads(path.read_bytes(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as failure:
        raise error(
            f"{path} is not valid JSON ({failure})", hint or "create it again with the command that wrote it"
        ) from None
    found = value.get("schema") if isinstance(value, dict) else None
    known = (schema,) if isinstance(schema, str) else schema
    if found not in known:
        raise error(
            f"{path} has schema {found!r}, this version reads {' or '.join(map(repr, known))}",
            hint or "create it again with this version",
        )
    return dict(value)


def _refuse_constant(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def require_file(path: Path, error: type[TinyEdgeError], hint: str = "check the path") -> None:
    """Raise `error` unless `path` is a regular, non-empty file."""
    if not path.exists():
        raise error(f"{path} does not exist", hint)
    if path.is_dir():
        raise error(f"{path} is a folder, a file is needed", hint)
    if not path.is_file():
        raise error(f"{path} is not a regular file", hint)
    if path.stat().st_size == 0:
        raise error(f"{path} is empty", "pass a file that is not empty" if hint == "check the path" else hint)


def _require_regular(path: Path) -> None:
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "not a regular file", str(path))


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a regular file's content, in hexadecimal."""
    _require_regular(path)  # opening a FIFO would wait for a writer
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
