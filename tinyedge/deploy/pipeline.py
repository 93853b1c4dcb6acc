"""Deployment over SSH: inspect the board, make the kit, copy it, and run its installer.

In: a Remote and a bundle. Out: the exit code of the kit's install.sh, which installs, activates, tests and
measures on the board. Nothing is changed on the board before it is known to be suitable.
"""

import hashlib
import zipfile
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from tinyedge.boards.load import known_boards, wheel_platform
from tinyedge.boards.wheel_platform import WheelPlatform
from tinyedge.bundle import signature
from tinyedge.bundle.bundle import Bundle, load_bundle
from tinyedge.core.errors import DeployError, UsageError
from tinyedge.core.printable import has_control_chars
from tinyedge.deploy.inspection import (
    FORBIDDEN_IN_FOLDER,
    BoardState,
    describe_clock_error,
    inspect_board,
    require_room_for_pip,
    require_space,
)
from tinyedge.deploy.kit import (
    BUNDLE,
    INSTALLER,
    LOCK_FILE,
    REBUILD_HINT,
    WHEELHOUSE,
    Kit,
    KitBuilder,
    get_kit_folder,
    require_replaceable,
)
from tinyedge.deploy.ssh import Remote
from tinyedge.deploy.ssh_errors import DEAD_CARD, READ_ONLY, show_answer

LOCK_DIGEST_CHARACTERS = 12  # of the lock's digest, in the name of an environment; install.sh has them too
STEPS = 4
OMIT_KIT_HINT = "omit --kit to make a new one"

# In the folder $1, which exists, tests what no flag of a file system tells (a card with FAT, a policy of the
# kernel); then makes the kit's folder in $2 and marks it as ours.
PREPARE_SCRIPT = r"""
umask 022
probe=$(mktemp -d "$1/.tinyedge.XXXXXX") || exit 1
trap 'rm -rf "$probe"' EXIT
printf '#!/bin/sh\necho ok\n' >"$probe/program" && chmod 700 "$probe/program" || exit 1
[ "$("$probe/program" 2>/dev/null)" = ok ] || { echo exec; exit 1; }
ln -s program "$probe/link" 2>/dev/null || { echo link; exit 1; }
mkdir -p -- "$2/kit" || exit 1
[ -e "$2/.tinyedge-kit" ] || [ -L "$2/.tinyedge-kit" ] || : >"$2/.tinyedge-kit"
"""
PROBE_REASONS = {
    "exec": "cannot run programs",
    "link": "cannot hold symbolic links",
}
INSTALL_SCRIPT = r"""
dir=$1 program=$2 key=$3 service=$4
set -- --dir "$dir"
if [ -n "$key" ]; then
  old=absent
  [ ! -e "$dir/key.pub" ] && [ ! -L "$dir/key.pub" ] || old=foreign
  [ ! -f "$dir/key.pub" ] || [ -L "$dir/key.pub" ] || old=$(cat "$dir/key.pub")
  case $old in
    "$key"*) ;;
    absent | *" tinyedge-deploy")  # the comment marks the file as written here
      rm -f "$dir/.key.pub.tmp"
      printf '%s tinyedge-deploy\n' "$key" >"$dir/.key.pub.tmp" || exit 1
      mv -f "$dir/.key.pub.tmp" "$dir/key.pub" || exit 1 ;;
    *)
      printf 'error: %s is another key\nhint: move it, or choose another --dir\n' "$dir/key.pub" >&2
      exit 1 ;;
  esac
  set -- "$@" --key "$dir/key.pub"
fi
[ -z "$service" ] || set -- "$@" --service
PYTHON=$program exec sh "$dir/kit/install.sh" "$@"
"""


@dataclass(frozen=True)
class DeployPlan:
    """What to deploy, and how."""

    bundle: Path
    """The bundle, on this machine."""
    directory: str = "tinyedge"
    """Folder on the board; a relative path starts at the user's home."""
    key: Path | None = None
    """Public key that must have signed the bundle; None accepts an unsigned one."""
    service: bool = False
    """Whether to install and start the systemd service too."""
    dry_run: bool = False
    """Whether to only inspect the board and report the steps."""
    kit: Path | None = None
    """A kit to use; None makes or reuses the one next to the bundle."""

    def __post_init__(self) -> None:
        """Raise UsageError if the folder's name cannot be used in pip's scripts."""
        forbidden = set(self.directory) & FORBIDDEN_IN_FOLDER
        if not self.directory or has_control_chars(self.directory) or forbidden:
            raise UsageError(
                f"--dir {self.directory!a} is empty, or has quotes, \\, $ or a line break",
                "choose a simpler name, or omit --dir",
            )


def deploy(
    remote: Remote, plan: DeployPlan, report: Callable[[str], None], progress: Callable[[int, int], None]
) -> int:
    """Install a bundle on a board and make it the one that is served.

    Args:
        remote: Connection to the board.
        plan: What to deploy, and how.
        report: Receives one line for each step.
        progress: Receives the bytes sent so far and the total, while the kit is copied.

    Returns:
        Exit code of the installer; 0 in a dry run.

    Raises:
        BundleError: The bundle is invalid, or the key did not sign it.
        DeployError: The board is unsuitable or cannot be reached, or no kit can be made for it.
    """
    bundle = load_bundle(plan.bundle)
    if plan.key is not None:
        signature.verify(bundle, plan.key)
    chosen = Kit.load(plan.kit) if plan.kit is not None else None
    board = inspect_board(remote, plan.directory, plan.service)
    report(
        f"1/{STEPS} board: {remote.destination}, {board.machine}, Python {board.python}, {board.libc},"
        f" {board.free_mb:,} MB free"
    )
    if note := describe_clock_error(board):
        report(note)
    kit = _provide_kit(plan, chosen, bundle, board, report)
    if kit is None:
        return 0
    target = f"{board.directory}/kit"
    excluded = find_unneeded_files(kit, board)
    sizes = {str(p.relative_to(kit.path)): p.stat().st_size for p in kit.path.rglob("*") if p.is_file()}
    present = remote.find_present(kit.path, target)
    missing = sum(size for name, size in sizes.items() if name not in excluded and name not in present)
    size, files = estimate_installation(remote.destination, kit, board)
    require_space(remote.destination, board, size + missing, files + len(sizes))
    total = sum(size for name, size in sizes.items() if name not in excluded)
    if plan.dry_run:
        report(f"3/{STEPS} would copy up to {missing / 1e6:.1f} MB to {target}")
        report(f"4/{STEPS} would run {target}/{INSTALLER}; nothing was changed")
        return 0
    report(f"3/{STEPS} copying up to {missing / 1e6:.1f} MB to {target}")
    _prepare_folder(remote, board)
    remote.copy(kit.path, target, excluded, lambda sent: progress(sent, total), present)
    report(f"4/{STEPS} {target}/{INSTALLER}")
    key = " ".join(plan.key.read_text().split()[:2]) if plan.key else ""  # without its comment
    return remote.run_visibly(
        INSTALL_SCRIPT, board.directory, board.program, key, "yes" if plan.service else ""
    )


def _prepare_folder(remote: Remote, board: BoardState) -> None:
    """Make the kit's folder; raise DeployError if the file system cannot hold an environment."""
    result = remote.run(PREPARE_SCRIPT, board.existing, board.directory)
    if result.code == 0:
        return
    if reason := PROBE_REASONS.get(result.output.strip()):
        raise DeployError(
            f"the file system of {board.existing} on {remote.destination} {reason}", "choose another --dir"
        )
    if READ_ONLY in result.errors:
        raise DeployError(
            f"{board.directory} on {remote.destination} is on a read-only file system", DEAD_CARD
        )
    raise DeployError(
        f"{board.directory}/kit on {remote.destination} cannot be created: {show_answer(result.errors)}",
        "choose another --dir",
    )


def estimate_installation(destination: str, kit: Kit, board: BoardState) -> tuple[int, int]:
    """Estimate what the installation adds to the board, without the kit itself.

    Returns:
        Bytes, and the number of files and folders; those of the bundle only if the environment is installed.

    Raises:
        DeployError: pip has too little memory or no room for its temporary files, see `inspection`.
    """
    bundle = [path.stat().st_size for path in (kit.path / BUNDLE).iterdir()]
    if get_environment_name(kit, board) in board.envs:
        return sum(bundle), len(bundle)
    require_room_for_pip(destination, board)
    # As in install.sh: 1.5 times the unpacked size, for bytecode and for blocks that are partly used.
    packages = kit.select_packages(board.python)
    size = sum(package.unpacked for package in packages) * 3 // 2
    files = 0
    for package in packages:
        try:
            with zipfile.ZipFile(kit.path / WHEELHOUSE / package.file) as archive:
                names = archive.namelist()
        except (OSError, zipfile.BadZipFile) as failure:
            raise DeployError(
                f"{package.file} in {kit.path} is not a wheel: {failure}", REBUILD_HINT
            ) from None
        # One for bytecode too; each folder may have a __pycache__.
        folders = {name.rpartition("/")[0] for name in names}
        files += len(names) + sum(name.endswith(".py") for name in names) + 2 * len(folders)
    return sum(bundle) + size, len(bundle) + files


def _provide_kit(
    plan: DeployPlan, kit: Kit | None, bundle: Bundle, board: BoardState, report: Callable[[str], None]
) -> Kit | None:
    """Check the chosen kit, or reuse or make BUNDLE-kit.

    Returns:
        The kit to copy; None in a dry run that would make one.
    """
    if kit is not None:
        if kit.board.machine != board.machine or board.python not in kit.board.pythons:
            pythons = " and ".join(kit.board.pythons)
            raise DeployError(
                f"--kit {plan.kit} is for Python {pythons} on {kit.board.machine}; the board has Python"
                f" {board.python} on {board.machine}",
                OMIT_KIT_HINT,
            )
        if not kit.contains(bundle):
            raise DeployError(
                f"--kit {plan.kit} does not contain {plan.bundle} in its current state", OMIT_KIT_HINT
            )
        report(f"2/{STEPS} kit: {plan.kit}")
        return kit
    target = get_kit_folder(plan.bundle)
    require_replaceable(target)
    previous = _load_valid_kit(target)
    with KitBuilder(_choose_platform(bundle, board)) as builder:
        reused = previous is not None and builder.reuse_wheels(previous)
        if previous is not None and reused and previous.contains(bundle):
            report(f"2/{STEPS} kit: {target}, reused")
            return previous
        if plan.dry_run:
            wheels = "with the wheels of the previous kit" if reused else "with wheels from the package index"
            report(f"2/{STEPS} would make the kit {target}, {wheels}; nothing was changed")
            return None
        if not reused:
            builder.download_wheels(report)
        kit = builder.write(bundle, target)
    report(f"2/{STEPS} kit: {target}")
    return kit


def _load_valid_kit(target: Path) -> Kit | None:
    """Load an existing kit; None if there is none or it is damaged, so that a new one is made."""
    try:
        return Kit.load(target)
    except DeployError:
        return None


def _choose_platform(bundle: Bundle, board: BoardState) -> WheelPlatform:
    """Return the kit's platform: this board's Python, and those of the bundle's target board."""
    target = bundle.manifest["target"]
    platforms = [known.wheel_platform for known in known_boards() if known.name == target]
    pythons = {
        python for platform in platforms if platform.machine == board.machine for python in platform.pythons
    }
    return wheel_platform(board.machine, tuple(sorted({*pythons, board.python})))


def find_unneeded_files(kit: Kit, board: BoardState) -> Collection[str]:
    """Find the wheels for other versions of Python, as paths inside the kit; they need not be copied."""
    needed = {package.file for package in kit.select_packages(board.python)}
    return [f"{WHEELHOUSE}/{package.file}" for package in kit.packages if package.file not in needed]


def get_environment_name(kit: Kit, board: BoardState) -> str:
    """Return the name of the environment that install.sh makes of the kit on the board."""
    lock = hashlib.sha256((kit.path / LOCK_FILE).read_bytes()).hexdigest()
    return f"{lock[:LOCK_DIGEST_CHARACTERS]}-py{board.python}"
