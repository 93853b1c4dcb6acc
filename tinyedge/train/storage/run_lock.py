"""A run's folder: created for the run, and used by one process at a time."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from tinyedge.core.errors import CheckpointError


@contextlib.contextmanager
def ensure_dir(folder: Path) -> Iterator[None]:
    """Create a folder for a block. If the block fails, remove what was created and is still empty."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):  # it is not empty
            for path in missing:
                path.rmdir()
        raise


@contextlib.contextmanager
def exclusive_lock(folder: Path) -> Iterator[None]:
    """Lock a folder for a block. The lock of a killed process is released by the kernel.

    Raises:
        CheckpointError: Another process holds the lock.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise CheckpointError(
            f"another tinyedge train is running in {folder}", "wait for it, or pass another --output-dir"
        ) from None
    try:
        yield
    finally:
        os.close(descriptor)
