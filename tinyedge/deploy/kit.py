"""The kit: one folder with all that a board needs, so that it needs no network and no toolchain.

    BUNDLE-kit/
      install.sh tinyedge.service ...   of export/deploy
      wheelhouse/ requirements.lock     every package, by hash
      bundle/                           the bundle
      kit.json SHA256SUMS               what is inside

In: a bundle, a WheelPlatform. Out: the folder, whole or not at all.
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
from tinyedge.deploy.own_wheel import PACKAGE_ROOT, own_digest, own_wheel
from tinyedge.deploy.wheelhouse import Package

SCHEMA = "tinyedge.kit/1"
WHEELHOUSE, LOCK_FILE, KIT_FILE, SUMS_FILE, BUNDLE = (
    *("wheelhouse", "requirements.lock", "kit.json", "SHA256SUMS", "bundle"),
)
INSTALLER = "install.sh"
MAKE_AGAIN = "remove the kit, and make it again"

Report = Callable[[str], None]


@dataclass(frozen=True)
class Kit:
    """A kit on this machine's disk. tinyedge: the version inside; source: its digest. bundle: digest."""

    path: Path
    tinyedge: str
    source: str
    board: WheelPlatform
    packages: tuple[Package, ...]
    bundle: str

    @classmethod
    def load(cls, path: Path) -> "Kit":
        """Raises DeployError where the folder holds none, or a damaged one."""
        about = files.read_json(path / KIT_FILE, SCHEMA, DeployError)
        try:
            packages = tuple(map(Package.from_dict, about["packages"]))
            board = WheelPlatform(about["machine"], tuple(about["pythons"]), ())  # wheels are chosen
            kit = cls(path, about["tinyedge"], about["source"], board, packages, about["bundle"])
            listed = (path / SUMS_FILE).read_text()
        except (KeyError, TypeError, ValueError, OSError) as failure:
            raise DeployError(f"{path} is not a whole kit: {failure}", MAKE_AGAIN) from None
        found = _sums(path)
        if listed != found:
            differing = sorted(set(listed.splitlines()) ^ set(found.splitlines())) or [SUMS_FILE]
            name = differing[0].partition("  ")[2] or SUMS_FILE
            raise DeployError(f"{path} is damaged: {name} is not what {SUMS_FILE} says", MAKE_AGAIN)
        return kit

    def holds(self, bundle: Bundle) -> bool:
        """Whether this very bundle is inside, its signature included."""
        try:
            inside = load_bundle(self.path / BUNDLE)
        except BundleError:
            return False
        return (inside.raw_manifest, inside.signature) == (bundle.raw_manifest, bundle.signature)

    def wheels(self, python: str) -> list[Package]:
        """Those that a board with this Python needs."""
        return [package for package in self.packages if python in package.pythons]


def kit_folder(bundle: Path) -> Path:
    """Where the kit of a bundle is: beside it."""
    bundle = bundle.resolve()
    return bundle.with_name(f"{bundle.name}-kit")


def require_replaceable(folder: Path) -> None:
    """Raises DeployError where something else than a kit is in its place."""
    if os.path.lexists(folder) and not (folder / KIT_FILE).is_file():
        raise DeployError(
            f"{folder} exists and is not a kit", "move it away, or choose another bundle folder"
        )


class Supplies:
    """What goes into a kit beside the bundle, in a temporary folder of its own: `with` takes it away."""

    def __init__(self, board: WheelPlatform) -> None:
        self.board = board
        self._temporary = tempfile.TemporaryDirectory(prefix="tinyedge-kit-")
        self.folder = Path(self._temporary.name)
        self.packages: list[Package] = []

    def __enter__(self) -> "Supplies":
        return self

    def __exit__(self, *ignored: object) -> None:
        self._temporary.cleanup()

    def fetch(self, report: Report) -> None:
        """Gets the wheels from the package index. Raises DeployError where that fails."""
        wheels, own = self.folder / WHEELHOUSE, self.folder / "own"
        for folder in (wheels, own):
            folder.mkdir()
        self.packages = wheelhouse.fill(wheels, self.board, own_wheel(own))
        size = sum(file.stat().st_size for file in wheels.iterdir())
        pythons = " and ".join(self.board.pythons)
        report(
            f"wheels: {len(self.packages)} for Python {pythons} on {self.board.machine}, {size / 1e6:.0f} MB"
        )

    def take(self, kit: Kit) -> bool:
        """Takes the wheels of an earlier kit, if they are for this board and of this very tinyedge."""
        same = kit.board.machine == self.board.machine and set(self.board.pythons) <= set(kit.board.pythons)
        if not same or kit.source != own_digest():
            return False
        shutil.copytree(kit.path / WHEELHOUSE, self.folder / WHEELHOUSE)
        self.board, self.packages = kit.board, list(kit.packages)
        return True

    def put(self, bundle: Bundle, target: Path) -> Kit:
        """Makes the kit of `bundle` in the folder `target`, in one step; an earlier kit there is replaced."""
        require_replaceable(target)
        staged = create_staging_folder(target)
        try:
            shutil.copytree(self.folder / WHEELHOUSE, staged / WHEELHOUSE)
            for source in sorted(deploy_files().iterdir()):
                files.write_bytes(staged / source.name, source.read_bytes())
            (staged / INSTALLER).chmod(0o755)
            (staged / BUNDLE).mkdir()
            for name in (MANIFEST_FILE, *MAX_BYTES, *([SIGNATURE_FILE] if bundle.signature else [])):
                files.write_bytes(staged / BUNDLE / name, (bundle.path / name).read_bytes())
            copied = load_bundle(staged / BUNDLE)
            if (copied.raw_manifest, copied.signature) != (bundle.raw_manifest, bundle.signature):
                raise DeployError(f"{bundle.path} changed while it was copied", "try again")
            note = f"What tinyedge {__version__} needs on {self.board.machine}; made by tinyedge."
            files.write_text(staged / LOCK_FILE, wheelhouse.lock(self.packages, self.board, note))
            files.write_json(staged / KIT_FILE, self._about(bundle_digest(bundle)))
            files.write_text(staged / SUMS_FILE, _sums(staged))
            swap_folders(staged, target)
            files.sync_folder(target.parent)
        finally:
            shutil.rmtree(staged, ignore_errors=True)
        return Kit.load(target)

    def _about(self, digest: str) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "tinyedge": __version__,
            "source": own_digest(),
            "machine": self.board.machine,
            "pythons": list(self.board.pythons),
            "bundle": digest,
            "packages": [package.to_dict() for package in self.packages],
        }


def deploy_files() -> Path:
    """The folder of install.sh and the rest: the checkout's, or the copy that the wheel carries."""
    checkout = PACKAGE_ROOT / "export" / "deploy"
    return checkout if (checkout / INSTALLER).is_file() else Path(__file__).with_name("files")


def _sums(folder: Path) -> str:
    """As `sha256sum --check` reads them; of all files but the bundle's, which has a manifest."""
    found = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    covered = [path for path in found if path.parts[0] not in (BUNDLE, SUMS_FILE)]
    return "".join(f"{_sha256(folder / path)}  {path}\n" for path in covered)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
