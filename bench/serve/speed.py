"""Cost of the server on loopback: its memory, and its time compared with the same model in this process.

    python -m bench.serve.speed tests/data/micro_bundle_int8

Uses the prompts of the benchmark that fit into the context, with 20 tokens each. The 200 responses come in
turn from a `Generator` in this process and from the server, so that other load on the machine affects both.
CPU time is the figure that other load changes least.
"""

import argparse
import http.client
import json
import statistics
import time
from pathlib import Path
from typing import Protocol

from bench.serve.loopback import JSON, Server
from tinyedge.bench.prompts import PROMPTS
from tinyedge.runtime import Generator, SamplingConfig

MB = 1 << 20
TOKENS = 20


def main() -> None:
    """Print memory, latency and CPU time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--responses", type=int, default=200)
    arguments = parser.parse_args()
    generator = Generator.load(arguments.bundle)
    context = generator.config.max_seq_length
    prompts = [text for text in PROMPTS.values() if len(generator.encode_prompt(text)) <= context]
    with Server(arguments.bundle) as server:
        stats_at_start = server.read_process_stats()
        subjects: dict[str, Subject] = {
            "library": LibraryAnswers(generator),
            "whole": CompleteAnswers(server),
            "stream": StreamedAnswers(server),
        }
        names = [*subjects]
        durations: dict[str, list[float]] = {name: [] for name in subjects}
        cpu_times = dict.fromkeys(subjects, 0.0)
        for index in range(-len(prompts), arguments.responses):
            turn = index % len(subjects)
            for name in (*names[turn:], *names[:turn]):
                subject = subjects[name]
                started_at, before = time.perf_counter(), subject.cpu_seconds()
                subject.respond(prompts[index % len(prompts)], index + len(prompts))
                if index >= 0:
                    durations[name].append(time.perf_counter() - started_at)
                    cpu_times[name] += subject.cpu_seconds() - before
        memory = [figure / MB for figure in (stats_at_start["rss"], server.read_process_stats()["peak"])]
    print("server memory: {:.1f} MB after the start, peak {:.1f} MB".format(*memory))
    base = statistics.median(durations["library"])
    for name, seconds in durations.items():
        median = statistics.median(seconds)
        print(
            f"{name:8} p50 {median * 1000:6.2f} ms  {TOKENS / median:6.0f} tokens/s"
            f"  {base / median:.2f} of the speed of the library"
            f"  CPU time {cpu_times[name] / arguments.responses * 1000:.2f} ms per response"
        )


class Subject(Protocol):
    """A way to get responses."""

    def respond(self, prompt: str, seed: int) -> None:
        """Generate all tokens of one response."""

    def cpu_seconds(self) -> float:
        """Return the CPU time of the generating process so far."""
        ...


class LibraryAnswers:
    """The model in this process."""

    def __init__(self, generator: Generator) -> None:
        self._generator = generator

    def respond(self, prompt: str, seed: int) -> None:
        """Generate all tokens of one response."""
        sampling = SamplingConfig(seed=seed)
        for _ in self._generator.stream(prompt, max_tokens=TOKENS, sampling=sampling, ignore_eos=True):
            pass

    def cpu_seconds(self) -> float:
        """Return the CPU time of this process so far."""
        return time.process_time()


class CompleteAnswers:
    """The server with complete answers, on one persistent connection."""

    stream = False

    def __init__(self, server: Server) -> None:
        self._tasks = Path(f"/proc/{server.process.pid}/task")
        self._connection = http.client.HTTPConnection("127.0.0.1", server.port)

    def respond(self, prompt: str, seed: int) -> None:
        """Generate all tokens of one response."""
        fields = {"prompt": prompt, "seed": seed, "max_tokens": TOKENS, "ignore_eos": True}
        body = json.dumps({**fields, "stream": self.stream})
        self._connection.request("POST", "/v1/completions", body, JSON)
        response = self._connection.getresponse()
        response.read()
        if response.status != 200:
            raise RuntimeError(f"status {response.status}")

    def cpu_seconds(self) -> float:
        """Return the CPU time of the server's threads so far."""
        threads = (task / "schedstat" for task in self._tasks.iterdir())
        return sum(int(file.read_text().split()[0]) for file in threads) / 1e9


class StreamedAnswers(CompleteAnswers):
    """The server with streamed answers."""

    stream = True


if __name__ == "__main__":
    main()
