"""Whole cold starts: `tinyedge generate` of one token, from its start to its end, as a user waits for it.

In: a bundle. Out: seconds. Cold is the process: its files may be in the kernel's memory from the run before.
"""

import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tinyedge.core.errors import BenchError, UsageError
from tinyedge.host import subprocess_env

START_PROMPT = "Once upon a time"
MAX_STARTS = 1000
TIMEOUT_S = 120.0  # for one; a Pi takes a few, an emulated one some 60


def check_start_count(starts: int) -> None:
    """Raises UsageError for a number that makes no sense."""
    if not 0 <= starts <= MAX_STARTS:
        raise UsageError(f"--cold {starts} is outside 0-{MAX_STARTS}")


def build_cold_start_command(bundle: Path, threads: int) -> list[str]:
    """What is started."""
    return [
        *(sys.executable, "-P", "-m", "tinyedge", "generate", str(bundle), "--prompt", START_PROMPT),
        *("--max-tokens", "1", "--seed", "1", "--threads", str(threads)),
    ]


def compute_waited_share(starts: Sequence[tuple[float, float]]) -> float:
    """Of starts (seconds, of them on a processor), the median share that went by without one."""
    return statistics.median(max(0.0, 1 - busy / seconds) for seconds, busy in starts)


def measure_starts(command: list[str], starts: int) -> tuple[tuple[float, float], ...]:
    """Seconds of each start, and of them on a processor. Raises BenchError where one fails."""
    return tuple(_measure_start(command) for _ in range(starts))


def _measure_start(command: list[str]) -> tuple[float, float]:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT_S,
            env=subprocess_env.make_environment(),
            preexec_fn=subprocess_env.die_with_parent,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as failure:
        raise BenchError(f"a cold start failed: {failure}", "see whether `tinyedge generate` works") from None
    seconds = time.perf_counter() - began
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["it gave no reason"]
        raise BenchError(f"a cold start failed: {said[0]}", "see whether `tinyedge generate` works")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
