"""A command that fails or is killed at one of its calls to the operating system, in a process of its own."""

import errno
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any

CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate"}
MAX_CALLS = 1000
COMPLETED, FAILED, SURVIVED = 0, 3, 4  # exit codes; SURVIVED: the call failed, the action succeeded


def iterate_crashes(make_action: Callable[[], Callable[[], object]], how: str) -> Iterator[int]:
    """Run an action once for each call that changes the file system, and let it crash there.

    The action runs in a forked process, so that a kill runs no cleanup code.

    Args:
        make_action: Prepares a fresh place and returns the action that works in it.
        how: "kill" sends SIGKILL before the call; "fail" raises ENOSPC from it, "fail forever" also from all
            later ones.

    Yields:
        The number of the call, from 1, after the crash. The last run, which completes, is not yielded.
    """
    for number in range(1, MAX_CALLS):
        action = make_action()
        sys.stdout.flush()
        child = os.fork()
        if not child:
            _run(action, number, how)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status == COMPLETED:
            assert number > 1, "the action changed nothing"
            return
        assert status in ((-signal.SIGKILL,) if how == "kill" else (FAILED, SURVIVED)), f"call {number}"
        yield number
    raise AssertionError(f"more than {MAX_CALLS} calls")


def _run(action: Callable[[], object], number: int, how: str) -> None:
    """Run the action in the child process and end it."""
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)  # the threads of the parent do not exist here; MKL crashes without them
    crash = _Crash(number, how)
    try:
        crash.install()
        action()
    except BaseException:
        traceback.print_exc()  # pytest shows it if the test fails
        os._exit(FAILED)
    os._exit(SURVIVED if crash.is_reached else COMPLETED)


class _Crash:
    """Counts the calls that change the file system, by Python's audit events and `os.fsync`."""

    def __init__(self, number: int, how: str) -> None:
        self._left = number
        self._how = how
        self._fsync = os.fsync

    def install(self) -> None:
        sys.addaudithook(self._on_event)
        os.fsync = self._on_fsync  # type: ignore[assignment] # has no audit event

    @property
    def is_reached(self) -> bool:
        """Whether the call has been made."""
        return self._left <= 0

    def _on_event(self, event: str, arguments: tuple[Any, ...]) -> None:
        is_write = event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_ACCMODE
        if event in CHANGES or (is_write and not str(arguments[0]).startswith("/dev/")):
            self._count()

    def _on_fsync(self, descriptor: int) -> None:
        self._count()
        self._fsync(descriptor)

    def _count(self) -> None:
        self._left -= 1
        if self._left == 0 and self._how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self._left == 0 or (self._left < 0 and self._how == "fail forever"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "a full disk")
