"""`python -m tinyedge.bench.worker JOB`: the measured process: answers prompts and tells what it saw.

In: a Job as JSON. Out, on what was standard output: events, a JSON line each, for `tinyedge.bench.run`.
It imports only what answering needs, because its memory is what the report calls the memory of an answering
process, and it leaves the garbage collector, the allocator and the scheduler as a user would have them.
Knows no statistics.

Events, in this order:
phase   name start | imports | session | prefill, memory; what the phase found out
sample  prompt, tokens_ns (when each token came, since the request), end_ns, memory
end     memory
error   kind, message, hint; instead of everything that would have followed
"""

import contextlib
import dataclasses
import json
import os
import sys
import time
from array import array
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from tinyedge.bench.prompts import PROMPTS
from tinyedge.errors import BenchError, TinyEdgeError, UsageError
from tinyedge.memory import read_memory

if TYPE_CHECKING:
    from tinyedge.runtime.generator import Generator
    from tinyedge.runtime.sampler import SamplingConfig

MAX_TOKENS_RANGE = (1, 1000)
MAX_SAMPLES = 1_000_000  # all are kept
MAX_SEED = (1 << 32) - 1
WARM_UP = len(PROMPTS)  # responses: one a prompt, so that every prompt's shapes have been seen
TEMPERATURE, TOP_K = 0.8, 40  # sampling as `tinyedge generate` does by default
FLUSH_NS = 1_000_000_000  # samples are handed over once a second: each hand-over wakes the parent


@dataclasses.dataclass(frozen=True)
class Job:
    """What to measure.

    bundle: its folder. samples: responses. max_tokens: tokens of each. threads: of the model.
    seed: of the first response; each next one has the next seed.
    """

    bundle: str
    samples: int = 100
    max_tokens: int = 20
    threads: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        low, high = MAX_TOKENS_RANGE
        cores = len(os.sched_getaffinity(0))
        if not 1 <= self.samples <= MAX_SAMPLES:
            raise UsageError(f"--samples {self.samples} is outside 1-{MAX_SAMPLES}")
        if not low <= self.max_tokens <= high:
            raise UsageError(f"--max-tokens {self.max_tokens} is outside {low}-{high}")
        if not 1 <= self.threads <= cores:
            raise UsageError(f"--threads {self.threads} is outside 1-{cores}, the cores of this machine")
        if not 0 <= self.seed <= MAX_SEED:
            raise UsageError(f"--seed {self.seed} is outside 0-{MAX_SEED}")

    def to_json(self) -> str:
        """As an argument for the worker."""
        return json.dumps(dataclasses.asdict(self))


class Channel:
    """JSON lines to the parent."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._flushed = time.perf_counter_ns()

    def send(self, event: str, **fields: Any) -> None:
        """Sends an event at once, what waited before it included."""
        self.queue(event, **fields)
        self._flush()

    def queue(self, event: str, **fields: Any) -> None:
        """Sends an event within a second, or with the next one after that."""
        self._file.write(json.dumps({"event": event, **fields}).encode() + b"\n")
        if time.perf_counter_ns() - self._flushed > FLUSH_NS:
            self._flush()

    def _flush(self) -> None:
        self._file.flush()
        self._flushed = time.perf_counter_ns()


def respond(
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


def measure(
    job: Job,
    generator: "Generator",
    channel: Channel,
    memory: Callable[[], Mapping[str, int]] = read_memory,
    clock: Callable[[], int] = time.perf_counter_ns,
) -> None:
    """Warms up, takes the samples and sends them."""
    from tinyedge.runtime.sampler import SamplingConfig

    names = list(PROMPTS)
    for index in range(WARM_UP + job.samples):
        name = names[index % len(names)]
        sampling = SamplingConfig(temperature=TEMPERATURE, top_k=TOP_K, seed=job.seed + index)
        asked = clock()
        arrivals, end = respond(generator, PROMPTS[name], job.max_tokens, sampling, clock)
        if index >= WARM_UP:
            channel.queue("sample", prompt=name, tokens_ns=arrivals.tolist(), end_ns=end, memory=memory())
        elif index == 0:
            channel.send("phase", name="prefill", memory=memory(), first_token_ns=asked + arrivals[0])
    channel.send("end", memory=memory())


def prompt_tokens(generator: "Generator") -> dict[str, list[int]]:
    """Of each prompt: how many tokens it has, BOS included, and how many of them the context lets in."""
    from tinyedge.context import window_start

    lengths = {name: len(generator.encode_prompt(text)) for name, text in PROMPTS.items()}
    context = generator.config.max_seq_length
    return {name: [n, n - window_start(n, context)] for name, n in lengths.items()}


def answer(job: Job, channel: Channel) -> None:
    """Imports, loads and measures, as the real thing does it."""
    from tinyedge.bundle import bundle_digest
    from tinyedge.runtime.generator import Generator

    channel.send("phase", name="imports", memory=read_memory(), at_ns=time.perf_counter_ns())
    begin = time.perf_counter_ns()
    generator = Generator.load(Path(job.bundle), threads=job.threads)
    channel.send(
        "phase",
        name="session",
        init_ns=time.perf_counter_ns() - begin,
        memory=read_memory(),
        sha256=bundle_digest(generator.bundle),
        precision=generator.bundle.manifest["precision"],
        prompt_tokens=prompt_tokens(generator),
    )
    measure(job, generator, channel)


def main() -> int:
    """Runs the job in sys.argv[1]. Returns 0, or 1 after an error event."""
    # The parent's pipe gets a descriptor of its own, and descriptor 1 joins standard error: what a library
    # prints, from C++ too, cannot get between the events.
    channel = Channel(os.fdopen(os.dup(1), "wb", buffering=1 << 16))
    os.dup2(2, 1)
    try:
        channel.send("phase", name="start", memory=read_memory())
        answer(Job(**json.loads(sys.argv[1])), channel)
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
