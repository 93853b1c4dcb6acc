"""A program that is run in a group ends with this process, and so does what it has started."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tinyedge.host.process_group import delay_signals, run_in_group

# Runs a program that starts another one; both write their numbers to the file and then sleep.
DRIVER = """
import signal, sys
from tinyedge.cli import main
from tinyedge.host.process_group import run_in_group
for number in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, main._terminate)
signal.signal(signal.SIGINT, signal.default_int_handler)
run_in_group(["sh", "-c", 'sh -c "echo \\\\$\\\\$ >>{0}; exec sleep 60" & echo $$ >>{0}; wait'], {{}})
"""


def is_running(number: int) -> bool:
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def wait_until(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_an_interrupted_process_leaves_no_program_running(number: signal.Signals, tmp_path: Path) -> None:
    numbers = tmp_path / "numbers"
    numbers.touch()
    driver = subprocess.Popen([sys.executable, "-c", DRIVER.format(numbers)], stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: len(numbers.read_text().split()) == 2)
        driver.send_signal(number)
        assert driver.wait(60) != 0
    finally:
        driver.kill()
        driver.wait()
    started = list(map(int, numbers.read_text().split()))
    wait_until(lambda: not any(map(is_running, started)))
    assert len(started) == 2


@pytest.mark.skipif(sys.platform != "linux", reason="a function of Linux")
def test_a_killed_process_takes_the_program_with_it(tmp_path: Path) -> None:
    numbers = tmp_path / "numbers"
    numbers.touch()
    script = f"echo $$ >>{numbers}; exec sleep 60"
    code = f"from tinyedge.host.process_group import run_in_group as run\nrun(['sh', '-c', {script!r}], {{}})"
    driver = subprocess.Popen([sys.executable, "-c", code])
    wait_until(lambda: len(numbers.read_text().split()) == 1)
    driver.kill()
    driver.wait()
    wait_until(lambda: not is_running(int(numbers.read_text())))


def test_output_and_exit_code() -> None:
    done = run_in_group(["sh", "-c", "echo $A; printf 'e\\377' >&2; cat; exit 3"], {"A": "out"})
    assert (done.returncode, done.stdout, done.stderr) == (3, "out\n", "e�")


def test_a_program_that_does_not_exist() -> None:
    with pytest.raises(FileNotFoundError):
        run_in_group(["no-such-program"], {})


def test_a_signal_during_the_block_is_handled_after_it() -> None:
    done = []

    def run() -> None:
        with delay_signals():
            signal.raise_signal(signal.SIGINT)
            done.append("block")

    with pytest.raises(KeyboardInterrupt):
        run()
    assert done == ["block"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_ignored_signal_stays_ignored() -> None:
    """As nohup does; the program inherits it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with delay_signals():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert signal.getsignal(signal.SIGHUP) is before
