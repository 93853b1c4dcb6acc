"""Run a program under the process-wide hardening of a systemd unit, without systemd as init.

    python -m bench.deploy.sandbox UNIT -- PROGRAM ARGUMENTS...

Applies SystemCallFilter, SystemCallErrorNumber, SystemCallArchitectures, MemoryDenyWriteExecute,
RestrictNamespaces, RestrictRealtime, RestrictSUIDSGID, LockPersonality, RestrictAddressFamilies (all by
seccomp, as systemd does it), NoNewPrivileges, CapabilityBoundingSet=, UMask, LimitNOFILE. Settings of mounts,
devices and cgroups are not applied. Needs x86-64, libseccomp and systemd-analyze, and root for the
capabilities. A refused system call returns EPERM, as in the unit, so PROGRAM's own exit code is the result.
"""

import ctypes
import errno
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ALLOW, ERRNO = 0x7FFF0000, 0x00050000
EQUAL, MASKED_EQUAL, GREATER = 4, 7, 6  # enum scmp_compare; NOT_EQUAL is 1
PROT_WRITE, PROT_EXEC, SHM_EXEC = 2, 4, 0o100000
S_ISUID, S_ISGID = 0o4000, 0o2000
NAMESPACES = 0x7E020080  # CLONE_NEW*, without the bits that clone() uses for its signal
PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, LAST_CAP = 24, 38, 40


class Comparison(ctypes.Structure):
    """struct scmp_arg_cmp."""

    _fields_ = (
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("datum_a", ctypes.c_uint64),
        ("datum_b", ctypes.c_uint64),
    )


class Filter:
    """A seccomp filter."""

    def __init__(self, default: int) -> None:
        """Create a filter; `default` is the action for a system call without a rule."""
        self._library = ctypes.CDLL("libseccomp.so.2")
        self._library.seccomp_init.restype = ctypes.c_void_p
        self._context = ctypes.c_void_p(self._library.seccomp_init(default))

    def add(self, action: int, name: str, *comparisons: tuple[int, int, int, int]) -> None:
        """Add a rule for a system call; ignore a name that this machine does not know.

        Args:
            action: What happens to a matching call.
            name: Name of the system call.
            comparisons: Conditions, each with an argument's index, an operator and two numbers.
        """
        number = self._library.seccomp_syscall_resolve_name(name.encode())
        if number < 0:
            return
        array = (Comparison * max(len(comparisons), 1))(
            *(Comparison(*comparison) for comparison in comparisons)
        )
        code = self._library.seccomp_rule_add_array(self._context, action, number, len(comparisons), array)
        if code and -code != errno.EACCES:  # EACCES: the action equals the default
            raise OSError(-code, f"{os.strerror(-code)}: {name}")

    def load(self) -> None:
        """Apply the filter to this process and its children; it cannot be removed."""
        if code := self._library.seccomp_load(self._context):
            raise OSError(-code, os.strerror(-code))


def main() -> None:
    """Apply the settings, then replace this process by PROGRAM."""
    unit, dashes, *program = sys.argv[1:]
    assert dashes == "--", __doc__
    settings = read_settings(Path(unit))
    filters = list(make_filters(settings))
    limit = int(settings["LimitNOFILE"][-1])
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    os.umask(int(settings["UMask"][-1], 8))
    libc = ctypes.CDLL(None, use_errno=True)
    if "" in settings["CapabilityBoundingSet"]:
        for capability in range(LAST_CAP + 1):
            libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
    assert settings["NoNewPrivileges"] == ["yes"]
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    for seccomp_filter in filters:
        seccomp_filter.load()
    os.execvp(program[0], program)


def read_settings(unit: Path) -> dict[str, list[str]]:
    """Read the settings of [Service], each with all its values."""
    settings: dict[str, list[str]] = {}
    for line in unit.read_text().splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            settings.setdefault(name, []).append(value)
    return settings


def make_filters(settings: dict[str, list[str]]) -> Iterator[Filter]:
    """Make filters as systemd does: for rules about arguments, and one for the list of system calls."""
    refuse = ERRNO | getattr(errno, settings["SystemCallErrorNumber"][-1])
    eperm = ERRNO | errno.EPERM
    allowed: set[str] = set()
    denied: set[str] = set()
    for value in settings["SystemCallFilter"]:
        (denied if value.startswith("~") else allowed).update(expand_sets(value.removeprefix("~").split()))
    listed = Filter(refuse)
    for name in sorted((allowed | expand_sets(["@default"])) - denied):
        listed.add(ALLOW, name)
    assert settings["MemoryDenyWriteExecute"] == ["yes"]
    memory = Filter(ALLOW)
    both = PROT_WRITE | PROT_EXEC
    memory.add(eperm, "mmap", (2, MASKED_EQUAL, both, both))
    for name in ("mprotect", "pkey_mprotect"):
        memory.add(eperm, name, (2, MASKED_EQUAL, PROT_EXEC, PROT_EXEC))
    memory.add(eperm, "shmat", (2, MASKED_EQUAL, SHM_EXEC, SHM_EXEC))
    yield memory
    assert settings["RestrictNamespaces"] == ["yes"]
    rest = Filter(ALLOW)
    for bit in (1 << n for n in range(32) if NAMESPACES >> n & 1):
        rest.add(eperm, "unshare", (0, MASKED_EQUAL, bit, bit))
        rest.add(eperm, "clone", (0, MASKED_EQUAL, bit, bit))
    rest.add(ERRNO | errno.ENOSYS, "clone3")
    rest.add(eperm, "setns")
    assert settings["LockPersonality"] == ["yes"]
    rest.add(eperm, "personality", (0, 1, 0, 0))
    assert settings["RestrictRealtime"] == ["yes"]
    rest.add(eperm, "sched_setscheduler", (1, GREATER, 0, 0))
    assert settings["RestrictSUIDSGID"] == ["yes"]
    for bit in (S_ISUID, S_ISGID):
        for name, argument in (("chmod", 1), ("fchmod", 1), ("fchmodat", 2), ("mkdir", 1), ("mkdirat", 2)):
            rest.add(eperm, name, (argument, MASKED_EQUAL, bit, bit))
    families = {getattr(socket, name) for name in settings["RestrictAddressFamilies"][-1].split()}
    for family in set(range(64)) - families:
        rest.add(ERRNO | errno.EAFNOSUPPORT, "socket", (0, EQUAL, family, 0))
    yield rest
    yield listed  # the last one, because it may refuse the system call that loads the others


def expand_sets(names: list[str]) -> set[str]:
    """Replace systemd's sets of system calls, such as @default, by their members."""
    found: set[str] = set()
    for name in names:
        if not name.startswith("@"):
            found.add(name)
            continue
        shown = subprocess.run(
            ["systemd-analyze", "syscall-filter", "--no-pager", name],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        lines = [line.strip() for line in shown.splitlines()[1:]]
        found |= expand_sets([line for line in lines if line and not line.startswith("#")])
    return found


if __name__ == "__main__":
    main()
