"""The measured process, `python -m tinyedge.bench.worker`: answers prompts and reports times and memory.

In: a Job, one line of JSON on standard input. When standard input is closed, the worker stops.
Out: events, one line of JSON each, on the original standard output, for `tinyedge.bench.worker_process`.
It imports only what an answer needs, because the report presents its memory as that of an answering process.
It leaves the garbage collector, the allocator and the scheduler at the user's settings. Does not know
statistics.

Events, in this order:
phase    name bare | imports | session | prefill | decode, memory, and results of the phase
warm_up  rounds_ns (duration of each round of all prompts), settled (the rounds no longer became faster)
sample   prompt, tokens_ns (time from the request to each token), end_ns, memory
end      memory, lasted_ns, waited_ns (part of it ready to run while the core ran another program; may be
null), ngrams (size of the bundle's table of n-grams and how much of it was read, in bytes; null without)
error    kind, message, hint; replaces all following events
"""

import contextlib
import dataclasses
import json
import os
import select
import sys
import time
from array import array
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from tinyedge.bench.prompts import BILINGUAL, PromptSet
from tinyedge.core.errors import BenchError, TinyEdgeError, UsageError
from tinyedge.core.settings import check_settings, setting
from tinyedge.host import drop_code
from tinyedge.host.affinity import default_threads, require_usable_threads
from tinyedge.host.memory import read_memory, read_pss
from tinyedge.host.procfs import read_number, read_text

if TYPE_CHECKING:
    from tinyedge.core.sampling import SamplingConfig
    from tinyedge.runtime.generator import Generator

MAX_TOKENS_RANGE = (1, 1000)
MAX_SAMPLES = 1_000_000  # all are kept in memory
MAX_SEED = (1 << 32) - 1
# A warm-up round answers each prompt once, so that all input shapes occur. Rounds repeat until two in a row
# are less than 5% faster than all before.
MAX_WARM_UP_PROMPTS, MIN_ROUNDS, MAX_ROUNDS = 64, 3, 12
HARDLY_FASTER = 0.95  # of the fastest round so far
TEMPERATURE, TOP_K, TOP_P = 0.8, 40, 0.9  # the defaults of `tinyedge generate`
FLUSH_NS = 1_000_000_000  # samples are sent once per second, because each transfer wakes the parent


@dataclasses.dataclass(frozen=True)
class Job:
    """What to measure.

    Raises:
        UsageError: A value is outside its range; the message names the parameter.
    """

    bundle: str
    """Folder of the bundle."""
    samples: int = setting(100, low=1, high=MAX_SAMPLES, flag=None, help="Maximum number of responses.")
    """Number of responses, unless the parent stops the worker earlier."""
    max_tokens: int = setting(
        20,
        low=MAX_TOKENS_RANGE[0],
        high=MAX_TOKENS_RANGE[1],
        section="Measurement",
        help="Tokens of each response.",
    )
    """Tokens of each response."""
    threads: int = setting(
        default_threads(), section="Measurement", help="CPU cores used to compute a token."
    )
    """CPU cores used to compute a token, at most those of this machine."""
    seed: int = setting(
        0, low=0, high=MAX_SEED, section="Measurement", help="Random seed of the first response."
    )
    """Random seed of the first response; each response after it has the next seed."""
    prompts: PromptSet = BILINGUAL
    """The prompts, asked in turn."""

    def __post_init__(self) -> None:
        check_settings(self)
        require_usable_threads(self.threads)

    def to_json(self) -> str:
        """Return the job as one line of JSON, for the worker."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, line: bytes | str) -> "Job":
        """Parse a job.

        Raises:
            UsageError: The line is not a job.
        """
        try:
            fields = json.loads(line)
            return cls(**{**fields, "prompts": PromptSet(**fields["prompts"])})
        except (ValueError, TypeError, KeyError) as failure:
            raise UsageError(
                f"standard input contains no job: {failure}", "use `tinyedge bench BUNDLE`, which starts it"
            ) from None


class Channel:
    """Sends events to the parent, as lines of JSON."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._flushed = time.perf_counter_ns()

    def send(self, event: str, **fields: Any) -> None:
        """Send an event and all queued ones immediately."""
        self.queue(event, **fields)
        self._flush()

    def queue(self, event: str, **fields: Any) -> bool:
        """Queue an event, and send the queue if the last transfer was more than a second ago.

        Returns:
            Whether the queue was sent.
        """
        self._file.write(json.dumps({"event": event, **fields}).encode() + b"\n")
        due = time.perf_counter_ns() - self._flushed > FLUSH_NS
        if due:
            self._flush()
        return due

    def _flush(self) -> None:
        self._file.flush()
        self._flushed = time.perf_counter_ns()


def time_response(
    generator: "Generator",
    prompt: str,
    max_tokens: int,
    sampling: "SamplingConfig",
    clock: Callable[[], int] = time.perf_counter_ns,
) -> "tuple[array[int], int]":
    """Generate one response and measure it, including tokenization, prefill, sampling and detokenization.

    Args:
        generator: The loaded model.
        prompt: The prompt.
        max_tokens: Tokens to generate; the end-of-text token is ignored.
        sampling: Settings of the sampler.
        clock: Returns the time in ns.

    Returns:
        The time from the request to each token, and to the end of the response, in ns.

    Raises:
        BenchError: The response has fewer tokens.
    """
    arrivals = array("q")
    start = clock()
    for _ in generator.stream(prompt, max_tokens=max_tokens, sampling=sampling, ignore_eos=True):
        arrivals.append(clock() - start)
    end = clock() - start
    if len(arrivals) != max_tokens:
        raise BenchError(f"a response has {len(arrivals)} tokens instead of {max_tokens}")
    return arrivals, end


def make_sampling(job: Job, index: int) -> "SamplingConfig":
    """Return the settings of the sampler for response `index`; each has its own seed."""
    from tinyedge.core.sampling import SamplingConfig

    seed = (job.seed + index) % (MAX_SEED + 1)
    return SamplingConfig(temperature=TEMPERATURE, top_k=TOP_K, top_p=TOP_P, seed=seed)


def answer_first_prompt(job: Job, generator: "Generator", channel: Channel, clock: Callable[[], int]) -> None:
    """Generate the first response; send the memory after its first token and at its end."""
    prompt = next(iter(job.prompts.prompts.values()))
    options: dict[str, Any] = {"max_tokens": job.max_tokens, "sampling": make_sampling(job, 0)}
    for index, _ in enumerate(generator.stream(prompt, ignore_eos=True, **options)):
        if index == 0:
            channel.send("phase", name="prefill", first_token_ns=clock(), memory=read_memory_with_pss())
    channel.send("phase", name="decode", memory=read_memory_with_pss())


def warm_up(job: Job, generator: "Generator", channel: Channel, clock: Callable[[], int]) -> None:
    """Answer all prompts repeatedly until the rounds no longer become faster."""
    prompts = list(job.prompts.prompts.values())[:MAX_WARM_UP_PROMPTS]
    rounds: list[int] = []
    settled = False
    while not settled and len(rounds) < MAX_ROUNDS:
        started = clock()
        for index, prompt in enumerate(prompts):
            time_response(generator, prompt, job.max_tokens, make_sampling(job, index), clock)
        rounds.append(clock() - started)
        fastest = min(rounds[:-2], default=0)
        settled = len(rounds) >= MIN_ROUNDS and min(rounds[-2:]) >= HARDLY_FASTER * fastest
    channel.send("warm_up", rounds_ns=rounds, settled=settled)


def read_worker_memory() -> dict[str, int]:
    """Read this process's memory in bytes; swap counts as 0 where the system does not report it (macOS)."""
    return {"swap": 0, **read_memory()}


def measure(
    job: Job,
    generator: "Generator",
    channel: Channel,
    memory: Callable[[], Mapping[str, int]] = read_worker_memory,
    clock: Callable[[], int] = time.perf_counter_ns,
    should_stop: Callable[[], bool] = lambda: False,
) -> None:
    """Measure the samples and send them.

    Args:
        job: The work.
        generator: The loaded model.
        channel: Connection to the parent.
        memory: Returns the memory of this process, in bytes.
        clock: Returns the time in ns.
        should_stop: Whether the parent has enough samples; called about once per second.
    """
    prompts = list(job.prompts.prompts.items())
    started, waited = clock(), read_waited_ns()
    for index in range(job.samples):
        name, prompt = prompts[index % len(prompts)]
        arrivals, end = time_response(generator, prompt, job.max_tokens, make_sampling(job, index), clock)
        sent = channel.queue("sample", prompt=name, tokens_ns=arrivals.tolist(), end_ns=end, memory=memory())
        if sent and should_stop():
            break
    lasted, waited_since = clock() - started, read_waited_ns()
    waited = None if waited is None or waited_since is None else waited_since - waited
    table = generator.bundle.ngrams
    ngrams = None if table is None else {"size": len(table.data), "read": table.touched_bytes}
    channel.send("end", memory=memory(), lasted_ns=lasted, waited_ns=waited, ngrams=ngrams)


def read_waited_ns(schedstat: Path = Path("/proc/self/schedstat")) -> int | None:
    """Return how long the main thread was ready to run while its core ran another program, in ns.

    This is the second number of the file; see Documentation/scheduler/sched-stats.rst of Linux. None if the
    kernel does not report it.
    """
    return read_number((read_text(schedstat) or "").partition(" ")[2])


def read_memory_with_pss() -> dict[str, int | None]:
    """Read the memory of this process, including PSS, in bytes."""
    return {**read_worker_memory(), "pss": read_pss()}


def count_prompt_tokens(generator: "Generator", prompts: Mapping[str, str]) -> dict[str, list[int]]:
    """Count the tokens of each prompt: all, including BOS, and those that fit in the context."""
    from tinyedge.core.window import window_start

    lengths = {name: len(generator.encode_prompt(text)) for name, text in prompts.items()}
    context = generator.config.max_seq_length
    return {name: [n, n - window_start(n, context)] for name, n in lengths.items()}


def run_job(job: Job, channel: Channel) -> None:
    """Import, load and measure, in the same way as `tinyedge generate`."""
    from tinyedge.bundle.bundle import bundle_digest
    from tinyedge.bundle.manifest import MODEL_FILE
    from tinyedge.runtime.engine import import_engine
    from tinyedge.runtime.generator import Generator

    import_engine()
    channel.send("phase", name="imports", memory=read_memory_with_pss(), at_ns=time.perf_counter_ns())
    started = time.perf_counter_ns()
    with drop_code.drop_before_and_after():
        generator = Generator.load(Path(job.bundle), threads=job.threads)
    channel.send(
        "phase",
        name="session",
        init_ns=time.perf_counter_ns() - started,
        memory=read_memory_with_pss(),
        sha256=bundle_digest(generator.bundle),
        model_id=generator.bundle.model_id,
        precision=generator.bundle.manifest["precision"],
        engine=generator.session.engine._asdict(),
        model_bytes=generator.bundle.manifest["files"][MODEL_FILE]["size"],
        prompt_tokens=count_prompt_tokens(generator, job.prompts.prompts),
    )
    clock = time.perf_counter_ns
    answer_first_prompt(job, generator, channel, clock)
    warm_up(job, generator, channel, clock)
    measure(job, generator, channel, clock=clock, should_stop=is_stop_requested)


def is_stop_requested() -> bool:
    """Return whether the parent has closed the pipe or has ended."""
    return bool(select.select([sys.stdin], [], [], 0)[0])


def main() -> int:
    """Run the job on standard input. Return 0, or 1 after an error event."""
    # The pipe to the parent gets another descriptor, and descriptor 1 becomes standard error, so that output
    # of libraries, also from C++, cannot mix with the events.
    channel = Channel(os.fdopen(os.dup(1), "wb", buffering=1 << 16))
    os.dup2(2, 1)
    try:
        channel.send("phase", name="bare", memory=read_memory_with_pss())
        run_job(Job.from_json(sys.stdin.buffer.readline()), channel)
    except TinyEdgeError as failure:
        channel.send("error", kind=type(failure).__name__, message=failure.message, hint=failure.hint)
        return 1
    except MemoryError:
        with contextlib.suppress(MemoryError):
            channel.send(
                "error", kind="BenchError", message="the worker ran out of memory", hint="free some memory"
            )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
