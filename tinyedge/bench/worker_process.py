"""Controls the worker's process: starts it, reads its events, stops it, and always ends it.

In: a Job and a StoppingRule. Out: a Measurement. A worker that crashes, hangs or sends invalid events is a
BenchError.
"""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from typing import IO

from tinyedge.bench.measurement import NS_PER_MS, NS_PER_S, Event, Measurement
from tinyedge.bench.stopping_rule import StoppingRule
from tinyedge.bench.worker import Job
from tinyedge.core.errors import (
    BenchError,
    BundleError,
    EngineError,
    TinyEdgeError,
    TokenizerError,
    UsageError,
)
from tinyedge.host import subprocess_env

START_SECONDS = 120.0  # imports on a Pi from a cold SD card take about 10 s, under emulation about 60 s
# The slowest allowed model takes about 0.05 s per token on a Pi; moving the context window costs a prefill.
TOKEN_SECONDS = 1.0
MAX_EVENT_BYTES = 1 << 20  # the longest event, with 1000 tokens, has about 12 kB
STDERR_TAIL_BYTES = 4096  # end of standard error, for the error message
WORKER_ERRORS: tuple[type[TinyEdgeError], ...] = (BundleError, EngineError, TokenizerError, UsageError)

AFTER_PHASE = {
    "bare": "while importing sentencepiece and the engine",
    "imports": "while loading the bundle",
    "session": "while reading the first prompt",
    "prefill": "while answering the first prompt",
    "decode": "while warming up",
}
SIGNAL_HINTS = {
    "SIGILL": "a wheel was built for a newer CPU, as onnxruntime 1.21.0 was: install another version of it",
    "SIGBUS": "the disk or the file system failed under a mapped file: check the SD card",
    "SIGKILL": "usually the kernel ran out of memory: see `dmesg | tail`, and stop other programs",
    "SIGSEGV": "a native library failed: install another version of onnxruntime",
}


def worker_command() -> list[str]:
    """Return the command of the worker. -P prevents imports from the current folder, such as its numpy.py."""
    return [sys.executable, "-P", "-m", "tinyedge.bench.worker"]


def measure(
    job: Job,
    stopping: StoppingRule,
    command: Sequence[str],
    max_silence_s: float | None = None,
    on_samples: Callable[[int], None] = lambda samples: None,
) -> Measurement:
    """Run the worker and validate its events.

    Args:
        job: The work.
        stopping: Decides when there are enough samples.
        command: Command of the worker.
        max_silence_s: Maximum time without an event, in seconds; None depends on the length of a response.
        on_samples: Called with the number of samples so far, about once per second.

    Raises:
        BenchError: The worker crashes, hangs or sends invalid events.
        TinyEdgeError: The worker reported an error, one of WORKER_ERRORS.
    """
    max_silence_s = max_silence_s or START_SECONDS + TOKEN_SECONDS * job.max_tokens
    events: list[Event] = []
    e2e_ms: list[float] = []
    first_sample_ns = 0
    with tempfile.TemporaryFile() as stderr:
        started_ns = time.perf_counter_ns()  # CLOCK_MONOTONIC: the worker reads the same clock
        worker = _start_worker(command, stderr)
        assert worker.stdin is not None  # both are pipes
        assert worker.stdout is not None
        try:
            with contextlib.suppress(BrokenPipeError):  # it crashed; its exit status shows why
                _write_all(worker.stdin, job.to_json().encode() + b"\n")
            for batch in _read_batches(worker.stdout, max_silence_s):
                for event in batch:
                    if event["event"] == "error":
                        raise _worker_error(event)
                    events.append(event)
                    if event["event"] == "warm_up":
                        first_sample_ns = time.perf_counter_ns()
                    elif event["event"] == "sample":
                        e2e_ms.append(_read_latency_ms(event))
                if e2e_ms:
                    on_samples(len(e2e_ms))
                    elapsed_s = (time.perf_counter_ns() - first_sample_ns) / NS_PER_S
                    if not worker.stdin.closed and stopping.is_satisfied(e2e_ms, elapsed_s):
                        worker.stdin.close()
            status = worker.wait(max_silence_s)
        except (TimeoutError, subprocess.TimeoutExpired):
            raise BenchError(
                f"the worker does not respond: no event for {max_silence_s:g} s {_describe_stage(events)}",
                "check the load and the free memory of the machine, then measure again",
            ) from None
        finally:
            worker.kill()
            worker.wait()
            worker.stdout.close()
            worker.stdin.close()
        if status != 0:
            raise _exit_error(status, events, stderr)
    return Measurement.from_events(job, events, started_ns, stopping.samples)


def _write_all(pipe: IO[bytes], data: bytes) -> None:
    """Write all data without a buffer: a buffer would try to write again when it is closed."""
    left = memoryview(data)
    while left:
        left = left[os.write(pipe.fileno(), left) :]


def _read_latency_ms(event: Event) -> float:
    """Return the duration of a sample, in ms. An invalid one is found when the run is validated."""
    end_ns = event.get("end_ns")
    return end_ns / NS_PER_MS if isinstance(end_ns, int) else 0.0


def _start_worker(command: Sequence[str], stderr: IO[bytes]) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            bufsize=0,
            env=subprocess_env.make_environment(),
            process_group=0,  # Ctrl-C reaches only this process, which then ends the worker
            preexec_fn=subprocess_env.die_with_parent,
        )
    except OSError as failure:
        raise BenchError(f"the worker {command[0]} cannot be started: {failure.strerror}") from None


def _read_batches(stdout: IO[bytes], max_silence_s: float) -> Iterator[list[Event]]:
    """Read events until the pipe closes. An incomplete last line is ignored.

    Yields:
        The events that arrived together.

    Raises:
        TimeoutError: No event arrived for `max_silence_s` seconds.
        BenchError: A line is not an event.
    """
    waiting = b""
    while select.select([stdout], [], [], max_silence_s)[0]:
        data = os.read(stdout.fileno(), 1 << 16)
        if not data:
            return
        *lines, waiting = (waiting + data).split(b"\n")
        if len(waiting) > MAX_EVENT_BYTES:
            raise _invalid_event_error(waiting)
        yield [_parse_event(line) for line in lines]
    raise TimeoutError


def _parse_event(line: bytes) -> Event:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        raise _invalid_event_error(line) from None
    if not isinstance(event, dict) or "event" not in event:
        raise _invalid_event_error(line)
    return event


def _invalid_event_error(line: bytes) -> BenchError:
    return BenchError(
        f"the worker sent an invalid event: {line[:60]!r}", "measure again; if it happens again, report a bug"
    )


def _worker_error(event: Event) -> TinyEdgeError:
    """Return the error that the worker reported; a BenchError if its type is unexpected here."""
    known = {error.__name__: error for error in WORKER_ERRORS}
    error = known.get(str(event.get("kind")), BenchError)
    return error(str(event.get("message")), str(event.get("hint", "")))


def _exit_error(status: int, events: Sequence[Event], stderr: IO[bytes]) -> BenchError:
    """Return why a worker ended with `status`; a negative one is a signal."""
    if status < 0:
        try:
            name = signal.Signals(-status).name
        except ValueError:
            name = f"signal {-status}"
        return BenchError(
            f"the worker was killed by {name} {_describe_stage(events)}", SIGNAL_HINTS.get(name, "")
        )
    stderr.seek(max(0, stderr.seek(0, os.SEEK_END) - STDERR_TAIL_BYTES))
    lines = stderr.read().decode("utf-8", "replace").strip().splitlines()
    last = lines[-1].strip() if lines else "it gave no reason"
    return BenchError(f"the worker failed {_describe_stage(events)}: {last}", "install tinyedge again")


def _describe_stage(events: Sequence[Event]) -> str:
    """Describe what the worker was doing after its last event."""
    if not events:
        return "before its first event"
    last = events[-1]
    return AFTER_PHASE.get(str(last.get("name")), "while measuring samples")
