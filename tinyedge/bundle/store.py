"""Where a board keeps its bundles: one of them serves, whatever fails while it is exchanged for another.

    DIR/bundles/<digest>/   whole bundles, at most two but for a moment; a digest is the sha256 of a manifest
    DIR/current             the one that serves: a symbolic link, replaced in one step of the file system
    DIR/confirmed.json      which one passed its self-test last, and which one before

In: a bundle's folder, and what tests it. Out: `current`. A new bundle is staged, synced and verified before
`current` names it, and confirmed once it passed its self-test; a start that finds `current` unconfirmed goes
back to the one that is. That is how RAUC exchanges whole systems. Knows no runtime, no service, no network.
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

from tinyedge.bundle.bundle import Bundle, bundle_digest, create_staging_folder, load_bundle, swap_folders
from tinyedge.bundle.manifest import HEX_DIGEST, MANIFEST_FILE, MAX_BYTES, SIGNATURE_FILE
from tinyedge.core import files
from tinyedge.core.errors import BundleError, StoreError
from tinyedge.core.files import TEMPORARY_SUFFIX

BUNDLES, CURRENT, CONFIRMED_FILE, LOCK_FILE = "bundles", "current", "confirmed.json", ".lock"
SCHEMA = "tinyedge.store/1"
MAX_CONFIRMED_BYTES = 4096  # it holds two digests
SHORT_DIGEST = 12  # digits of a digest that a person is shown
POLL_S = 0.1


@dataclass(frozen=True)
class Activation:
    """What a call did. serving: digest. replaced: the digest that served before, or None.

    reason: why the one before no longer serves; empty where it was replaced on purpose, or nothing changed.
    """

    serving: str
    replaced: str | None = None
    reason: str = ""


@dataclass(frozen=True)
class StoredBundle:
    """A folder of the store. damage: what is wrong with it, or None; bundle: without its bytes."""

    digest: str
    bundle: Bundle | None
    damage: str | None


@dataclass(frozen=True)
class StoreStatus:
    """What there is. current, confirmed, previous: digests; kept: every folder, by digest."""

    current: str | None
    confirmed: str | None
    previous: str | None
    bundles: tuple[StoredBundle, ...]


class Store:
    """The bundles in folder `root`.

    check_accepted: raises BundleError for a bundle that is whole but not wanted, such as one that is not signed.
    """

    def __init__(self, root: Path, check_accepted: Callable[[Bundle], None] = lambda bundle: None) -> None:
        self.root = root
        self._check_accepted = check_accepted

    def activate(self, source: Path, test: Callable[[Path], None]) -> Activation:
        """Makes the bundle in folder `source` the one that serves; what served stays beside it.

        test: the self-test; it gets the folder by the name under which it will serve, and raises BundleError.
        Raises BundleError for a bundle that is refused or fails its test, StoreError where another process
        writes, OSError where the disk fails. After any of them, and after a kill, `current` names a whole
        bundle, the old one or the new one, if it named one before.
        """
        wanted = self._load_accepted(source)
        digest = bundle_digest(wanted)
        (self.root / BUNDLES).mkdir(parents=True, exist_ok=True)
        with self._lock(wait_s=0):
            self._read_current()  # raises where something else is in its place
            try:
                before: str | None = self._recover_locked().serving  # an interrupted call is not built upon
            except StoreError:
                before = None
            if digest == before == self._read_confirmed()[0] and self._contains(wanted):
                self._prune(set(self._read_confirmed()))
                return Activation(digest, digest)
            self._stage(source, wanted)
            try:
                self._set_current(digest)
                test(self.root / CURRENT)
                previous = before if before != digest else self._read_confirmed()[1]
                self._write_confirmed(digest, previous)
            except BaseException:
                self._restore(before)
                raise
            self._prune({digest, previous})
            return Activation(digest, before)

    def recover(self, wait_s: float = 0) -> Activation:
        """Makes sure that `current` names a bundle that is whole and, if there is one, confirmed.

        wait_s: for another process to finish. Where `current` is right already, nothing is written. Raises
        StoreError where no bundle can serve.
        """
        with self._lock(wait_s):
            return self._recover_locked()

    def previous(self) -> Path:
        """The folder of the bundle to go back to. Raises StoreError where there is none."""
        digest = self._read_confirmed()[1]
        if digest is None:
            raise StoreError(
                f"{self.root} keeps no bundle to go back to", "tinyedge activate BUNDLE brings one"
            )
        return self._bundle_folder(digest)

    def status(self) -> StoreStatus:
        """Reads everything, changes nothing."""
        bundles = []
        for digest in self._list_digests():
            try:
                bundles.append(StoredBundle(digest, self._load_stored(digest).without_bytes(), None))
            except BundleError as failure:
                bundles.append(StoredBundle(digest, None, failure.message))
        return StoreStatus(self._read_current(), *self._read_confirmed(), tuple(bundles))

    # What follows is for whoever has the lock.

    def _recover_locked(self) -> Activation:
        current, (confirmed, previous) = self._read_current(), self._read_confirmed()
        reasons = []
        # With nothing confirmed, the first activation was cut short: what it brought is better than nothing.
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
            f"{self.root} has no bundle that can serve" + (f": {reasons[0]}" if reasons else ""),
            "bring one with: tinyedge activate BUNDLE, or from the workstation: tinyedge deploy",
        )

    def _stage(self, source: Path, wanted: Bundle) -> None:
        """Puts a copy of `source` in its folder, synced and verified; nothing names it yet."""
        target = self._bundle_folder(bundle_digest(wanted))
        if self._contains(wanted):
            return
        staged = create_staging_folder(target)
        try:
            for name in (MANIFEST_FILE, *MAX_BYTES, *([SIGNATURE_FILE] if wanted.signature else [])):
                files.write_bytes(staged / name, (source / name).read_bytes())
            copied = self._load_accepted(staged)
            if (copied.raw_manifest, copied.signature) != (wanted.raw_manifest, wanted.signature):
                raise BundleError(f"{source} changed while it was copied", "copy the bundle again")
            swap_folders(staged, target)
            files.sync_folder(target.parent)
        finally:
            shutil.rmtree(staged, ignore_errors=True)

    def _set_current(self, digest: str) -> None:
        """Replaces `current`, in one step."""
        link = self.root / f".{CURRENT}{TEMPORARY_SUFFIX}"
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
        """After a failure: back to what is confirmed, by what the disk says of it now.

        Where that cannot be done, because the disk fails for good, the next start does it.
        """
        with contextlib.suppress(OSError):
            confirmed, previous = self._read_confirmed()
            serving = confirmed or before
            if serving is None:
                (self.root / CURRENT).unlink(missing_ok=True)
                files.sync_folder(self.root)
            elif serving != self._read_current():
                self._set_current(serving)
            if confirmed or serving is None:  # else nobody knows which others to keep
                self._prune({serving, previous})

    def _prune(self, keep: set[str | None]) -> None:
        """Removes the other bundles, and what interrupted calls left. What cannot be removed is left."""
        for folder in (self.root / BUNDLES).iterdir():
            if folder.name in keep:
                continue
            # Renamed first: killed in between, it leaves no half of a bundle under a digest's name.
            doomed = folder.with_name(f".{folder.name}{TEMPORARY_SUFFIX}")
            with contextlib.suppress(OSError):
                if not folder.name.startswith("."):
                    folder = folder.rename(doomed)
                if folder.is_dir() and not folder.is_symlink():
                    shutil.rmtree(folder)
                else:
                    folder.unlink()

    def _bundle_folder(self, digest: str) -> Path:
        return self.root / BUNDLES / digest

    def _list_digests(self) -> list[str]:
        with contextlib.suppress(FileNotFoundError):
            return sorted(
                part.name for part in (self.root / BUNDLES).iterdir() if HEX_DIGEST.fullmatch(part.name)
            )
        return []

    def _read_current(self) -> str | None:
        """What `current` names, whether it is there or not."""
        try:
            name = (self.root / CURRENT).readlink().name
        except FileNotFoundError:
            return None
        except OSError as failure:
            if failure.errno != errno.EINVAL:
                raise
            raise StoreError(f"{self.root / CURRENT} is not a symbolic link", "remove it") from None
        return name if HEX_DIGEST.fullmatch(name) else None

    def _read_confirmed(self) -> tuple[str | None, str | None]:
        """Digests: confirmed, and the one before it. A damaged or unreadable file says nothing."""
        path = self.root / CONFIRMED_FILE
        try:
            if path.stat().st_size > MAX_CONFIRMED_BYTES:
                return None, None
            found = files.read_json(path, SCHEMA, StoreError)
        except (StoreError, OSError):
            return None, None
        confirmed, previous = (
            value if isinstance(value := found.get(name), str) and HEX_DIGEST.fullmatch(value) else None
            for name in ("confirmed", "previous")
        )
        return confirmed, previous

    def _load_accepted(self, folder: Path) -> Bundle:
        """A bundle that is whole, known, safe and wanted."""
        bundle = load_bundle(folder)
        self._check_accepted(bundle)
        return bundle

    def _load_stored(self, digest: str) -> Bundle:
        """The bundle of that digest. Raises BundleError where its folder holds none, or another one."""
        folder = self._bundle_folder(digest)
        bundle = self._load_accepted(folder)
        if (found := bundle_digest(bundle)) != digest:
            raise BundleError(f"{folder} holds bundle {found[:SHORT_DIGEST]}", "activate the bundle again")
        return bundle

    def _contains(self, wanted: Bundle) -> bool:
        """Whether the store has just this bundle, its signature included."""
        try:
            return self._load_stored(bundle_digest(wanted)).signature == wanted.signature
        except BundleError:
            return False

    @contextlib.contextmanager
    def _lock(self, wait_s: float) -> Iterator[None]:
        """One writer at a time; a killed one's lock is gone with it."""
        try:
            descriptor = os.open(self.root / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            raise StoreError(
                f"{self.root} does not exist", "bring a bundle with: tinyedge activate BUNDLE"
            ) from None
        except OSError as failure:
            if failure.errno != errno.EROFS:
                raise
            yield  # a card that can only be read any more: nobody else writes either
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
                        f"another process is changing {self.root}", "try again when it is done"
                    ) from None
            time.sleep(POLL_S)
