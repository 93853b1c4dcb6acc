"""Artifacts on disk: written completely or not at all, and read with errors that name the file.

A power cut after a rename without fsync leaves a file of length zero; so an artifact is written to a
temporary name in the same folder, synced, renamed, and the folder synced.

Two processes that write the same file never share a temporary file: each locks its own, and uses the next
number if another process holds the lock. The kernel releases the lock of a killed process, and the next
writer of that file removes what it left.
"""

import contextlib
import errno
import fcntl
import io
import json
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from tinyedge.core.errors import TinyEdgeError

TEMPORARY_SUFFIX = ".tmp"
MAX_WRITERS = 1000  # of one file at the same time; so many mean that a loop is broken
# Exceptions raised by code that reads fields of unvalidated JSON, if a field is missing or has another type.
INVALID_FIELD_ERRORS = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError)


@contextlib.contextmanager
def atomic_writer(path: Path, temporary_folder: Path | None = None) -> Iterator[IO[bytes]]:
    """Open a binary file that gets the name `path` only if the block ends without an exception.

    Args:
        path: The file to create or replace.
        temporary_folder: Folder of the temporary file, on the same file system; by default that of `path`.

    Yields:
        The temporary file, open for writing.

    Raises:
        OSError: The file cannot be written; the error names `path`. An old file is then unchanged, and the
            temporary one is removed.
    """
    _require_regular(path)  # a rename would replace a device by a file
    try:
        temporary, file = _open_temporary(temporary_folder or path.parent, path.name)
        with file:
            try:
                yield file
                file.flush()
                os.fsync(file.fileno())
                temporary.replace(path)
            except BaseException:
                with contextlib.suppress(OSError):
                    temporary.unlink()  # while the lock is held: afterwards the name may be another writer's
                raise
        sync_folder(path.parent)
    except OSError as failure:  # an error of write names no file, one of rename the temporary file
        raise OSError(failure.errno, failure.strerror, str(path)) from None


def is_temporary_of(temporary: str, name: str) -> bool:
    """Return whether a file name is one of those under which the file `name` is written."""
    return bool(re.fullmatch(rf"\.{re.escape(name)}(\.[0-9]+)?{re.escape(TEMPORARY_SUFFIX)}", temporary))


def _open_temporary(folder: Path, name: str) -> tuple[Path, IO[bytes]]:
    """Create and lock the temporary file of a writer, and remove those of killed writers.

    Returns:
        Its path, and the open file.
    """
    paths = (
        folder / f".{name}{f'.{number}' if number else ''}{TEMPORARY_SUFFIX}" for number in range(MAX_WRITERS)
    )
    for path in paths:
        if (not os.path.lexists(path) or _remove_abandoned(path)) and (file := _create_locked(path)):
            for other in paths:  # those after it
                if not os.path.lexists(other):
                    break
                _remove_abandoned(other)
            return path, file
    raise OSError(errno.EBUSY, f"{MAX_WRITERS} other programs are writing it")


def _create_locked(path: Path) -> IO[bytes] | None:
    """Create a file and lock it; None if another writer was faster."""
    try:
        file = path.open("xb")  # "x", so that an existing link is not followed
    except FileExistsError:
        return None
    # Before it was locked, another writer may have taken it for abandoned.
    if _lock(file.fileno()) and os.fstat(file.fileno()).st_nlink:
        return file
    file.close()
    return None


def _remove_abandoned(path: Path) -> bool:
    """Remove a temporary file that no process is writing; return whether its name is free."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    except OSError as failure:
        if failure.errno not in (errno.ELOOP, errno.ENXIO):  # a link or a socket: no writer made it
            return False
        path.unlink(missing_ok=True)
        return True
    try:
        status = os.fstat(descriptor)
        if stat.S_ISREG(status.st_mode) and not _lock(descriptor):
            return False
        # A writer renames only a file that it has locked, so the name still belongs to the checked file.
        with contextlib.suppress(OSError):
            if os.path.samestat(status, path.lstat()):
                path.unlink()
    finally:
        os.close(descriptor)
    return not os.path.lexists(path)


def _lock(descriptor: int) -> bool:
    """Lock a file until it is closed; return whether no other process holds the lock."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # the file system has no locks
        return True
    return True


def sync_folder(folder: Path) -> None:
    """Make renames inside `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_bytes(
    path: Path, data: bytes | bytearray | memoryview, temporary_folder: Path | None = None
) -> None:
    """Write `data` to `path`, atomically; see `atomic_writer`."""
    with atomic_writer(path, temporary_folder) as file:
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
    if not isinstance(value, dict):
        raise error(f"{path} is not a JSON object", hint or "create it again with the command that wrote it")
    found = value.get("schema")
    known = (schema,) if isinstance(schema, str) else schema
    if found not in known:
        raise error(
            f"{path} has schema {found!r}, this version reads {' or '.join(map(repr, known))}",
            hint or "create it again with this version",
        )
    return value


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


@contextlib.contextmanager
def open_regular(path: Path, *, follow_links: bool = True) -> Iterator[io.BufferedReader]:
    """Open a regular file for reading. Never waits for the writer of a FIFO.

    Args:
        path: The file.
        follow_links: Whether `path` may be a symbolic link.

    Raises:
        OSError: The file cannot be opened, or is not a regular one.
    """
    _require_regular(path)  # opening a device can have side effects
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow_links else os.O_NOFOLLOW)
    with open(os.open(path, flags), "rb") as file:  # noqa: PTH123
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):  # it was replaced in the meantime
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        yield file


def sha256_file(path: Path, *, follow_links: bool = True) -> str:
    """Return the SHA-256 of a regular file's content, in hexadecimal; see `open_regular`."""
    import hashlib  # loads OpenSSL, which loading a bundle does not need

    with open_regular(path, follow_links=follow_links) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
