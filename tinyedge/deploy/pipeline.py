"""Deployment over SSH: inspect the board, make the kit, copy it, and run its installer.

In: a Remote and a bundle. Out: the exit code of the kit's install.sh, which installs, activates, tests and
measures on the board. Nothing is changed on the board before it is known to be suitable.
"""

import hashlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from tinyedge.boards.load import known_boards, known_machines, wheel_platform
from tinyedge.boards.wheel_platform import WheelPlatform
from tinyedge.bundle import signature
from tinyedge.bundle.bundle import Bundle, load_bundle
from tinyedge.core.errors import DeployError, UsageError
from tinyedge.core.printable import has_control_chars
from tinyedge.deploy.kit import (
    INSTALLER,
    LOCK_FILE,
    WHEELHOUSE,
    Kit,
    KitBuilder,
    get_kit_folder,
    require_replaceable,
)
from tinyedge.deploy.ssh import Remote

MB = 1 << 20
LOCK_DIGEST_CHARACTERS = 12  # of the lock's digest, in the name of an environment; install.sh has them too
UNPACKED_MB = 230  # approximate size of an environment; the installer computes the exact one
STEPS = 4
OLDEST_PYTHON = (3, 11)
OMIT_KIT_HINT = "omit --kit to make a new one"
FORBIDDEN_IN_FOLDER = frozenset("'\"\\`$")  # pip's scripts contain their folder in quotes

# Prints facts of the board. `python` is the first interpreter that is new enough, else the first one found.
INSPECT_SCRIPT = r"""
case $1 in /*) dir=$1 ;; *) dir=$HOME/$1 ;; esac
at=$dir
while [ ! -d "$at" ]; do at=$(dirname -- "$at"); done
printf 'dir=%s\nmachine=%s\n' "$dir" "$(uname -m)"
[ ! -w "$at" ] || echo writable=yes
printf 'free=%s\n' "$(df -Pk -- "$at" | sed -n 2p)"
for env in "$dir"/envs/*/complete; do
  [ ! -e "$env" ] || printf 'env=%s\n' "$(basename -- "$(dirname -- "$env")")"
done
for name in python3 python3.14 python3.13 python3.12 python3.11; do
  found=$("$name" -I -c '
import platform, struct, sys
try:
    import venv
except ImportError:
    venv = None
print("python=%d.%d" % sys.version_info[:2])
print("bits=%d" % (8 * struct.calcsize("P")))
print("venv=%s" % ("yes" if venv else "no"))
print("libc=%s" % " ".join(platform.libc_ver()))
sys.exit(sys.version_info < (3, 11))
' 2>/dev/null) && { printf '%s\nprogram=%s\n' "$found" "$name"; exit 0; }
  [ -z "$found" ] || [ -n "${first-}" ] || first=$found
done
printf '%s\n' "${first-}"
"""
INSTALL_SCRIPT = r"""
dir=$1 program=$2 key=$3 service=$4
set -- --dir "$dir"
if [ -n "$key" ]; then
  printf '%s\n' "$key" >"$dir/key.pub" || exit 1
  set -- "$@" --key "$dir/key.pub"
fi
[ -z "$service" ] || set -- "$@" --service
PYTHON=$program exec sh "$dir/kit/install.sh" "$@"
"""


@dataclass(frozen=True)
class BoardState:
    """Facts of a board that decide whether tinyedge can be installed there."""

    directory: str
    """Absolute path of the folder to install to."""
    machine: str
    """Architecture as `uname -m` prints it."""
    writable: bool
    """Whether the folder, or its nearest existing parent, is writable."""
    free_mb: int
    """Free disk space there, in MB of 2^20 bytes."""
    python: str
    """Version of Python, such as "3.11"."""
    program: str
    """Name of that Python's executable."""
    bits: int
    """Width of a pointer in that Python: 32 or 64."""
    venv: bool
    """Whether that Python can create virtual environments."""
    libc: str
    """Name and version of the C library, such as "glibc 2.36"; empty if unknown."""
    envs: tuple[str, ...]
    """Names of the complete environments that are installed in the folder."""


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
    board = inspect_board(remote, plan.directory)
    report(
        f"1/{STEPS} board: {remote.destination}, {board.machine}, Python {board.python}, {board.libc},"
        f" {board.free_mb:,} MB free"
    )
    kit = _provide_kit(plan, chosen, bundle, board, report)
    if kit is None:
        return 0
    excluded = find_unneeded_files(kit, board)
    sizes = {str(p.relative_to(kit.path)): p.stat().st_size for p in kit.path.rglob("*") if p.is_file()}
    total = sum(size for name, size in sizes.items() if name not in excluded)
    target = f"{board.directory}/kit"
    if plan.dry_run:
        report(f"3/{STEPS} would copy up to {total / 1e6:.1f} MB to {target}")
        report(f"4/{STEPS} would run {target}/{INSTALLER}; nothing was changed")
        return 0
    report(f"3/{STEPS} copying up to {total / 1e6:.1f} MB to {target}")
    result = remote.run('umask 022; mkdir -p -- "$1"', target)
    if result.code:
        raise DeployError(
            f"{target} cannot be created: {result.errors.strip()[-200:]}", "choose another --dir"
        )
    remote.copy(kit.path, target, excluded, lambda sent: progress(sent, total))
    report(f"4/{STEPS} {target}/{INSTALLER}")
    key = plan.key.read_text().strip() if plan.key else ""
    return remote.run_visibly(
        INSTALL_SCRIPT, board.directory, board.program, key, "yes" if plan.service else ""
    )


def inspect_board(remote: Remote, directory: str) -> BoardState:
    """Collect the facts of a board; raise DeployError if tinyedge cannot run on it."""
    result = remote.run(INSPECT_SCRIPT, directory)
    lines = [line.split("=", 1) for line in result.output.splitlines() if "=" in line]
    facts = dict(lines)
    if result.code or "machine" not in facts:
        raise DeployError(
            f"{remote.destination} has no POSIX shell: {result.errors.strip()[-200:]!r}",
            "is it a Linux machine?",
        )
    if "python" not in facts:
        raise DeployError(f"{remote.destination} has no Python", "on the board: sudo apt install python3")
    free = facts["free"].split()
    board = BoardState(
        directory=facts["dir"],
        machine=facts["machine"],
        writable="writable" in facts,
        free_mb=int(free[3]) >> 10 if len(free) > 3 and free[3].isdecimal() else 0,
        python=facts["python"],
        program=facts.get("program", "python3"),
        bits=int(facts["bits"]),
        venv=facts["venv"] == "yes",
        libc=facts["libc"].strip(),
        envs=tuple(value for name, value in lines if name == "env"),
    )
    _require_suitable(remote.destination, board)
    return board


def _require_suitable(destination: str, board: BoardState) -> None:
    """Raise DeployError if tinyedge cannot run on the board, or does not fit on its disk."""
    if board.machine not in known_machines():
        raise DeployError(
            f"{destination} is {board.machine}; there are packages for {' and '.join(known_machines())}",
            "write the 64-bit Raspberry Pi OS to the card",
        )
    if board.bits != 64:
        raise DeployError(
            f"{destination} is a 32-bit system on a 64-bit kernel",
            "write the 64-bit Raspberry Pi OS to the card",
        )
    if tuple(map(int, board.python.split("."))) < OLDEST_PYTHON:
        raise DeployError(
            f"{destination} has Python {board.python}; 3.11 or newer is required",
            "write Raspberry Pi OS bookworm or newer to the card",
        )
    if not board.venv:
        raise DeployError(
            f"{destination} has a Python that cannot create virtual environments",
            "on the board: sudo apt install python3-venv",
        )
    if not board.libc.startswith("glibc"):
        raise DeployError(
            f"{destination} has no glibc, which the packages require",
            "use Raspberry Pi OS or another Debian-based system",
        )
    if not board.writable:
        raise DeployError(f"{board.directory} on {destination} is not writable", "choose another --dir")
    if not board.envs and board.free_mb < UNPACKED_MB:
        raise DeployError(
            f"{destination} has {board.free_mb} MB free; about {UNPACKED_MB} MB are required",
            "free some space there, or choose another --dir",
        )


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
    """Find the wheels that need not be copied.

    Returns:
        Paths inside the kit: wheels for other versions of Python, or all wheels if the board has the
        environment already.
    """
    lock = hashlib.sha256((kit.path / LOCK_FILE).read_bytes()).hexdigest()
    if f"{lock[:LOCK_DIGEST_CHARACTERS]}-py{board.python}" in board.envs:
        return [f"{WHEELHOUSE}/{path.name}" for path in (kit.path / WHEELHOUSE).iterdir()]
    needed = {package.file for package in kit.select_packages(board.python)}
    return [f"{WHEELHOUSE}/{package.file}" for package in kit.packages if package.file not in needed]
