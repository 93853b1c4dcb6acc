"""The kit: one folder with everything a board needs, so that it needs no network and no toolchain.

    BUNDLE-kit/
      install.sh tinyedge.service ...   from export/deploy
      wheelhouse/ requirements.lock     every package, with its hash
      bundle/                           the bundle
      kit.json SHA256SUMS               description and checksums

In: a bundle and a WheelPlatform. Out: the complete folder, or nothing.
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyedge import __version__
from tinyedge.boards.wheel_platform import WheelPlatform
from tinyedge.bundle.bundle import Bundle, bundle_digest, create_staging_folder, load_bundle, swap_folders
from tinyedge.bundle.manifest import MANIFEST_FILE, MAX_BYTES, SIGNATURE_FILE
from tinyedge.core import files
from tinyedge.core.errors import BundleError, DeployError
from tinyedge.deploy import wheelhouse
from tinyedge.deploy.own_wheel import PACKAGE_ROOT, build_own_wheel, compute_own_digest
from tinyedge.deploy.wheelhouse import Package

SCHEMA = "tinyedge.kit/1"
WHEELHOUSE, LOCK_FILE, KIT_FILE, SUMS_FILE, BUNDLE = (
    *("wheelhouse", "requirements.lock", "kit.json", "SHA256SUMS", "bundle"),
)
INSTALLER = "install.sh"
REBUILD_HINT = "delete the kit and make a new one"

Report = Callable[[str], None]


@dataclass(frozen=True)
class Kit:
    """A kit on this machine's disk."""

    path: Path
    """Folder of the kit."""
    tinyedge: str
    """Version of tinyedge inside."""
    source: str
    """SHA-256 digest of that tinyedge, see `compute_own_digest`."""
    board: WheelPlatform
    """Platform of the wheels. Its `platforms` are empty: the wheels are chosen already."""
    packages: tuple[Package, ...]
    """Wheels in the wheelhouse, pip excluded."""
    bundle: str
    """Digest of the bundle inside, see `bundle_digest`."""

    @classmethod
    def load(cls, path: Path) -> "Kit":
        """Read a kit and compare its files with their checksums.

        Raises:
            DeployError: The folder is not a kit, or the kit is incomplete or damaged.
        """
        about = files.read_json(path / KIT_FILE, SCHEMA, DeployError)
        try:
            packages = tuple(map(Package.from_dict, about["packages"]))
            board = WheelPlatform(about["machine"], tuple(about["pythons"]), ())
            kit = cls(path, about["tinyedge"], about["source"], board, packages, about["bundle"])
            listed = (path / SUMS_FILE).read_text()
        except (KeyError, TypeError, ValueError, OSError) as failure:
            raise DeployError(f"{path} is not a valid kit: {failure}", REBUILD_HINT) from None
        found = _compute_checksums(path)
        if listed != found:
            differing = sorted(set(listed.splitlines()) ^ set(found.splitlines())) or [SUMS_FILE]
            name = differing[0].partition("  ")[2] or SUMS_FILE
            raise DeployError(f"{path} is damaged: {name} does not match {SUMS_FILE}", REBUILD_HINT)
        return kit

    def contains(self, bundle: Bundle) -> bool:
        """Return whether exactly this bundle is inside, with the same signature."""
        try:
            inside = load_bundle(self.path / BUNDLE)
        except BundleError:
            return False
        return (inside.raw_manifest, inside.signature) == (bundle.raw_manifest, bundle.signature)

    def select_packages(self, python: str) -> list[Package]:
        """Return the wheels that a board with this version of Python needs."""
        return [package for package in self.packages if python in package.pythons]


def get_kit_folder(bundle: Path) -> Path:
    """Return the folder of a bundle's kit: BUNDLE-kit, next to the bundle."""
    bundle = bundle.resolve()
    return bundle.with_name(f"{bundle.name}-kit")


def require_replaceable(folder: Path) -> None:
    """Raise DeployError if the folder exists and is not a kit."""
    if os.path.lexists(folder) and not (folder / KIT_FILE).is_file():
        raise DeployError(f"{folder} exists and is not a kit", "move it, or choose another bundle folder")


class KitBuilder:
    """Collects the wheels of a kit in a temporary folder, then writes the kit.

    A context manager: leaving it deletes the temporary folder.
    """

    def __init__(self, board: WheelPlatform) -> None:
        """Create an empty temporary folder for the wheels of one platform."""
        self.board = board
        self._temporary = tempfile.TemporaryDirectory(prefix="tinyedge-kit-")
        self.folder = Path(self._temporary.name)
        self.packages: list[Package] = []

    def __enter__(self) -> "KitBuilder":
        return self

    def __exit__(self, *ignored: object) -> None:
        self._temporary.cleanup()

    def download_wheels(self, report: Report) -> None:
        """Download the wheels from the package index.

        Args:
            report: Receives one line with the number and size of the wheels.

        Raises:
            DeployError: pip cannot reach the index, or a wheel for the platform does not exist.
        """
        wheels, own = self.folder / WHEELHOUSE, self.folder / "own"
        for folder in (wheels, own):
            folder.mkdir()
        self.packages = wheelhouse.fill_wheelhouse(wheels, self.board, build_own_wheel(own))
        size = sum(file.stat().st_size for file in wheels.iterdir())
        pythons = " and ".join(self.board.pythons)
        report(
            f"wheels: {len(self.packages)} for Python {pythons} on {self.board.machine}, {size / 1e6:.0f} MB"
        )

    def reuse_wheels(self, kit: Kit) -> bool:
        """Copy the wheels of an existing kit if they fit the platform and contain exactly this tinyedge.

        Returns:
            Whether the wheels were copied.
        """
        fits = kit.board.machine == self.board.machine and set(self.board.pythons) <= set(kit.board.pythons)
        if not fits or kit.source != compute_own_digest():
            return False
        shutil.copytree(kit.path / WHEELHOUSE, self.folder / WHEELHOUSE)
        self.board, self.packages = kit.board, list(kit.packages)
        return True

    def write(self, bundle: Bundle, target: Path) -> Kit:
        """Write the kit of a bundle atomically.

        Args:
            bundle: The bundle to include.
            target: Folder of the kit; an existing kit there is replaced.

        Raises:
            DeployError: `target` exists and is not a kit, or the bundle changed while it was copied.
        """
        require_replaceable(target)
        staged = create_staging_folder(target)
        try:
            shutil.copytree(self.folder / WHEELHOUSE, staged / WHEELHOUSE)
            for source in sorted(find_deploy_files().iterdir()):
                files.write_bytes(staged / source.name, source.read_bytes())
            (staged / INSTALLER).chmod(0o755)
            (staged / BUNDLE).mkdir()
            for name in (MANIFEST_FILE, *MAX_BYTES, *([SIGNATURE_FILE] if bundle.signature else [])):
                files.write_bytes(staged / BUNDLE / name, (bundle.path / name).read_bytes())
            copied = load_bundle(staged / BUNDLE)
            if (copied.raw_manifest, copied.signature) != (bundle.raw_manifest, bundle.signature):
                raise DeployError(f"{bundle.path} changed while it was copied", "try again")
            note = f"What tinyedge {__version__} needs on {self.board.machine}; made by tinyedge."
            files.write_text(staged / LOCK_FILE, wheelhouse.format_lock(self.packages, self.board, note))
            files.write_json(staged / KIT_FILE, self._describe(bundle_digest(bundle)))
            files.write_text(staged / SUMS_FILE, _compute_checksums(staged))
            swap_folders(staged, target)
            files.sync_folder(target.parent)
        finally:
            shutil.rmtree(staged, ignore_errors=True)
        return Kit.load(target)

    def _describe(self, digest: str) -> dict[str, Any]:
        """Return the content of kit.json."""
        return {
            "schema": SCHEMA,
            "tinyedge": __version__,
            "source": compute_own_digest(),
            "machine": self.board.machine,
            "pythons": list(self.board.pythons),
            "bundle": digest,
            "packages": [package.to_dict() for package in self.packages],
        }


def find_deploy_files() -> Path:
    """Return the folder of install.sh and the unit: in the checkout, or the copy inside the wheel."""
    checkout = PACKAGE_ROOT / "export" / "deploy"
    return checkout if (checkout / INSTALLER).is_file() else Path(__file__).with_name("files")


def _compute_checksums(folder: Path) -> str:
    """Return lines for `sha256sum --check`, for all files except the bundle's: it has a manifest."""
    found = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    covered = [path for path in found if path.parts[0] not in (BUNDLE, SUMS_FILE)]
    return "".join(f"{_compute_sha256(folder / path)}  {path}\n" for path in covered)


def _compute_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
