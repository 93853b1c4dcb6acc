"""Treats a real `tinyedge serve` badly for a while, on loopback, and says whether anything of it stays.

    python -m bench.serve.soak tests/data/micro_bundle_int8

1. Clients that go: before the first token, in the stream, in the queue. Each place has to be free within a
   second, and whoever asks next, or waits behind, gets the very text that they would have got.
2. More clients than there are places: nothing but 200 and 429 with Retry-After, equal texts, equal memory.
3. SIGTERM and SIGINT while it loads, idles, computes, streams and has a queue: ended in 5 s, no traceback.
4. Thousands of mixed requests, good and bad: memory grows by less than 1 MB for each 1,000, open files and
   threads are what they were.

Exit code 0, or 3 if a gate failed. Bounded in count and time; the smaller flags are what CI runs.
"""

import argparse
import contextlib
import itertools
import json
import random
import signal
import socket
import struct
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.serve.loopback import PATIENCE_S, Server, completion_request, events, wait_until
from tinyedge.core.stats import slope

MB = 1 << 20
FREE_S = 1.0
END_S = 5.0
MB_PER_1000 = 1.0
FLAT_MB = 2.0
LONG = {"max_tokens": 100_000, "ignore_eos": True, "stream": True, "seed": 1}
SHORT = {"max_tokens": 12, "temperature": 0.8, "seed": 7}
SAMPLES = 20  # of memory, after the warm-up

failed: list[str] = []


def gate(ok: bool, sentence: str) -> None:
    """One line of the result."""
    print(f"{'✓' if ok else '✗'} {sentence}", flush=True)
    if not ok:
        failed.append(sentence)


def main() -> int:
    """Runs all four."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--disconnects", type=int, default=200)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=10, help="requests of each client")
    parser.add_argument("--signals", type=int, default=3, help="of each kind in each state")
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--slack", type=float, default=1, help="times the limits of time, on a busy machine")
    given = parser.parse_args()
    disconnect(given.bundle, given.disconnects, FREE_S * given.slack)
    crowd(given.bundle, given.clients, given.rounds)
    interrupt(given.bundle, given.signals, END_S * given.slack)
    soak(given.bundle, given.requests)
    return 3 if failed else 0


def disconnect(bundle: Path, count: int, limit_s: float) -> None:
    """Clients that go."""
    slowest: dict[str, float] = {}
    with Server(bundle, "--queue", 4, "--max-tokens", 100_000) as server:
        reference = server.complete(**SHORT).text
        equal = 0
        for _, state in zip(range(count), itertools.cycle((_unread, _streaming, _queued)), strict=False):
            seconds, text = state(server)
            name = state.__name__.strip("_")
            slowest[name] = max(slowest.get(name, 0), seconds)
            equal += text == reference
        counted = server.metric('tinyedge_errors_total{kind="disconnect"}')
        failures = server.metric('tinyedge_errors_total{kind="internal"}')
    worst = ", ".join(f"{name} {seconds * 1000:.0f} ms" for name, seconds in slowest.items())
    gate(
        max(slowest.values()) < limit_s, f"{count} clients went; their place was free after at most: {worst}"
    )
    gate(equal == count, f"{equal} of {count} answers of the others were the same")
    gate(counted >= count and not failures, f"{counted:.0f} disconnects counted, {failures:.0f} failures")


def _unread(server: Server) -> tuple[float, str]:
    """Goes before it could have read anything, half of them with a reset."""
    connection = server.begin(**LONG)
    if random.random() < 0.5:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
    return _until_idle(server), server.complete(**SHORT).text


def _streaming(server: Server) -> tuple[float, str]:
    connection = server.begin(**LONG)
    while b"data: " not in connection.recv(4096):
        pass
    connection.close()
    return _until_idle(server), server.complete(**SHORT).text


def _queued(server: Server) -> tuple[float, str]:
    """One holds the only place, one waits and goes, one waits behind."""
    holder = server.begin(**LONG)
    holder.recv(4096)
    waits = server.begin(**LONG)
    server.wait("tinyedge_queue_depth", 1)
    behind = server.begin(**SHORT)
    server.wait("tinyedge_queue_depth", 2)
    waits.close()
    seconds = server.wait("tinyedge_queue_depth", 1)
    holder.close()
    with behind:
        answer = b""
        while b"\r\n\r\n" not in answer or not answer.rstrip().endswith(b"}"):
            answer += behind.recv(65536)
    text = json.loads(answer.partition(b"\r\n\r\n")[2])["choices"][0]["text"]
    _until_idle(server)
    return seconds, text


def _until_idle(server: Server) -> float:
    return wait_until(
        lambda: not server.metric("tinyedge_active_requests") and not server.metric("tinyedge_queue_depth"),
        "its place is never free",
    )


def crowd(bundle: Path, clients: int, rounds: int) -> None:
    """More clients than places."""
    with Server(bundle, "--parallel", 1, "--queue", 4) as server:
        reference = server.complete(**SHORT).text
        statuses: Counter[int] = Counter()
        odd: list[str] = []
        memory = []

        def client() -> None:
            for _ in range(rounds):
                answer = server.complete(**SHORT)
                statuses[answer.status] += 1
                if answer.status == 200 and answer.text != reference:
                    odd.append("another text")
                if answer.status == 429 and not answer.headers.get("retry-after", "").isdecimal():
                    odd.append("no Retry-After")

        for _ in range(3):
            _together(client, clients)
            memory.append(server.process_figures()["rss"])
    ok = set(statuses) == {200, 429} and not odd
    gate(ok, f"{clients} clients on 1 + 4 places: {dict(sorted(statuses.items()))}, {len(odd)} odd answers")
    grown = (memory[-1] - memory[0]) / MB
    gate(grown < FLAT_MB, f"memory after the crowds: {' '.join(f'{m / MB:.1f}' for m in memory)} MB")


def _together(work: Callable[[], None], count: int) -> None:
    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)


def interrupt(bundle: Path, count: int, limit_s: float) -> None:
    """Signals in every state."""
    slowest, bad = 0.0, []
    states = (_loading, _idle, _computing, _in_stream, _with_queue)
    for state in states:
        for number, code in ((signal.SIGTERM, 0), (signal.SIGINT, 130)):
            for attempt in range(count):
                with contextlib.ExitStack() as opened:
                    server = Server(bundle, "--max-tokens", 100_000)
                    state(server, opened, attempt)
                    end = server.stop(number)
                slowest = max(slowest, end.seconds)
                loading = state is _loading and end.code in (
                    -number,
                    128 + number,
                )  # Python itself was starting
                if (end.code != code and not loading) or "Traceback" in end.stderr:
                    bad.append(f"{state.__name__} {number.name}: {end}")
    total = len(states) * 2 * count
    gate(not bad, f"{total - len(bad)} of {total} signals ended it cleanly {bad or ''}")
    gate(slowest < limit_s, f"the slowest end took {slowest:.2f} s")


def _loading(server: Server, opened: contextlib.ExitStack, attempt: int) -> None:
    server.start()
    time.sleep(0.25 + 0.1 * attempt)


def _idle(server: Server, opened: contextlib.ExitStack, attempt: int) -> None:
    server.__enter__()
    opened.enter_context(server.connect())  # one that says nothing


def _computing(server: Server, opened: contextlib.ExitStack, attempt: int) -> None:
    server.__enter__()
    opened.enter_context(server.begin(**{**LONG, "stream": False}))
    server.wait("tinyedge_active_requests", 1)


def _in_stream(server: Server, opened: contextlib.ExitStack, attempt: int) -> None:
    server.__enter__()
    opened.enter_context(server.begin(**LONG)).recv(4096)


def _with_queue(server: Server, opened: contextlib.ExitStack, attempt: int) -> None:
    _in_stream(server, opened, attempt)
    for _ in range(3):
        opened.enter_context(server.begin(**LONG))
    server.wait("tinyedge_queue_depth", 3)


def soak(bundle: Path, requests: int) -> None:
    """Mixed requests, one after another and two at a time."""
    warm_up = requests // 5
    step = max(1, (requests - warm_up) // SAMPLES)
    memory: list[tuple[float, float]] = []
    statuses: Counter[str] = Counter()
    with Server(bundle, "--max-tokens", 100_000) as server:
        kinds = list(_kinds(server, random.Random(1)))

        def some(indices: range) -> None:
            for index in indices:
                statuses[kinds[index % len(kinds)]()] += 1

        first: dict[str, int] = {}
        for start in range(0, requests, step):
            half = min(step, requests - start) // 2
            parts = iter((range(start, start + half), range(start + half, min(start + step, requests))))
            _together(lambda parts=parts: some(next(parts)), 2)  # type: ignore[misc]
            _until_idle(server)
            figures = server.process_figures()
            if start >= warm_up:
                first = first or figures
                memory.append((start / 1000, figures["rss"] / MB))
        last = server.process_figures()
    growth = slope([x for x, _ in memory], [y for _, y in memory])
    total = sum(statuses.values())
    bad = [name for name in statuses if name.startswith("5")]
    gate(total == requests and not bad, f"{total} requests: {dict(sorted(statuses.items()))}")
    gate(
        growth < MB_PER_1000,
        f"memory grew by {growth:.3f} MB for each 1,000 requests, peak {last['peak'] / MB:.1f} MB",
    )
    flat = all(abs(last[name] - first[name]) <= 2 for name in ("threads", "files"))
    gate(
        flat,
        f"threads {first['threads']} and {last['threads']}, open files {first['files']} and {last['files']}",
    )


def _kinds(server: Server, draw: random.Random) -> Iterator[Callable[[], str]]:
    """What clients do, as functions that return a status or what happened."""

    def status(fields: dict[str, object], path: str = "/v1/completions") -> Callable[[], str]:
        return lambda: str(server.post(path, fields).status)

    def stream() -> str:
        answer = server.complete(stream=True, max_tokens=draw.randint(1, 40))
        return f"{answer.status} stream" if list(events(answer.body)) else "5 empty"

    def leave() -> str:
        with server.begin(**LONG) as connection:
            connection.recv(1)
        return "left"

    messages = [{"role": "user", "content": "The captain"}]
    yield status({"prompt": "The captain", "max_tokens": 20})
    yield stream
    yield status({"prompt": ["The", "Mi"], "n": 2, "max_tokens": 5, "logprobs": 3, "echo": True})
    yield status({"messages": messages, "max_tokens": 10, "logprobs": True}, "/v1/chat/completions")
    yield status({"prompt": "a", "temperature": 3})
    yield status({"prompt": "la niña y el mar " * 50})
    yield leave
    yield lambda: str(server.get("/metrics").status)
    yield lambda: str(server.get("/").status)
    yield lambda: str(server.get("/nothing").status)
    yield lambda: str(getattr(server.say(b"BAD\r\n\r\n"), "status", "closed"))
    yield lambda: str(getattr(server.say(completion_request({"prompt": 1})), "status", "closed"))


if __name__ == "__main__":
    sys.exit(main())
