"""`python -m tinyedge.bench.worker`: the measured process: answers prompts and tells what it saw.

In: a Job, a line of JSON on standard input; when that is closed, it is enough.
Out, on what was standard output: events, a JSON line each, for `tinyedge.bench.worker_process`.
It imports only what answering needs, because its memory is what the report calls the memory of an answering
process, and it leaves the garbage collector, the allocator and the scheduler as a user would have them.
Knows no statistics.

Events, in this order:
phase    name bare | imports | session | prefill | decode, memory; what the phase found out
warm_up  rounds_ns (how long each round of all prompts took), settled (it no longer became faster)
sample   prompt, tokens_ns (when each token came, since the request), end_ns, memory
end      memory, lasted_ns, waited_ns (of it, ready to run while the core ran something else; may be null)
error    kind, message, hint; instead of everything that would have followed
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
from tinyedge.host import drop_code
from tinyedge.host.cpu import count_usable_cores
from tinyedge.host.memory import read_memory, read_pss
from tinyedge.host.procfs import read_number, read_text

if TYPE_CHECKING:
    from tinyedge.runtime.generator import Generator
    from tinyedge.runtime.sampler import SamplingConfig

MAX_TOKENS_RANGE = (1, 1000)
MAX_SAMPLES = 1_000_000  # all are kept
MAX_SEED = (1 << 32) - 1
# A round is a response to each prompt, so that every prompt's shapes have been seen. It goes on until two
# rounds in a row were hardly faster than any before: what still becomes faster is not warm.
MAX_WARM_UP_PROMPTS, MIN_ROUNDS, MAX_ROUNDS = 64, 3, 12
HARDLY_FASTER = 0.95  # of the fastest round so far
TEMPERATURE, TOP_K = 0.8, 40  # sampling as `tinyedge generate` does by default
FLUSH_NS = 1_000_000_000  # samples are handed over once a second: each hand-over wakes the parent


@dataclasses.dataclass(frozen=True)
class Job:
    """What to measure.

    bundle: its folder. samples: responses, unless it is told earlier that it is enough. max_tokens: tokens of
    each. threads: of the model. seed: of the first response; each next one has the next seed.
    """

    bundle: str
    samples: int = 100
    max_tokens: int = 20
    threads: int = 1
    seed: int = 0
    prompts: PromptSet = BILINGUAL

    def __post_init__(self) -> None:
        low, high = MAX_TOKENS_RANGE
        cores = count_usable_cores()
        if not 1 <= self.samples <= MAX_SAMPLES:
            raise UsageError(f"--samples {self.samples} is outside 1-{MAX_SAMPLES}")
        if not low <= self.max_tokens <= high:
            raise UsageError(f"--max-tokens {self.max_tokens} is outside {low}-{high}")
        if not 1 <= self.threads <= cores:
            raise UsageError(f"--threads {self.threads} is outside 1-{cores}, the cores of this machine")
        if not 0 <= self.seed <= MAX_SEED:
            raise UsageError(f"--seed {self.seed} is outside 0-{MAX_SEED}")

    def to_json(self) -> str:
        """As the worker reads it, in one line."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, line: bytes | str) -> "Job":
        """Raises UsageError where it is none."""
        try:
            fields = json.loads(line)
            return cls(**{**fields, "prompts": PromptSet(**fields["prompts"])})
        except (ValueError, TypeError, KeyError) as failure:
            raise UsageError(
                f"standard input holds no job: {failure}", "it is started by `tinyedge bench BUNDLE`"
            ) from None


class Channel:
    """JSON lines to the parent."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._flushed = time.perf_counter_ns()

    def send(self, event: str, **fields: Any) -> None:
        """Sends an event at once, what waited before it included."""
        self.queue(event, **fields)
        self._flush()

    def queue(self, event: str, **fields: Any) -> bool:
        """Sends an event within a second, or with the next one after that. Returns whether it was now."""
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
    """One response: when each of its tokens came and when it was over, in ns since it was asked for.

    Tokenizing, prefill, decoding, sampling and detokenizing all happen between the first clock and the last.
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
    """How response `index` is drawn."""
    from tinyedge.runtime.sampler import SamplingConfig

    return SamplingConfig(temperature=TEMPERATURE, top_k=TOP_K, seed=(job.seed + index) % (MAX_SEED + 1))


def answer_first_prompt(job: Job, generator: "Generator", channel: Channel, clock: Callable[[], int]) -> None:
    """The first response of all, looked at after its first token and at its end."""
    prompt = next(iter(job.prompts.prompts.values()))
    options: dict[str, Any] = {"max_tokens": job.max_tokens, "sampling": make_sampling(job, 0)}
    for index, _ in enumerate(generator.stream(prompt, ignore_eos=True, **options)):
        if index == 0:
            channel.send("phase", name="prefill", first_token_ns=clock(), memory=read_memory_with_pss())
    channel.send("phase", name="decode", memory=read_memory_with_pss())


def warm_up(job: Job, generator: "Generator", channel: Channel, clock: Callable[[], int]) -> None:
    """Answers all prompts, again and again, until that no longer becomes faster."""
    prompts = list(job.prompts.prompts.values())[:MAX_WARM_UP_PROMPTS]
    rounds: list[int] = []
    settled = False
    while not settled and len(rounds) < MAX_ROUNDS:
        began = clock()
        for index, prompt in enumerate(prompts):
            time_response(generator, prompt, job.max_tokens, make_sampling(job, index), clock)
        rounds.append(clock() - began)
        fastest = min(rounds[:-2], default=0)
        settled = len(rounds) >= MIN_ROUNDS and min(rounds[-2:]) >= HARDLY_FASTER * fastest
    channel.send("warm_up", rounds_ns=rounds, settled=settled)


def measure(
    job: Job,
    generator: "Generator",
    channel: Channel,
    memory: Callable[[], Mapping[str, int]] = read_memory,
    clock: Callable[[], int] = time.perf_counter_ns,
    should_stop: Callable[[], bool] = lambda: False,
) -> None:
    """Takes the samples and sends them. enough: asked about once a second."""
    prompts = list(job.prompts.prompts.items())
    began, waited = clock(), read_waited_ns()
    for index in range(job.samples):
        name, prompt = prompts[index % len(prompts)]
        arrivals, end = time_response(generator, prompt, job.max_tokens, make_sampling(job, index), clock)
        sent = channel.queue("sample", prompt=name, tokens_ns=arrivals.tolist(), end_ns=end, memory=memory())
        if sent and should_stop():
            break
    lasted, waited_since = clock() - began, read_waited_ns()
    waited = None if waited is None or waited_since is None else waited_since - waited
    channel.send("end", memory=memory(), lasted_ns=lasted, waited_ns=waited)


def read_waited_ns(schedstat: Path = Path("/proc/self/schedstat")) -> int | None:
    """How long the main thread has been ready to run while its core ran something else; None if not told.

    The second figure of the file: Documentation/scheduler/sched-stats.rst of Linux.
    """
    return read_number((read_text(schedstat) or "").partition(" ")[2])


def read_memory_with_pss() -> dict[str, int | None]:
    """Memory at a phase's end, PSS too."""
    return {**read_memory(), "pss": read_pss()}


def count_prompt_tokens(generator: "Generator", prompts: Mapping[str, str]) -> dict[str, list[int]]:
    """Of each prompt: how many tokens it has, BOS included, and how many of them the context lets in."""
    from tinyedge.core.window import window_start

    lengths = {name: len(generator.encode_prompt(text)) for name, text in prompts.items()}
    context = generator.config.max_seq_length
    return {name: [n, n - window_start(n, context)] for name, n in lengths.items()}


def run_job(job: Job, channel: Channel) -> None:
    """Imports, loads and measures, as the real thing does it."""
    from tinyedge.bundle.bundle import bundle_digest
    from tinyedge.bundle.manifest import MODEL_FILE
    from tinyedge.runtime.generator import Generator

    channel.send("phase", name="imports", memory=read_memory_with_pss(), at_ns=time.perf_counter_ns())
    started = time.perf_counter_ns()
    with drop_code.trimmed():
        generator = Generator.load(Path(job.bundle), threads=job.threads)
    channel.send(
        "phase",
        name="session",
        init_ns=time.perf_counter_ns() - started,
        memory=read_memory_with_pss(),
        sha256=bundle_digest(generator.bundle),
        precision=generator.bundle.manifest["precision"],
        model_bytes=generator.bundle.manifest["files"][MODEL_FILE]["size"],
        prompt_tokens=count_prompt_tokens(generator, job.prompts.prompts),
    )
    clock = time.perf_counter_ns
    answer_first_prompt(job, generator, channel, clock)
    warm_up(job, generator, channel, clock)
    measure(job, generator, channel, clock=clock, should_stop=is_stop_requested)


def is_stop_requested() -> bool:
    """Whether the parent has closed the pipe, or is gone."""
    return bool(select.select([sys.stdin], [], [], 0)[0])


def main() -> int:
    """Runs the job that standard input begins with. Returns 0, or 1 after an error event."""
    # The parent's pipe gets a descriptor of its own, and descriptor 1 joins standard error: what a library
    # prints, from C++ too, cannot get between the events.
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
            channel.send("error", kind="BenchError", message="the worker ran out of memory", hint="free some")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
