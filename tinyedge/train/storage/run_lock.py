"""A run's folder: made when something comes of the run, and worked in by one process at a time."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from tinyedge.core.errors import CheckpointError


@contextlib.contextmanager
def ensure_dir(folder: Path) -> Iterator[None]:
    """Makes the folder for a block. Where the block fails, what was made and is still empty goes again."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):  # it holds something
            for path in missing:
                path.rmdir()
        raise


@contextlib.contextmanager
def exclusive_lock(folder: Path) -> Iterator[None]:
    """Keeps a second run out of the folder while the block runs; a killed one leaves no lock behind."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise CheckpointError(
            f"another tinyedge train is running in {folder}", "wait for it, or give another --output-dir"
        ) from None
    try:
        yield
    finally:
        os.close(descriptor)
