"""Duration of cold starts: `tinyedge generate` with one token, from its start to its exit.

In: a command. Out: seconds. The process is new each time, but its files may be in the page cache of the
kernel.
"""

import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tinyedge.core.errors import BenchError
from tinyedge.core.settings import require_range
from tinyedge.host import subprocess_env

START_PROMPT = "Once upon a time"
MAX_STARTS = 1000
TIMEOUT_S = 120.0  # for one start; a Pi takes a few seconds, an emulated one about 60


def check_start_count(starts: int) -> None:
    """Raise UsageError unless the number of starts is in its range."""
    require_range("cold", starts, 0, MAX_STARTS, whole=True)


def build_cold_start_command(bundle: Path, threads: int) -> list[str]:
    """Return the command that is measured."""
    return [
        *(sys.executable, "-P", "-m", "tinyedge", "generate", str(bundle), "--prompt", START_PROMPT),
        *("--max-tokens", "1", "--seed", "1", "--threads", str(threads)),
    ]


def compute_waited_share(starts: Sequence[tuple[float, float]]) -> float:
    """Return the median share of a start's duration in which it did not run on a processor.

    Args:
        starts: For each start, its duration and its CPU time, both in seconds.
    """
    return statistics.median(max(0.0, 1 - busy / seconds) for seconds, busy in starts)


def measure_starts(command: list[str], starts: int) -> tuple[tuple[float, float], ...]:
    """Measure the starts of a command.

    Args:
        command: The command to run.
        starts: Number of starts.

    Returns:
        For each start, its duration and its CPU time, both in seconds.

    Raises:
        BenchError: A start fails or exceeds the timeout.
    """
    return tuple(_measure_start(command) for _ in range(starts))


def _measure_start(command: list[str]) -> tuple[float, float]:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    try:
        result = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT_S,
            env=subprocess_env.make_environment(),
            preexec_fn=subprocess_env.die_with_parent,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as failure:
        raise BenchError(f"a cold start failed: {failure}", "check that `tinyedge generate` works") from None
    seconds = time.perf_counter() - started
    # A process that ignores SIGCHLD gets 0 for a start that failed, but no text.
    if result.returncode != 0 or not result.stdout:
        errors = result.stderr.decode("utf-8", "replace").strip().splitlines() or ["it gave no reason"]
        raise BenchError(f"a cold start failed: {errors[0]}", "check that `tinyedge generate` works")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
