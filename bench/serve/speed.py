"""What the server costs: memory, and time beside the same model in this process. On loopback.

    python -m bench.serve.speed tests/data/micro_bundle_int8

The bench's prompts, as far as they fit into the context, 20 tokens each, 200 responses in all, in turn from a
`Generator` here and from a server there, so that what else the machine does falls on both. Processor time is
what a busy machine changes least.
"""

import argparse
import http.client
import json
import statistics
import time
from pathlib import Path

from bench.serve.loopback import JSON, Server
from tinyedge.bench.prompts import PROMPTS
from tinyedge.runtime import Generator, SamplingConfig

MB = 1 << 20
TOKENS = 20


def main() -> None:
    """Prints a few lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--responses", type=int, default=200)
    given = parser.parse_args()
    here = Generator.load(given.bundle)
    context = here.config.max_seq_length
    prompts = [text for text in PROMPTS.values() if len(here.encode_prompt(text)) <= context]
    with Server(given.bundle) as server:
        started = server.process_figures()
        ways = {"library": Library(here), "whole": Whole(server), "stream": Stream(server)}
        names = [*ways]
        taken: dict[str, list[float]] = {name: [] for name in ways}
        worked = dict.fromkeys(ways, 0.0)
        for index in range(-len(prompts), given.responses):
            turn = index % len(ways)
            for name in (*names[turn:], *names[:turn]):
                way = ways[name]
                began, before = time.perf_counter(), way.processor_seconds()
                way.respond(prompts[index % len(prompts)], index + len(prompts))
                if index >= 0:
                    taken[name].append(time.perf_counter() - began)
                    worked[name] += way.processor_seconds() - before
        memory = [figure / MB for figure in (started["rss"], server.process_figures()["peak"])]
    print("server's memory: {:.1f} MB after its start, peak {:.1f} MB".format(*memory))
    base = statistics.median(taken["library"])
    for name, seconds in taken.items():
        middle = statistics.median(seconds)
        print(
            f"{name:8} p50 {middle * 1000:6.2f} ms  {TOKENS / middle:6.0f} tokens/s"
            f"  {base / middle:.2f} of the library's speed"
            f"  processor time {worked[name] / given.responses * 1000:.2f} ms a response"
        )


class Library:
    """The model in this process."""

    def __init__(self, generator: Generator) -> None:
        self._generator = generator

    def respond(self, prompt: str, seed: int) -> None:
        """All tokens."""
        sampling = SamplingConfig(seed=seed)
        for _ in self._generator.stream(prompt, max_tokens=TOKENS, sampling=sampling, ignore_eos=True):
            pass

    def processor_seconds(self) -> float:
        """Of this process so far."""
        return time.process_time()


class Whole:
    """The server, an answer in one piece, on a connection that stays."""

    stream = False

    def __init__(self, server: Server) -> None:
        self._tasks = Path(f"/proc/{server.process.pid}/task")
        self._connection = http.client.HTTPConnection("127.0.0.1", server.port)

    def respond(self, prompt: str, seed: int) -> None:
        """All tokens."""
        fields = {"prompt": prompt, "seed": seed, "max_tokens": TOKENS, "ignore_eos": True}
        body = json.dumps({**fields, "stream": self.stream})
        self._connection.request("POST", "/v1/completions", body, JSON)
        response = self._connection.getresponse()
        response.read()
        if response.status != 200:
            raise RuntimeError(f"status {response.status}")

    def processor_seconds(self) -> float:
        """Of the server's threads so far."""
        threads = (task / "schedstat" for task in self._tasks.iterdir())
        return sum(int(file.read_text().split()[0]) for file in threads) / 1e9


class Stream(Whole):
    """The server, token by token."""

    stream = True


if __name__ == "__main__":
    main()
