"""What the server costs: memory, and time beside the same model in this process. On loopback.

    python bench/serve/speed.py tests/data/micro_bundle_int8

The bench's prompts, as far as they fit into the context, 20 tokens each, 200 responses in all, in turn from a
`Generator` here and from a server there, so that what else the machine does falls on both.
"""

import argparse
import http.client
import json
import statistics
import time
from pathlib import Path

from loopback import JSON, Server

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
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for index in range(-len(prompts), given.responses):
            for name, way in ways.items():
                began = time.perf_counter()
                way.respond(prompts[index % len(prompts)], index + len(prompts))
                if index >= 0:
                    seconds[name].append(time.perf_counter() - began)
        ended = server.process_figures()
        print(
            f"server's memory: {started['rss'] / MB:.1f} MB after its start, peak {ended['peak'] / MB:.1f} MB"
        )
    base = statistics.median(seconds["library"])
    for name, taken in seconds.items():
        middle = statistics.median(taken)
        p95 = sorted(taken)[int(len(taken) * 0.95)]
        print(
            f"{name:8} p50 {middle * 1000:6.2f} ms  p95 {p95 * 1000:6.2f} ms  {TOKENS / middle:6.0f} tokens/s"
            f"  {base / middle:.2f} of the library's speed"
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


class Whole:
    """The server, an answer in one piece, on a connection that stays."""

    stream = False

    def __init__(self, server: Server) -> None:
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


class Stream(Whole):
    """The server, token by token."""

    stream = True


if __name__ == "__main__":
    main()
