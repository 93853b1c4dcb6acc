"""Runs the worker and makes a report of what it said.

In: a Job and Limits. Out: a Report. A worker that dies, hangs or talks nonsense is a BenchError, and it never
outlives this function, whatever ends it.
"""

import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

import tinyedge
from tinyedge.bench import machine
from tinyedge.bench.gate import Limits
from tinyedge.bench.measurement import Event, Measurement
from tinyedge.bench.report import Report
from tinyedge.bench.worker import Job
from tinyedge.errors import BenchError, BundleError, TinyEdgeError, TokenizerError, UsageError

START_SECONDS = 120.0  # imports on a Pi from a cold SD card take some 10 s, under emulation some 60 s
TOKEN_SECONDS = 1.0  # the slowest allowed model takes some 0.05 s on a Pi, and slides cost a prefill
MAX_EVENT_BYTES = 1 << 20  # the longest event, 1000 tokens, has some 12 kB
LAST_WORDS_BYTES = 4096  # of standard error, to quote from
WORKER_ERRORS: tuple[type[TinyEdgeError], ...] = (BundleError, TokenizerError, UsageError)

AFTER_PHASE = {
    "start": "while importing numpy, onnxruntime and sentencepiece",
    "imports": "while loading the bundle",
    "session": "while answering the first prompt",
    "prefill": "while warming up or taking the first samples",
}
PR_SET_PDEATHSIG = 1  # linux/prctl.h
SIGNAL_HINTS = {
    "SIGILL": "a wheel was built for a newer CPU, as onnxruntime 1.21.0 was: install another version of it",
    "SIGBUS": "the disk or the file system failed under a mapped file: check the SD card",
    "SIGKILL": "usually the kernel ran out of memory: see `dmesg | tail`, and stop other programs",
    "SIGSEGV": "a native library failed: install another version of onnxruntime",
}

Progress = Callable[[int], None]


def run(
    job: Job,
    limits: Limits,
    *,
    command: Sequence[str] | None = None,
    silence_s: float | None = None,
    progress: Progress = lambda samples: None,
) -> Report:
    """Measures `job` in a fresh process and judges it by `limits`.

    command: the worker's, instead of the real one. silence_s: how long the worker may say nothing.
    progress: told the number of samples so far, in a burst about once a second.

    Raises BenchError when there is no whole measurement, and what the worker itself raised: BundleError,
    TokenizerError, UsageError.
    """
    throttled_before = machine.read_throttled()
    measurement = measure(
        job,
        command or worker_command(job),
        silence_s or START_SECONDS + TOKEN_SECONDS * job.max_tokens,
        progress,
    )
    throttled_after = machine.read_throttled()
    throttled = machine.began_to_throttle(throttled_before, throttled_after)
    return Report.of(measurement, limits, machine.describe(), throttled=throttled)


def worker_command(job: Job) -> list[str]:
    """The real worker. -P keeps the current folder, and any numpy.py in it, out of its imports."""
    return [sys.executable, "-P", "-m", "tinyedge.bench.worker", job.to_json()]


def require_writable(path: Path) -> None:
    """Raises UsageError unless a report can be written to `path`: before the measurement, not after."""
    try:
        if path.exists() and not path.is_file():
            raise UsageError(f"--json {path} is not a regular file", "name a new file, or one to replace")
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as failure:
        raise UsageError(
            f"--json {path} cannot be written: {failure.strerror}", "name a file in a folder you may write to"
        ) from None


def measure(job: Job, command: Sequence[str], silence_s: float, progress: Progress) -> Measurement:
    """Starts `command`, hears it out and checks what it said."""
    events: list[Event] = []
    samples = 0
    with tempfile.TemporaryFile() as stderr:
        started_ns = time.perf_counter_ns()  # CLOCK_MONOTONIC: the worker reads the same clock
        worker = _start(command, stderr)
        assert worker.stdout is not None  # it is a pipe
        try:
            for event in _events(worker.stdout, silence_s):
                if event["event"] == "error":
                    raise _reported(event)
                events.append(event)
                if event["event"] == "sample":
                    samples += 1
                    progress(samples)
            status = worker.wait(silence_s)
        except (TimeoutError, subprocess.TimeoutExpired):
            raise BenchError(
                f"the worker hangs: no sign of life for {silence_s:g} s {_where(events)}",
                "look at the machine's load and free memory, then measure again",
            ) from None
        finally:
            worker.kill()
            worker.wait()
            worker.stdout.close()
        if status != 0:
            raise _death(status, events, stderr)
    return Measurement.of(job, events, started_ns)


def _start(command: Sequence[str], stderr: IO[bytes]) -> subprocess.Popen[bytes]:
    # The worker is to find this very tinyedge, installed or not.
    package_root = str(Path(tinyedge.__file__).parent.parent)
    paths = [package_root, *filter(None, [os.environ.get("PYTHONPATH")])]
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            process_group=0,  # Ctrl-C reaches this process alone, which then ends the worker
            preexec_fn=_die_with_parent,
        )
    except OSError as failure:
        raise BenchError(f"the worker {command[0]} does not start: {failure.strerror}") from None


def _die_with_parent() -> None:
    """In the worker, before it starts: a parent that is killed outright takes it along. Linux only."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _events(stdout: IO[bytes], silence_s: float) -> Iterator[Event]:
    """Events as they come, until the pipe closes; a last line without its end is dropped.

    Raises TimeoutError after a silence, BenchError where a line is no event.
    """
    waiting = b""
    while select.select([stdout], [], [], silence_s)[0]:
        data = os.read(stdout.fileno(), 1 << 16)
        if not data:
            return
        *lines, waiting = (waiting + data).split(b"\n")
        if len(waiting) > MAX_EVENT_BYTES:
            raise _garbage(waiting)
        for line in lines:
            yield _parsed(line)
    raise TimeoutError


def _parsed(line: bytes) -> Event:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        raise _garbage(line) from None
    if not isinstance(event, dict) or "event" not in event:
        raise _garbage(line)
    return event


def _garbage(line: bytes) -> BenchError:
    return BenchError(
        f"the worker said what is no event: {line[:60]!r}", "measure again; if it stays so, report it"
    )


def _reported(event: Event) -> TinyEdgeError:
    """What the worker raised, as it raised it; as a BenchError where only that makes sense here."""
    known = {error.__name__: error for error in WORKER_ERRORS}
    error = known.get(str(event.get("kind")), BenchError)
    return error(str(event.get("message")), str(event.get("hint", "")))


def _death(status: int, events: Sequence[Event], stderr: IO[bytes]) -> BenchError:
    """Why a worker ended with `status`, as far as can be told: a negative one is a signal."""
    if status < 0:
        try:
            name = signal.Signals(-status).name
        except ValueError:
            name = f"signal {-status}"
        return BenchError(f"the worker was killed by {name} {_where(events)}", SIGNAL_HINTS.get(name, ""))
    stderr.seek(max(0, stderr.seek(0, os.SEEK_END) - LAST_WORDS_BYTES))
    lines = stderr.read().decode("utf-8", "replace").strip().splitlines()
    last = lines[-1].strip() if lines else "it gave no reason"
    return BenchError(f"the worker failed {_where(events)}: {last}", "install tinyedge again")


def _where(events: Sequence[Event]) -> str:
    """What the worker was doing after its last event."""
    if not events:
        return "before it began"
    last = events[-1]
    return AFTER_PHASE.get(str(last.get("name")), "among the samples")
