"""Files in a folder and its subfolders, at any depth.

In: a folder. Out: the paths of its files. Does not know their content.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path


def walk_files(
    folder: Path,
    on_error: Callable[[OSError], None],
    is_entered: Callable[[str], bool] = lambda name: True,
) -> Iterator[Path]:
    """Yield everything in a folder that is not a folder itself, by sorted names, one folder after the other.

    `os.walk` and `Path.rglob` of Python 3.11 call themselves for each level, and fail in deep folders. Links
    to folders are not followed, so that a loop cannot block the search.

    Args:
        folder: Where to search.
        on_error: Receives the error of a folder that cannot be read; the search continues if it returns.
        is_entered: Whether to search subfolders with this name.
    """
    pending = [folder]
    while pending:
        current = pending.pop()
        try:
            with os.scandir(current) as found:
                entries = sorted(found, key=lambda entry: entry.name)
            folders = {entry.name for entry in entries if entry.is_dir(follow_symlinks=False)}
        except OSError as failure:
            on_error(failure)
            continue
        yield from (current / entry.name for entry in entries if entry.name not in folders)
        pending += [current / name for name in sorted(folders, reverse=True) if is_entered(name)]
