"""The files of a store that are its own: only these are replaced or removed, and only in a folder of its own.

In: a store's folder. Out: an error that names the first entry that is not the store's. A new store gets a
marker file. A store from before there was a marker is accepted if it contains nothing else. No symbolic link
is followed.
"""

import contextlib
import re
import stat
from pathlib import Path

from tinyedge.bundle.manifest import BUNDLE_FILES, format_untrusted, is_digest
from tinyedge.core import files
from tinyedge.core.errors import StoreError
from tinyedge.core.files import is_temporary_of

BUNDLES, CURRENT, CONFIRMED_FILE, LOCK_FILE = "bundles", "current", "confirmed.json", ".lock"
MARKER_FILE = ".tinyedge-store"
MARKER_TEXT = "This folder is a store of tinyedge: `tinyedge activate` removes old bundles from it.\n"
SCHEMA = "tinyedge.store/1"
MAX_CONFIRMED_BYTES = 4096  # the file contains two digests
CURRENT_TEMPORARY = f".{CURRENT}.tmp"
# A bundle that is being copied or removed: .<digest>.<process>.tmp, .<digest>.old.tmp, .<digest>.tmp
TEMPORARY_BUNDLE = re.compile(r"\.[0-9a-f]{64}(\.[0-9]+|\.old)?\.tmp")
REMEDY = "choose an empty or a new folder for the store, or move that file"


def require_own(root: Path) -> None:
    """Check that `root` is new, empty, or a store, before anything in it is changed.

    Raises:
        StoreError: The folder contains something that is not a store's.
    """
    if not root.exists():
        return
    if not root.is_dir():
        raise StoreError(f"{root} is not a folder", "choose another folder for the store")
    if (root / BUNDLES).is_symlink():
        raise StoreError(f"{root / BUNDLES} is a symbolic link", "choose another folder for the store")
    if _is_regular(root / MARKER_FILE):
        return
    foreign = next((part for part in sorted(root.iterdir()) if not _is_own(part)), None)
    if foreign is None and (root / BUNDLES).exists():
        foreign = next((part for part in sorted((root / BUNDLES).iterdir()) if not is_own_bundle(part)), None)
    if foreign is not None:
        name = format_untrusted(str(foreign.relative_to(root)))
        raise StoreError(f"{root} is not a store of tinyedge: it contains {name}", REMEDY)


def mark_own(root: Path) -> None:
    """Mark a folder that `require_own` accepted as a store."""
    if not _is_regular(root / MARKER_FILE):
        files.write_text(root / MARKER_FILE, MARKER_TEXT)


def is_own_bundle(folder: Path) -> bool:
    """Return whether an entry of `bundles` is a bundle, complete or not, and contains nothing else."""
    is_named = is_digest(folder.name) or TEMPORARY_BUNDLE.fullmatch(folder.name)
    return bool(is_named) and _is_folder(folder) and all(map(_is_own_bundle_file, folder.iterdir()))


def remove_bundle(folder: Path) -> None:
    """Remove a bundle of the store, as far as possible; one that contains anything else stays."""
    with contextlib.suppress(OSError):
        if not is_own_bundle(folder):
            return
        if not folder.name.startswith("."):
            # Renamed first, so that an interrupted removal leaves no partial bundle under a digest's name.
            folder = folder.rename(folder.with_name(f".{folder.name}.tmp"))
        for part in folder.iterdir():
            part.unlink()
        folder.rmdir()


def read_confirmed(root: Path) -> tuple[str | None, str | None]:
    """Return the digests of the confirmed bundle and of the one before it.

    A damaged or unreadable file, or a link, counts as missing.
    """
    path = root / CONFIRMED_FILE
    try:
        if not _is_regular(path) or path.stat().st_size > MAX_CONFIRMED_BYTES:
            return None, None
        found = files.read_json(path, SCHEMA, StoreError)
    except (StoreError, OSError):
        return None, None
    confirmed, previous = (
        value if isinstance(value := found.get(name), str) and is_digest(value) else None
        for name in ("confirmed", "previous")
    )
    return confirmed, previous


def read_link(path: Path) -> str | None:
    """Return the digest in a link to `bundles/<digest>`; None if the link points elsewhere.

    Raises:
        OSError: There is no link.
    """
    target = path.readlink()
    return target.name if target == Path(BUNDLES, target.name) and is_digest(target.name) else None


def _is_own(part: Path) -> bool:
    """Return whether an entry of an unmarked folder is one that only a store has."""
    if part.name == BUNDLES:
        return _is_folder(part)
    if part.name in (CURRENT, CURRENT_TEMPORARY):
        return part.is_symlink() and read_link(part) is not None
    if part.name == LOCK_FILE:
        return _is_regular(part) and part.stat().st_size == 0
    if part.name == CONFIRMED_FILE:
        return _is_regular(part) and _is_confirmed(part)
    return _is_regular(part) and (
        is_temporary_of(part.name, CONFIRMED_FILE) or is_temporary_of(part.name, MARKER_FILE)
    )


def _is_confirmed(path: Path) -> bool:
    """Return whether a file is a record of confirmed bundles, or what a power cut leaves of one."""
    with path.open("rb") as file:
        content = file.read(MAX_CONFIRMED_BYTES)
    return not content.strip(b"\0") or f'"{SCHEMA}"'.encode() in content


def _is_own_bundle_file(path: Path) -> bool:
    is_named = path.name in BUNDLE_FILES or any(is_temporary_of(path.name, name) for name in BUNDLE_FILES)
    return is_named and _is_regular(path)


def _is_regular(path: Path) -> bool:
    with contextlib.suppress(OSError):
        return stat.S_ISREG(path.lstat().st_mode)
    return False


def _is_folder(path: Path) -> bool:
    with contextlib.suppress(OSError):
        return stat.S_ISDIR(path.lstat().st_mode)
    return False
