"""Facts of a board, and whether tinyedge can be installed there. Changes nothing on the board.

In: a Remote. Out: a BoardState of a suitable board, or a DeployError. Knows of kits only their file names.
"""

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass

from tinyedge.boards.load import known_machines
from tinyedge.core.errors import DeployError
from tinyedge.deploy.kit import OWN_FILES
from tinyedge.deploy.ssh import Remote
from tinyedge.deploy.ssh_errors import DEAD_CARD, show_answer

MB = 1 << 20
OLDEST_PYTHON = (3, 11)
UNPACKED_MB = 230  # approximate size of an environment; `require_space` computes the one of a kit
# pip's peak while it installs the kit's wheels is 86 MB (x86-64, pip 26): memory and swap together.
PIP_MB = 100
# There pip writes 0.3 MB of certificates and four empty folders.
TEMPORARY_MB, TEMPORARY_INODES = 4, 16
CLOCK_SECONDS = 86_400  # a larger difference is reported
NO_EXEC = 8  # ST_NOEXEC, a flag of a Linux file system
READ_ONLY = 1  # ST_RDONLY
FORBIDDEN_IN_FOLDER = frozenset("'\"\\`$")  # pip's scripts contain their folder in quotes
UNIT_FOLDER = re.compile(r"[A-Za-z0-9/._-]+")  # what a systemd unit can contain

# Prints facts as `name=value`. `python` is the first interpreter that is new enough, else the first found.
INSPECT_SCRIPT = r"""
case $1 in /*) dir=$1 ;; *) dir=$HOME/$1 ;; esac
at=$dir
while [ ! -d "$at" ]; do at=$(dirname -- "$at"); done
printf 'dir=%s\nat=%s\nmachine=%s\n' "$dir" "$at" "$(uname -m)"
printf 'uid=%s\ntime=%s\n' "$(id -u)" "$(date +%s)"
[ ! -w "$at" ] || echo writable=yes
printf 'free=%s\n' "$(df -Pk -- "$at" | sed -n 2p)"
sed -n 's/^MemAvailable: */available=/p; s/^SwapFree: */swap=/p' /proc/meminfo 2>/dev/null
kit=$dir/kit
if [ -L "$kit" ]; then echo kit=link
elif [ -d "$kit" ] && (cd -- "$kit" && find . ! -name . | LC_ALL=C grep -Evqx "\./$3"); then echo kit=foreign
elif [ ! -e "$kit" ] || [ -e "$dir/.tinyedge-kit" ] || [ -z "$(ls -A -- "$kit")" ] ||
  grep -q '"tinyedge\.kit/' "$kit/kit.json" 2>/dev/null; then echo kit=own
else echo kit=foreign; fi
for env in "$dir"/envs/*/complete; do
  [ ! -e "$env" ] || printf 'env=%s\n' "$(basename -- "$(dirname -- "$env")")"
done
if [ -n "$2" ]; then
  ! command -v systemctl >/dev/null || echo systemd=yes
  ! sudo -n true 2>/dev/null || echo sudo=yes
fi
for name in python3 python3.14 python3.13 python3.12 python3.11; do
  found=$("$name" -I -c '
import os, platform, struct, sys
try:
    import venv
except ImportError:
    venv = None
print("python=%d.%d" % sys.version_info[:2])
print("bits=%d" % (8 * struct.calcsize("P")))
print("venv=%s" % ("yes" if venv else "no"))
print("libc=%s" % " ".join(platform.libc_ver()))
def describe(name, path):
    try:
        s = os.statvfs(path)
        print("%s=%d %d %d %d" % (name, s.f_bavail * s.f_frsize, s.f_favail, s.f_files, s.f_flag))
    except OSError:
        pass
describe("disk", sys.argv[1])
import tempfile
try:
    folder = tempfile.gettempdir()
except OSError:
    print("temporary=none")
else:
    print("temporary=" + folder)
    describe("temporary_disk", folder)
sys.exit(sys.version_info < (3, 11))
' "$at" 2>/dev/null) && { printf '%s\nprogram=%s\n' "$found" "$name"; exit 0; }
  [ -z "$found" ] || [ -n "${first-}" ] || first=$found
done
printf '%s\n' "${first-}"
"""
# What a valid value of each fact looks like; anything else is a line of some other program.
NUMBERS = r"\d{1,18}(?: \d{1,18}){3}"
FACTS = {
    **dict.fromkeys(("dir", "at", "temporary"), r"/[^\0-\x1f\x7f]*"),
    **dict.fromkeys(("uid", "time"), r"\d{1,18}"),
    **dict.fromkeys(("available", "swap"), r"\d{1,15} kB"),
    **dict.fromkeys(("writable", "systemd", "sudo"), "yes"),
    **dict.fromkeys(("disk", "temporary_disk"), NUMBERS),
    "machine": r"[\w.-]{1,32}",
    "free": r"[^\0-\x1f\x7f]*",
    "kit": "own|foreign|link",
    "env": r"[\w.-]{1,64}",
    "python": r"\d{1,3}\.\d{1,3}",
    "bits": "32|64",
    "venv": "yes|no",
    "libc": r"[\w. -]{0,64}",
    "program": r"python[\d.]+",
}


@dataclass(frozen=True)
class FileSystem:
    """A file system of the board."""

    free: int
    """Bytes that are free for this user."""
    free_inodes: int | None
    """Files that can still be created; None if there is no limit."""
    is_noexec: bool
    """Whether programs there cannot be run."""
    is_read_only: bool
    """Whether it is mounted read-only."""

    @classmethod
    def parse(cls, text: str) -> "FileSystem":
        """Parse what INSPECT_SCRIPT prints: free bytes, free inodes, inodes, flags."""
        free, free_inodes, inodes, flags = map(int, text.split())
        return cls(free, free_inodes if inodes else None, bool(flags & NO_EXEC), bool(flags & READ_ONLY))


@dataclass(frozen=True)
class BoardState:
    """Facts of a board that decide whether tinyedge can be installed there."""

    directory: str
    """Absolute path of the folder to install to."""
    existing: str
    """That folder, or the nearest folder above it that exists."""
    machine: str
    """Architecture as `uname -m` prints it."""
    writable: bool
    """Whether the existing folder is writable."""
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
    envs: tuple[str, ...] = ()
    """Names of the complete environments that are installed in the folder."""
    disk: FileSystem | None = None
    """File system of the existing folder; None if unknown."""
    temporary: str | None = None
    """Folder for temporary files; None if there is none that is writable."""
    temporary_disk: FileSystem | None = None
    """File system of that folder; None if unknown."""
    free_memory_mb: int | None = None
    """Memory and swap that programs can still get; None if unknown."""
    kit: str = "own"
    """What the folder's `kit` is: "own" (or nothing), "foreign", or a "link"."""
    is_root: bool = False
    """Whether the user is root."""
    has_systemd: bool = False
    """Whether systemd runs services; only known if a service is requested."""
    has_sudo: bool = False
    """Whether sudo works without a password; only known if a service is requested."""
    clock_error_s: float = 0.0
    """Seconds by which the board's clock is ahead of this machine's."""


def inspect_board(remote: Remote, directory: str, service: bool = False) -> BoardState:
    """Collect the facts of a board.

    Args:
        remote: Connection to the board.
        directory: Folder to install to; a relative path starts at the user's home.
        service: Whether the systemd service is to be installed.

    Raises:
        DeployError: tinyedge cannot run on the board.
    """
    result = remote.run(INSPECT_SCRIPT, directory, "yes" if service else "", OWN_FILES)
    facts, envs = parse_facts(result.output.splitlines())
    if not {"dir", "at", "machine"} <= set(facts):
        raise DeployError(
            f"{remote.destination} gave an unexpected answer: {show_answer(result.output + result.errors)}",
            "is it a Linux machine?",
        )
    if not {"python", "bits", "venv", "libc"} <= set(facts):
        raise DeployError(f"{remote.destination} has no Python", "on the board: sudo apt install python3")
    free = facts.get("free", "").split()
    disks = {name: FileSystem.parse(facts[name]) for name in ("disk", "temporary_disk") if name in facts}
    board = BoardState(
        directory=facts["dir"],
        existing=facts["at"],
        machine=facts["machine"],
        writable="writable" in facts,
        free_mb=_read_free_mb(free, disks.get("disk")),
        python=facts["python"],
        program=facts.get("program", "python3"),
        bits=int(facts["bits"]),
        venv=facts["venv"] == "yes",
        libc=facts["libc"].strip(),
        envs=envs,
        disk=disks.get("disk"),
        temporary=facts.get("temporary"),
        temporary_disk=disks.get("temporary_disk"),
        free_memory_mb=_add_memory(facts),
        kit=facts.get("kit", "own"),
        is_root=facts.get("uid") == "0",
        has_systemd="systemd" in facts,
        has_sudo="sudo" in facts,
        clock_error_s=int(facts["time"]) - time.time() if "time" in facts else 0.0,
    )
    require_suitable(remote.destination, board)
    if service:
        require_service(remote.destination, board)
    return board


def parse_facts(lines: Iterable[str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Parse the lines that INSPECT_SCRIPT prints.

    Args:
        lines: The lines; those that are no facts are ignored, and so is all but the first value of a fact.

    Returns:
        The facts by name, and the environments.
    """
    facts: dict[str, str] = {}
    envs = []
    for line in lines:
        name, _, value = line.rstrip("\r").partition("=")
        if name not in FACTS or not re.fullmatch(FACTS[name], value):
            continue
        if name == "env":
            envs.append(value)
        facts.setdefault(name, value)
    return facts, tuple(envs)


def require_suitable(destination: str, board: BoardState) -> None:
    """Raise DeployError if tinyedge cannot run on the board, or does not fit on its disk."""
    where = f"{board.directory} on {destination}"
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
    if board.disk is not None and board.disk.is_read_only:
        raise DeployError(f"{where} is on a read-only file system", f"{DEAD_CARD}; or choose another --dir")
    if not board.writable:
        raise DeployError(f"{where} is not writable", "choose another --dir")
    if board.disk is not None and board.disk.is_noexec:
        raise DeployError(
            f"{where} is on a file system mounted with noexec, where no program can run",
            f"choose a --dir elsewhere; or on the board: sudo mount -o remount,exec {_show_mount(board)}",
        )
    if board.kit != "own":
        kind = "is a symbolic link" if board.kit == "link" else "has files that were not made by tinyedge"
        raise DeployError(
            f"{board.directory}/kit on {destination} {kind}", "move it, or choose another --dir"
        )
    if set(board.directory) & FORBIDDEN_IN_FOLDER:
        raise DeployError(f"{where} has quotes, \\ or $ in its name", "choose another --dir")
    if not board.envs:
        if board.free_mb < UNPACKED_MB:
            raise DeployError(
                f"{destination} has {board.free_mb} MB free; about {UNPACKED_MB} MB are required",
                "free some space there, or choose another --dir",
            )
        require_room_for_pip(destination, board)


def require_room_for_pip(destination: str, board: BoardState) -> None:
    """Raise DeployError if pip has too little memory or no room for its temporary files."""
    if board.free_memory_mb is not None and board.free_memory_mb < PIP_MB:
        raise DeployError(
            f"{destination} has {board.free_memory_mb} MB of memory free, with swap; pip needs {PIP_MB} MB",
            "stop other programs there, or add swap",
        )
    if board.disk is not None and board.temporary is None:
        raise DeployError(
            f"{destination} has no folder for temporary files that is writable", "check /tmp on the board"
        )
    disk = board.temporary_disk
    if disk is None:
        return
    if disk.free < TEMPORARY_MB * MB:
        raise DeployError(
            f"{destination} has {disk.free // MB} MB free in {board.temporary}; pip needs {TEMPORARY_MB} MB",
            f"free some space in {board.temporary} on the board",
        )
    if disk.free_inodes is not None and disk.free_inodes < TEMPORARY_INODES:
        raise DeployError(
            f"{destination} has no inodes free in {board.temporary}, so no file can be created there",
            f"remove files in {board.temporary} on the board",
        )


def require_service(destination: str, board: BoardState) -> None:
    """Raise DeployError if the systemd service cannot be installed: before anything is copied."""
    if board.is_root:
        raise DeployError(
            f"--service runs as the user who installs it, and {destination} is root",
            "log in as an ordinary user who may use sudo",
        )
    if not UNIT_FOLDER.fullmatch(board.directory):
        raise DeployError(
            f"{board.directory} on {destination} has characters that a systemd unit cannot contain",
            "choose another --dir, or omit --service",
        )
    if not board.has_systemd:
        raise DeployError(f"--service needs systemd, which {destination} does not have", "omit --service")
    if not board.has_sudo:
        raise DeployError(
            f"--service needs sudo, and sudo on {destination} asks for a password or is not allowed",
            "omit --service, then on the board: sh "
            f"{board.directory}/kit/install.sh --dir {board.directory} --service",
        )


def require_space(destination: str, board: BoardState, size: int, files: int) -> None:
    """Raise DeployError if the board has too little space or too few inodes.

    Args:
        destination: user@host, for the error.
        board: The board.
        size: Bytes that the deployment adds.
        files: Files and folders that it adds.
    """
    needed_mb = -(-size // MB)
    if board.free_mb < needed_mb:
        raise DeployError(
            f"{destination} has {board.free_mb:,} MB free in {board.existing}; {needed_mb:,} MB are required",
            "free some space there, or choose another --dir",
        )
    inodes = board.disk.free_inodes if board.disk else None
    if inodes is not None and inodes < files:
        raise DeployError(
            f"{destination} has {inodes:,} inodes free in {board.existing}; {files:,} are required,"
            " one for each file",
            "remove files there (see df -i), or choose another --dir",
        )


def describe_clock_error(board: BoardState) -> str:
    """Describe a clock that is far off; empty if it is not."""
    if abs(board.clock_error_s) < CLOCK_SECONDS:
        return ""
    days = round(abs(board.clock_error_s) / 86_400)
    direction = "ahead of" if board.clock_error_s > 0 else "behind"
    unit = "day" if days == 1 else "days"
    return (
        f"note: the board's clock is {days:,} {unit} {direction} this machine's; "
        "on the board: sudo timedatectl set-ntp true"
    )


def _read_free_mb(row: list[str], disk: FileSystem | None) -> int:
    """Return the free space in a row of `df -Pk`, or else of the file system."""
    if len(row) > 3 and row[3].isdecimal():
        return int(row[3]) >> 10
    return disk.free // MB if disk else 0


def _show_mount(board: BoardState) -> str:
    return f"$(findmnt -no TARGET -T {board.existing})"


def _add_memory(facts: dict[str, str]) -> int | None:
    if "available" not in facts:
        return None
    return sum(int(facts[name].split()[0]) for name in ("available", "swap") if name in facts) >> 10
