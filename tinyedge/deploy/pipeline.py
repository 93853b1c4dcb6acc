"""From the workstation to a board that answers: look, make the kit, copy it, install, switch, test, measure.

In: a Remote, a bundle. Out: the exit code of the kit's install.sh, which does all that happens on the board.
Nothing is changed there before it is known to be fit.
"""

import hashlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from tinyedge.boards.board import known_boards, known_machines, wheel_platform
from tinyedge.boards.wheel_platform import WheelPlatform
from tinyedge.bundle import signature
from tinyedge.bundle.bundle import Bundle, load_bundle
from tinyedge.bundle.manifest import has_control_chars
from tinyedge.core.errors import DeployError, UsageError
from tinyedge.deploy.kit import (
    INSTALLER,
    LOCK_FILE,
    WHEELHOUSE,
    Kit,
    Supplies,
    kit_folder,
    require_replaceable,
)
from tinyedge.deploy.ssh import Remote

MB = 1 << 20
SHORT = 12
UNPACKED_MB = 230  # of an environment's packages; how much exactly, the installer knows
STEPS = 4
OLDEST_PYTHON = (3, 11)
LEAVE_OUT = "leave --kit out, and one is made"
BAD_IN_FOLDER = frozenset("'\"\\`$")  # pip's scripts name their folder in quotes

# What the board is. `python` is the first of these that is new enough, or else the first there is.
LOOK = r"""
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
INSTALL = r"""
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
    """What a look at the board found. directory: absolute. envs: whole environments, by name."""

    directory: str
    machine: str
    writable: bool
    free_mb: int
    python: str
    program: str
    bits: int
    venv: bool
    libc: str
    envs: tuple[str, ...]


@dataclass(frozen=True)
class DeployPlan:
    """What to deploy and how. directory: on the board, by its home. key: a public one. kit: one to use."""

    bundle: Path
    directory: str = "tinyedge"
    key: Path | None = None
    service: bool = False
    dry_run: bool = False
    kit: Path | None = None

    def __post_init__(self) -> None:
        if not self.directory or has_control_chars(self.directory) or set(self.directory) & BAD_IN_FOLDER:
            raise UsageError(
                f"--dir {self.directory!a} is empty, or has quotes, \\, $ or a line break",
                "choose a plainer one, or leave it out",
            )


def deploy(
    remote: Remote, plan: DeployPlan, report: Callable[[str], None], progress: Callable[[int, int], None]
) -> int:
    """Makes the bundle the one that serves on the board; the exit code of its installer.

    report: gets a line a step. progress: bytes sent, of how many. Raises BundleError for the bundle,
    DeployError where the board is not fit, cannot be reached, or no kit can be made for it.
    """
    bundle = load_bundle(plan.bundle)
    if plan.key is not None:
        signature.verify(bundle, plan.key)
    chosen = Kit.load(plan.kit) if plan.kit is not None else None
    found = look(remote, plan.directory)
    report(
        f"1/{STEPS} board: {remote.destination}, {found.machine}, Python {found.python}, {found.libc},"
        f" {found.free_mb:,} MB free"
    )
    kit = _kit(plan, chosen, bundle, found, report)
    if kit is None:
        return 0
    left_out = unneeded(kit, found)
    sizes = {str(p.relative_to(kit.path)): p.stat().st_size for p in kit.path.rglob("*") if p.is_file()}
    total = sum(size for name, size in sizes.items() if name not in left_out)
    target = f"{found.directory}/kit"
    if plan.dry_run:
        report(f"3/{STEPS} would copy up to {total / 1e6:.1f} MB to {target}")
        report(f"4/{STEPS} would run {target}/{INSTALLER}; nothing was changed")
        return 0
    report(f"3/{STEPS} copying up to {total / 1e6:.1f} MB to {target}")
    made = remote.run('umask 022; mkdir -p -- "$1"', target)
    if made.code:
        raise DeployError(f"{target} cannot be made: {made.errors.strip()[-200:]}", "choose another --dir")
    remote.copy(kit.path, target, left_out, lambda sent: progress(sent, total))
    report(f"4/{STEPS} {target}/{INSTALLER}")
    key = plan.key.read_text().strip() if plan.key else ""
    return remote.show(INSTALL, found.directory, found.program, key, "yes" if plan.service else "")


def look(remote: Remote, directory: str) -> BoardState:
    """What the board is. Raises DeployError where tinyedge cannot run on it."""
    done = remote.run(LOOK, directory)
    lines = [line.split("=", 1) for line in done.output.splitlines() if "=" in line]
    said = dict(lines)
    if done.code or "machine" not in said:
        raise DeployError(
            f"{remote.destination} has no POSIX shell: {done.errors.strip()[-200:]!r}",
            "is it a Linux machine?",
        )
    if "python" not in said:
        raise DeployError(f"{remote.destination} has no Python", "on the board: sudo apt install python3")
    free = said["free"].split()
    found = BoardState(
        directory=said["dir"],
        machine=said["machine"],
        writable="writable" in said,
        free_mb=int(free[3]) >> 10 if len(free) > 3 and free[3].isdecimal() else 0,
        python=said["python"],
        program=said.get("program", "python3"),
        bits=int(said["bits"]),
        venv=said["venv"] == "yes",
        libc=said["libc"].strip(),
        envs=tuple(value for name, value in lines if name == "env"),
    )
    _require_fit(remote.destination, found)
    return found


def _require_fit(destination: str, found: BoardState) -> None:
    if found.machine not in known_machines():
        raise DeployError(
            f"{destination} is {found.machine}; there are packages for {' and '.join(known_machines())}",
            "write the 64-bit Raspberry Pi OS to the card",
        )
    if found.bits != 64:
        raise DeployError(
            f"{destination} is a 32-bit system on a 64-bit kernel",
            "write the 64-bit Raspberry Pi OS to the card",
        )
    if tuple(map(int, found.python.split("."))) < OLDEST_PYTHON:
        raise DeployError(
            f"{destination} has Python {found.python}, 3.11 or newer is needed",
            "write Raspberry Pi OS bookworm or newer to the card",
        )
    if not found.venv:
        raise DeployError(
            f"{destination} has a Python that cannot make environments",
            "on the board: sudo apt install python3-venv",
        )
    if not found.libc.startswith("glibc"):
        raise DeployError(
            f"{destination} has no glibc, for which the packages are built",
            "use Raspberry Pi OS or another Debian",
        )
    if not found.writable:
        raise DeployError(f"{found.directory} on {destination} may not be written", "choose another --dir")
    if not found.envs and found.free_mb < UNPACKED_MB:
        raise DeployError(
            f"{destination} has {found.free_mb} MB free, some {UNPACKED_MB} MB are needed",
            "free some space there, or choose another --dir",
        )


def _kit(
    plan: DeployPlan, kit: Kit | None, bundle: Bundle, found: BoardState, report: Callable[[str], None]
) -> Kit | None:
    """The kit to send: the one that was chosen, or BUNDLE-kit; None in a dry run that would make one."""
    if kit is not None:
        if kit.board.machine != found.machine or found.python not in kit.board.pythons:
            pythons = " and ".join(kit.board.pythons)
            raise DeployError(
                f"--kit {plan.kit} is for Python {pythons} on {kit.board.machine}, the board has Python"
                f" {found.python} on {found.machine}",
                LEAVE_OUT,
            )
        if not kit.holds(bundle):
            raise DeployError(f"--kit {plan.kit} has not {plan.bundle} inside, as it is now", LEAVE_OUT)
        report(f"2/{STEPS} kit: {plan.kit}")
        return kit
    target = kit_folder(plan.bundle)
    require_replaceable(target)
    earlier = _earlier(target)
    with Supplies(_board(bundle, found)) as supplies:
        reused = earlier is not None and supplies.take(earlier)
        if earlier is not None and reused and earlier.holds(bundle):
            report(f"2/{STEPS} kit: {target}, made before")
            return earlier
        if plan.dry_run:
            wheels = "with the wheels of the one before" if reused else "with wheels from the package index"
            report(f"2/{STEPS} would make the kit {target}, {wheels}; nothing was changed")
            return None
        if not reused:
            supplies.fetch(report)
        kit = supplies.put(bundle, target)
    report(f"2/{STEPS} kit: {target}")
    return kit


def _earlier(target: Path) -> Kit | None:
    """The kit that is there, unless it is damaged: then it is made again."""
    try:
        return Kit.load(target)
    except DeployError:
        return None


def _board(bundle: Bundle, found: BoardState) -> WheelPlatform:
    """What the kit is to be for: this board, and any other one like it that the bundle is meant for."""
    target = bundle.manifest["target"]
    usual = [one.wheel_platform for one in known_boards() if one.name == target]
    pythons = {python for one in usual if one.machine == found.machine for python in one.pythons}
    return wheel_platform(found.machine, tuple(sorted({*pythons, found.python})))


def unneeded(kit: Kit, found: BoardState) -> Collection[str]:
    """Files of the kit that this board has no use for: another Python's wheels, or all of them."""
    lock = hashlib.sha256((kit.path / LOCK_FILE).read_bytes()).hexdigest()
    if f"{lock[:SHORT]}-py{found.python}" in found.envs:
        return [f"{WHEELHOUSE}/{path.name}" for path in (kit.path / WHEELHOUSE).iterdir()]
    needed = {package.file for package in kit.wheels(found.python)}
    return [f"{WHEELHOUSE}/{package.file}" for package in kit.packages if package.file not in needed]
