"""The bundles on a board. One of them is active at any time, whatever fails during an update.

    DIR/bundles/<digest>/   complete bundles, normally at most two; the digest is the sha256 of the manifest
    DIR/current             the active bundle: a symbolic link that is replaced atomically
    DIR/confirmed.json      digests of the bundle that last passed its self-test, and of the one before it
    DIR/.tinyedge-store     marks the folder as a store: bundles are removed from no other folder

In: a bundle's folder and a self-test. Out: `current`. A new bundle is staged, synced and verified before
`current` points to it, and confirmed after it passed its self-test. A start that finds an unconfirmed
`current` rolls back to the confirmed bundle. RAUC updates whole systems in the same way. No file of a bundle
is changed in place: a process that has mapped one keeps it, also after the bundle was removed. Does not know
the runtime, the service or the network.
"""

import contextlib
import errno
import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tinyedge.bundle.bundle import Bundle, bundle_digest, load_bundle
from tinyedge.bundle.folder_swap import create_staging_folder, swap_folders
from tinyedge.bundle.manifest import is_digest
from tinyedge.bundle.store_files import (
    BUNDLES,
    CONFIRMED_FILE,
    CURRENT,
    CURRENT_TEMPORARY,
    LOCK_FILE,
    SCHEMA,
    is_own_bundle,
    mark_own,
    read_confirmed,
    read_link,
    remove_bundle,
    require_own,
)
from tinyedge.core import files
from tinyedge.core.errors import BundleError, StoreError

SHORT_DIGEST = 12  # digits of a digest that are shown to a person
POLL_S = 0.1


@dataclass(frozen=True)
class Activation:
    """Result of an activation or a recovery."""

    serving: str
    """Digest of the active bundle."""
    replaced: str | None = None
    """Digest of the bundle that was active before; None if there was none."""
    reason: str = ""
    """Why the previous bundle is no longer active; empty if it was replaced on purpose or nothing changed."""


@dataclass(frozen=True)
class StoredBundle:
    """A folder of the store."""

    digest: str
    """Name of the folder."""
    bundle: Bundle | None
    """The bundle without its bytes; None if it is damaged."""
    damage: str | None
    """What is wrong with the bundle; None if it is valid."""


@dataclass(frozen=True)
class StoreStatus:
    """Content of a store."""

    current: str | None
    """Digest of the active bundle."""
    confirmed: str | None
    """Digest of the bundle that last passed its self-test."""
    previous: str | None
    """Digest of the bundle that was confirmed before it."""
    bundles: tuple[StoredBundle, ...]
    """All folders, sorted by digest."""


class Store:
    """The store in folder `root`.

    Args:
        root: Folder of the store.
        check_accepted: Raises BundleError for a valid bundle that must not be used, such as an unsigned one.
    """

    def __init__(self, root: Path, check_accepted: Callable[[Bundle], None] = lambda bundle: None) -> None:
        self.root = root
        self._check_accepted = check_accepted

    def activate(self, source: Path, test: Callable[[Path], None]) -> Activation:
        """Make the bundle in folder `source` the active one. The previously active bundle stays in the store.

        After any error, and after the process was killed, `current` points to a complete bundle, the old or
        the new one, if it pointed to one before.

        Args:
            source: Folder of the bundle; the bytes that were verified are copied.
            test: The self-test. It gets the path under which the bundle will be used, and raises BundleError.

        Returns:
            Which bundle is active now, and which one was before.

        Raises:
            BundleError: The bundle is refused or fails its self-test.
            StoreError: Another process is changing the store, or the folder contains anything but a store.
            OSError: The disk fails.
        """
        wanted = self._load_accepted(source)
        digest = bundle_digest(wanted)
        require_own(self.root)
        self.root.mkdir(parents=True, exist_ok=True)
        with self._lock(wait_s=0):
            mark_own(self.root)
            (self.root / BUNDLES).mkdir(exist_ok=True)
            self._read_current()  # raises if `current` is not a symbolic link
            try:
                # Completes or undoes an interrupted call first.
                before: str | None = self._recover_locked().serving
            except StoreError:
                before = None
            if digest == before == read_confirmed(self.root)[0] and self._contains(wanted):
                self._prune(set(read_confirmed(self.root)))
                return Activation(digest, digest)
            self._stage(wanted)
            try:
                self._set_current(digest)
                test(self.root / CURRENT)
                previous = before if before != digest else read_confirmed(self.root)[1]
                self._write_confirmed(digest, previous)
            except BaseException:
                self._restore(before)
                raise
            self._prune({digest, previous})
            return Activation(digest, before)

    def recover(self, wait_s: float = 0) -> Activation:
        """Make `current` point to a complete bundle, the confirmed one if possible.

        Nothing is written if `current` is already right.

        Args:
            wait_s: Seconds to wait for another process that is changing the store.

        Raises:
            StoreError: The folder is not a store or has no valid bundle, or another process is still
                changing it.
        """
        require_own(self.root)
        with self._lock(wait_s):
            return self._recover_locked()

    def previous(self) -> Path:
        """Return the folder of the bundle that was confirmed before the current one.

        Raises:
            StoreError: There is none.
        """
        digest = read_confirmed(self.root)[1]
        if digest is None:
            raise StoreError(
                f"{self.root} has no previous bundle", "activate another one with: tinyedge activate BUNDLE"
            )
        return self._bundle_folder(digest)

    def status(self) -> StoreStatus:
        """Read and verify all bundles without changing anything."""
        bundles = []
        for digest in self._list_digests():
            try:
                bundles.append(StoredBundle(digest, self._load_stored(digest).without_bytes(), None))
            except BundleError as failure:
                bundles.append(StoredBundle(digest, None, failure.message))
        return StoreStatus(self._read_current(), *read_confirmed(self.root), tuple(bundles))

    # The methods below require the lock.

    def _recover_locked(self) -> Activation:
        current, (confirmed, previous) = self._read_current(), read_confirmed(self.root)
        reasons = []
        # If no bundle is confirmed, the first activation was interrupted: its bundle is better than none.
        for digest in dict.fromkeys((confirmed, previous, current, *self._list_digests())):
            if digest is None:
                continue
            try:
                self._load_stored(digest)
            except BundleError as failure:
                reasons.append(failure.message)
                continue
            if digest == current:
                return Activation(digest, digest)
            self._set_current(digest)
            unconfirmed = (
                [f"{current[:SHORT_DIGEST]} was not confirmed"] if current and confirmed == digest else []
            )
            return Activation(digest, current, "; ".join(reasons or unconfirmed))
        raise StoreError(
            f"{self.root} has no valid bundle" + (f": {reasons[0]}" if reasons else ""),
            "add one with: tinyedge activate BUNDLE, or from the workstation with: tinyedge deploy",
        )

    def _stage(self, wanted: Bundle) -> None:
        """Write a bundle to its folder in the store, synced and verified. `current` does not change."""
        target = self._bundle_folder(bundle_digest(wanted))
        if self._contains(wanted):
            return
        if os.path.lexists(target) and not is_own_bundle(target):
            raise StoreError(f"{target} contains other files than those of a bundle", "move or remove it")
        staged = create_staging_folder(target)
        try:
            wanted.write_copy(staged)
            self._load_accepted(staged)
            swap_folders(staged, target)
            files.sync_folder(target.parent)
        finally:
            shutil.rmtree(staged, ignore_errors=True)

    def _set_current(self, digest: str) -> None:
        """Point `current` to another bundle, atomically."""
        link = self.root / CURRENT_TEMPORARY
        link.unlink(missing_ok=True)
        link.symlink_to(Path(BUNDLES, digest))
        try:
            link.replace(self.root / CURRENT)
        finally:
            link.unlink(missing_ok=True)
        files.sync_folder(self.root)

    def _write_confirmed(self, digest: str, previous: str | None) -> None:
        files.write_json(
            self.root / CONFIRMED_FILE, {"schema": SCHEMA, "confirmed": digest, "previous": previous}
        )

    def _restore(self, before: str | None) -> None:
        """Return to the confirmed bundle after a failure, according to what is on the disk now.

        If the disk keeps failing, `recover` does it at the next start.
        """
        with contextlib.suppress(OSError):
            confirmed, previous = read_confirmed(self.root)
            serving = confirmed or before
            if serving is None:
                (self.root / CURRENT).unlink(missing_ok=True)
                files.sync_folder(self.root)
            elif serving != self._read_current():
                self._set_current(serving)
            if confirmed or serving is None:  # otherwise it is unknown which others to keep
                self._prune({serving, previous})

    def _prune(self, keep: set[str | None]) -> None:
        """Remove the other bundles and the leftovers of interrupted calls, as far as that is possible."""
        for folder in (self.root / BUNDLES).iterdir():
            if folder.name not in keep:
                remove_bundle(folder)

    def _bundle_folder(self, digest: str) -> Path:
        return self.root / BUNDLES / digest

    def _list_digests(self) -> list[str]:
        with contextlib.suppress(FileNotFoundError):
            return sorted(part.name for part in (self.root / BUNDLES).iterdir() if is_digest(part.name))
        return []

    def _read_current(self) -> str | None:
        """Return the digest that `current` points to, even if that bundle is missing."""
        try:
            return read_link(self.root / CURRENT)
        except FileNotFoundError:
            return None
        except OSError as failure:
            if failure.errno != errno.EINVAL:
                raise
            raise StoreError(f"{self.root / CURRENT} is not a symbolic link", "remove it") from None

    def _load_accepted(self, folder: Path) -> Bundle:
        """Load a bundle and check that it is accepted."""
        bundle = load_bundle(folder)
        self._check_accepted(bundle)
        return bundle

    def _load_stored(self, digest: str) -> Bundle:
        """Load a bundle of the store.

        Raises:
            BundleError: Its folder contains no valid bundle, or a different one.
        """
        folder = self._bundle_folder(digest)
        if folder.is_symlink():
            raise BundleError(f"{folder} is a symbolic link, a store contains folders", "remove it")
        bundle = self._load_accepted(folder)
        if (found := bundle_digest(bundle)) != digest:
            raise BundleError(f"{folder} contains bundle {found[:SHORT_DIGEST]}", "activate the bundle again")
        return bundle

    def _contains(self, wanted: Bundle) -> bool:
        """Return whether the store contains exactly this bundle, including its signature."""
        try:
            stored = self._load_stored(bundle_digest(wanted))
            stored.check_ngrams()
        except BundleError:
            return False
        return stored.signature == wanted.signature

    @contextlib.contextmanager
    def _lock(self, wait_s: float) -> Iterator[None]:
        """Hold the lock of the store. The kernel releases the lock of a killed process."""
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            descriptor = os.open(self.root / LOCK_FILE, flags, 0o600)
        except FileNotFoundError:
            raise StoreError(
                f"{self.root} does not exist", "add a bundle with: tinyedge activate BUNDLE"
            ) from None
        except OSError as failure:
            if failure.errno == errno.ELOOP:
                raise StoreError(f"{self.root / LOCK_FILE} is a symbolic link", "remove it") from None
            if failure.errno != errno.EROFS:
                raise
            yield  # the card has become read-only, so no other process can write to it
            return
        try:
            self._acquire(descriptor, time.monotonic() + wait_s)
            yield
        finally:
            os.close(descriptor)

    def _acquire(self, descriptor: int, deadline: float) -> None:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise StoreError(
                        f"another process is changing {self.root}", "try again when it has finished"
                    ) from None
            time.sleep(POLL_S)
