"""A folder that commands write to: created when needed, and changed by one process at a time."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from tinyedge.core.errors import TinyEdgeError


@contextlib.contextmanager
def ensure_dir(folder: Path) -> Iterator[None]:
    """Create a folder for a block. If the block fails, remove what was created and is still empty.

    Raises:
        TinyEdgeError: The folder cannot be created.
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as failure:
        _remove_empty(missing)
        raise TinyEdgeError(
            f"{folder} cannot be created: {failure.strerror}", "pass another --output-dir"
        ) from None
    try:
        yield
    except BaseException:
        _remove_empty(missing)
        raise


@contextlib.contextmanager
def exclusive_lock(folder: Path) -> Iterator[None]:
    """Lock a folder for a block. The lock of a killed process is released by the kernel.

    Raises:
        TinyEdgeError: Another process holds the lock.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TinyEdgeError(
                f"another tinyedge command is writing to {folder}",
                "wait for it, or pass another --output-dir",
            ) from None
        yield
    finally:
        os.close(descriptor)


def _remove_empty(folders: list[Path]) -> None:
    with contextlib.suppress(OSError):  # one is not empty
        for folder in folders:
            folder.rmdir()
