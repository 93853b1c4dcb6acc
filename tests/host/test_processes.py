"""Whether a process exists."""

import os
import subprocess

import psutil
import pytest

from tinyedge.host.processes import is_running


@pytest.mark.parametrize("pid", [os.getpid(), os.getppid()])
def test_a_running_process(pid: int) -> None:
    assert is_running(pid)


def test_a_process_that_has_ended() -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    assert not is_running(ended.pid)


@pytest.mark.parametrize("pid", [2**40, 10**30])
def test_a_number_that_is_too_large_for_a_process(pid: int) -> None:
    assert not is_running(pid)


def test_a_process_that_the_system_does_not_tell_about_counts_as_running(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(pid: int) -> bool:
        raise psutil.AccessDenied(pid)

    monkeypatch.setattr(psutil, "pid_exists", fail)
    assert is_running(1)
