"""The kit: one folder with everything a board needs, so that it needs no network and no toolchain.

    BUNDLE-kit/
      install.sh tinyedge.service ...   from export/deploy
      wheelhouse/ requirements.lock     every package, with its hash
      bundle/                           the bundle
      kit.json SHA256SUMS               description and checksums

In: a bundle and a WheelPlatform. Out: the complete folder, or nothing.
"""

import os
import re
import shutil
import stat
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyedge import __version__
from tinyedge.boards.wheel_platform import WheelPlatform
from tinyedge.bundle.bundle import Bundle, bundle_digest, load_bundle
from tinyedge.bundle.folder_swap import BUNDLE_PATTERN, create_staging_folder, swap_folders
from tinyedge.bundle.manifest import format_untrusted
from tinyedge.core import files
from tinyedge.core.errors import BundleError, DeployError
from tinyedge.deploy import wheelhouse
from tinyedge.deploy.kernels_wheel import NoKernelsError, make_kernels_wheel
from tinyedge.deploy.own_wheel import PACKAGE_ROOT, build_own_wheel, compute_own_digest
from tinyedge.deploy.wheelhouse import Package

SCHEMA = "tinyedge.kit/1"
WHEELHOUSE, LOCK_FILE, KIT_FILE, SUMS_FILE, BUNDLE = (
    *("wheelhouse", "requirements.lock", "kit.json", "SHA256SUMS", "bundle"),
)
INSTALLER = "install.sh"
SCHEMA_FAMILY = b'"tinyedge.kit/'  # in every kit.json, of older and newer versions too
MAX_KIT_FILE_BYTES = 1 << 20
# Everything that a kit contains, as paths inside it, for `re` and `grep -E`; the last two lines are temporary
# files of rsync.
OWN_FILES = (
    r"(SHA256SUMS|requirements\.lock|kit\.json|install\.sh|tinyedge\.service|tinyedge-backoff\.conf|alerts\.yml"
    r"|wheelhouse|wheelhouse/[^/]*\.whl"
    rf"|bundle|bundle/({BUNDLE_PATTERN})"
    r"|\.(SHA256SUMS|requirements\.lock|kit\.json|install\.sh|tinyedge[a-z-]*\.[a-z]+|alerts\.yml)\.[A-Za-z0-9]{6}"
    r"|(wheelhouse|bundle)/\.[^/]*\.(whl|json|sig|onnx|model|md|bin)\.[A-Za-z0-9]{6})"
)
SUMS_LINE = re.compile(r"([0-9a-f]{64})  (.+)")
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
            found = _compute_checksums(path)
        except (KeyError, TypeError, ValueError, OSError) as failure:
            raise DeployError(f"{path} is not a valid kit: {failure}", REBUILD_HINT) from None
        if listed != found:
            differing = sorted(set(listed.splitlines()) ^ set(found.splitlines())) or [SUMS_FILE]
            name = differing[0].partition("  ")[2] or SUMS_FILE
            raise DeployError(f"{path} is damaged: {name} does not match {SUMS_FILE}", REBUILD_HINT)
        return kit

    def contains(self, bundle: Bundle) -> bool:
        """Return whether exactly this bundle is inside, with the same signature."""
        try:
            inside = load_bundle(self.path / BUNDLE, all_hashes=True)
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
    """Raise DeployError unless the folder is new, or a kit (even a damaged one) and nothing else."""
    if not os.path.lexists(folder):
        return
    hint = "move it, or choose another bundle folder"
    if folder.is_symlink() or not folder.is_dir():
        raise DeployError(f"{folder} exists and is not a folder", hint)
    try:
        with files.open_regular(folder / KIT_FILE, follow_links=False) as file:
            is_kit = SCHEMA_FAMILY in file.read(MAX_KIT_FILE_BYTES)
    except OSError:
        is_kit = False
    if not is_kit:
        raise DeployError(f"{folder} exists and is not a kit", hint)
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if not re.fullmatch(OWN_FILES, name):
            raise DeployError(f"{folder} contains {format_untrusted(name)}, which is not part of a kit", hint)


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
            report: Receives a line about the native kernels, and one with the number and size of the wheels.

        Raises:
            DeployError: pip cannot reach the index, or a wheel for the platform does not exist.
        """
        wheels, own, native = (self.folder / name for name in (WHEELHOUSE, "own", "kernels"))
        for folder in (wheels, own, native):
            folder.mkdir()
        kernels: Path | None = None
        try:
            kernels = make_kernels_wheel(native, self.board)
            report(f"native kernels: {kernels.name}")
        except NoKernelsError as reason:
            report(f"native kernels: not in the kit, {reason.message}; the board then computes more slowly")
        self.packages = wheelhouse.fill_wheelhouse(wheels, self.board, build_own_wheel(own), kernels)
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
        (self.folder / WHEELHOUSE).mkdir()
        for name, digest in _read_checksums(kit.path).items():
            if Path(name).parent == Path(WHEELHOUSE):
                _copy_verified(kit.path / name, self.folder / name, digest)
        self.board, self.packages = kit.board, list(kit.packages)
        return True

    def write(self, bundle: Bundle, target: Path) -> Kit:
        """Write the kit of a bundle atomically.

        Args:
            bundle: The bundle to include; the bytes that were verified are written.
            target: Folder of the kit; an existing kit there is replaced.

        Raises:
            DeployError: `target` exists and is not a kit.
        """
        require_replaceable(target)
        staged = create_staging_folder(target, OWN_FILES)
        try:
            shutil.copytree(self.folder / WHEELHOUSE, staged / WHEELHOUSE)
            for source in sorted(find_deploy_files().iterdir()):
                files.write_bytes(staged / source.name, source.read_bytes())
            (staged / INSTALLER).chmod(0o755)
            (staged / BUNDLE).mkdir()
            bundle.write_copy(staged / BUNDLE)
            load_bundle(staged / BUNDLE)
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
    """Return lines for `sha256sum --check`, for all files except the bundle's: it has a manifest.

    Raises:
        OSError: A file is not a regular one.
    """
    found = [path.relative_to(folder) for path in folder.rglob("*") if not stat.S_ISDIR(path.lstat().st_mode)]
    covered = [path for path in sorted(found) if path.parts[0] not in (BUNDLE, SUMS_FILE)]
    return "".join(f"{files.sha256_file(folder / path, follow_links=False)}  {path}\n" for path in covered)


def _read_checksums(folder: Path) -> dict[str, str]:
    """Return the digests in a kit's SHA256SUMS by file name; empty if the file cannot be read."""
    try:
        with files.open_regular(folder / SUMS_FILE, follow_links=False) as file:
            lines = file.read(MAX_KIT_FILE_BYTES).decode(errors="replace").splitlines()
    except OSError:
        return {}
    return {match[2]: match[1] for line in lines if (match := SUMS_LINE.fullmatch(line))}


def _copy_verified(source: Path, target: Path, digest: str) -> None:
    """Copy a file whose content has the SHA-256 `digest`.

    Raises:
        DeployError: The file is missing, not a regular one, or has another content.
    """
    try:
        with files.open_regular(source, follow_links=False) as file, target.open("xb") as copy:
            shutil.copyfileobj(file, copy)
    except OSError as failure:
        raise DeployError(f"{source} cannot be copied: {failure.strerror}", REBUILD_HINT) from None
    if files.sha256_file(target) != digest:
        raise DeployError(f"{source} does not match {SUMS_FILE}", REBUILD_HINT)
