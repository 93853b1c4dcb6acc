"""A child process that does not outlive this one, with all processes that it starts.

In: a command. Out: what it printed and its exit code. Knows no particular program.
"""

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from types import FrameType

from tinyedge.host.subprocess_env import die_with_parent

ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run_in_group(
    command: Sequence[str], environment: Mapping[str, str]
) -> "subprocess.CompletedProcess[str]":
    """Run a program in a process group of its own and wait for its end.

    An exception in this process, such as that of Ctrl-C or of SIGTERM, kills the group.
    `subprocess.run` kills only the program, not what it has started.

    Args:
        command: The program and its arguments.
        environment: Its environment.

    Raises:
        OSError: The program cannot be started.
    """
    child: subprocess.Popen[str] | None = None
    try:
        with delay_signals():
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                env=environment,
                process_group=0,
                preexec_fn=die_with_parent,  # a signal that cannot be handled ends at least the program
            )
        output, errors = child.communicate()
    except BaseException:
        if child is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            with child:  # closes its pipes and waits for it
                pass
        raise
    return subprocess.CompletedProcess(command, child.returncode, output, errors)


@contextlib.contextmanager
def delay_signals() -> Iterator[None]:
    """Handle signals that end this process only after the `with` block.

    Python handles signals between any two instructions, also after a program was started and before its
    number is stored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are handled in the main thread
        return
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        received.append(number)

    # An ignored signal stays ignored, here and in the program.
    handled = [number for number in ENDING_SIGNALS if signal.getsignal(number) not in (signal.SIG_IGN, None)]
    previous = {number: signal.signal(number, note) for number in handled}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        for noted in received:
            signal.raise_signal(noted)
