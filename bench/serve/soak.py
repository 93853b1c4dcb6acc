"""Soak test of a real `tinyedge serve` on loopback: misuse it for a while, and check that nothing remains.

    python -m bench.serve.soak tests/data/micro_bundle_int8

1. Clients that disconnect: before the first token, during the stream, in the queue. Each slot must be free
   within a second, and the next client, or the one behind in the queue, must get the expected text.
2. More clients than slots: only 200 and 429 with Retry-After, equal texts, constant memory.
3. SIGTERM and SIGINT while the server loads, idles, computes, streams and has a queue: it exits within 5 s,
   without a traceback.
4. Thousands of mixed requests, valid and invalid: memory grows by less than 1 MB per 1,000 of them, and the
   numbers of open files and threads stay the same.

The exit code is 0, or 3 if a check failed. Count and time are bounded; CI runs it with smaller values.
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
from typing import Any

from bench.serve.loopback import TIMEOUT_S, Server, completion_request, parse_events, wait_until
from tinyedge.core.stats import slope

MB = 1 << 20
FREE_S = 1.0
END_S = 5.0
MB_PER_1000 = 1.0
FLAT_MB = 2.0
LONG: dict[str, Any] = {"max_tokens": 100_000, "ignore_eos": True, "stream": True, "seed": 1}
SHORT: dict[str, Any] = {"max_tokens": 12, "temperature": 0.8, "seed": 7}
SAMPLES = 20  # of the memory, after the warm-up
WARM_UP = 1500  # requests after which the heaps of the worker threads hardly grow any more, as measured

failed_checks: list[str] = []


def report_check(ok: bool, sentence: str) -> None:
    """Print one line of the result and record a failure."""
    print(f"{'✓' if ok else '✗'} {sentence}", flush=True)
    if not ok:
        failed_checks.append(sentence)


def main() -> int:
    """Run all four parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--disconnects", type=int, default=200)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=10, help="requests of each client")
    parser.add_argument("--signals", type=int, default=3, help="signals of each kind in each state")
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument(
        "--slack", type=float, default=1, help="factor for the time limits, on a busy machine"
    )
    arguments = parser.parse_args()
    check_disconnects(arguments.bundle, arguments.disconnects, FREE_S * arguments.slack)
    check_overload(arguments.bundle, arguments.clients, arguments.rounds)
    check_signals(arguments.bundle, arguments.signals, END_S * arguments.slack)
    check_memory(arguments.bundle, arguments.requests)
    return 3 if failed_checks else 0


def check_disconnects(bundle: Path, count: int, limit_s: float) -> None:
    """Disconnect clients in each state of a request."""
    slowest: dict[str, float] = {}
    with Server(bundle, "--queue", 4, "--max-tokens", 100_000) as server:
        reference = server.complete(**SHORT).text
        equal = 0
        for _, state in zip(range(count), itertools.cycle((_unread, _streaming, _queued)), strict=False):
            seconds, text = state(server)
            name = state.__name__.strip("_")
            slowest[name] = max(slowest.get(name, 0), seconds)
            equal += text == reference
        counted = server.read_metric('tinyedge_errors_total{kind="disconnect"}')
        failures = server.read_metric('tinyedge_errors_total{kind="internal"}')
    worst = ", ".join(f"{name} {seconds * 1000:.0f} ms" for name, seconds in slowest.items())
    report_check(
        max(slowest.values()) < limit_s,
        f"{count} clients disconnected; their slot was free after at most: {worst}",
    )
    report_check(equal == count, f"{equal} of {count} answers to other clients were the same")
    report_check(
        counted >= count and not failures, f"{counted:.0f} disconnects counted, {failures:.0f} failures"
    )


def _unread(server: Server) -> tuple[float, str]:
    """Disconnect before anything is read, in half of the cases with a reset."""
    connection = server.start_completion(**LONG)
    if random.random() < 0.5:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
    return _wait_until_idle(server), server.complete(**SHORT).text


def _streaming(server: Server) -> tuple[float, str]:
    """Disconnect during the stream."""
    connection = server.start_completion(**LONG)
    while b"data: " not in connection.recv(4096):
        pass
    connection.close()
    return _wait_until_idle(server), server.complete(**SHORT).text


def _queued(server: Server) -> tuple[float, str]:
    """Disconnect in the queue, between a client that holds the only slot and one that waits behind."""
    holder = server.start_completion(**LONG)
    holder.recv(4096)
    waits = server.start_completion(**LONG)
    server.wait_for_metric("tinyedge_queue_depth", 1)
    behind = server.start_completion(**SHORT)
    server.wait_for_metric("tinyedge_queue_depth", 2)
    waits.close()
    seconds = server.wait_for_metric("tinyedge_queue_depth", 1)
    holder.close()
    with behind:
        answer = b""
        while b"\r\n\r\n" not in answer or not answer.rstrip().endswith(b"}"):
            answer += behind.recv(65536)
    text = json.loads(answer.partition(b"\r\n\r\n")[2])["choices"][0]["text"]
    _wait_until_idle(server)
    return seconds, text


def _wait_until_idle(server: Server) -> float:
    return wait_until(
        lambda: (
            not server.read_metric("tinyedge_active_requests")
            and not server.read_metric("tinyedge_queue_depth")
        ),
        "the slot is not freed",
    )


def check_overload(bundle: Path, clients: int, rounds: int) -> None:
    """Send requests from more clients than there are slots."""
    with Server(bundle, "--parallel", 1, "--queue", 4) as server:
        reference = server.complete(**SHORT).text
        statuses: Counter[int] = Counter()
        unexpected: list[str] = []
        memory = []

        def client() -> None:
            for _ in range(rounds):
                answer = server.complete(**SHORT)
                statuses[answer.status] += 1
                if answer.status == 200 and answer.text != reference:
                    unexpected.append("different text")
                if answer.status == 429 and not answer.headers.get("retry-after", "").isdecimal():
                    unexpected.append("no Retry-After")

        for _ in range(3):
            _run_in_threads(client, clients)
            memory.append(server.read_process_stats()["rss"])
    ok = set(statuses) == {200, 429} and not unexpected
    found = f"{dict(sorted(statuses.items()))}, {len(unexpected)} unexpected answers"
    report_check(ok, f"{clients} clients on 1 + 4 slots: {found}")
    grown = (memory[-1] - memory[0]) / MB
    report_check(grown < FLAT_MB, f"memory after the crowds: {' '.join(f'{m / MB:.1f}' for m in memory)} MB")


def _run_in_threads(work: Callable[[], None], count: int) -> None:
    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT_S)


def check_signals(bundle: Path, count: int, limit_s: float) -> None:
    """Send signals in each state of the server."""
    slowest, bad = 0.0, []
    states = (_loading, _idle, _computing, _in_stream, _with_queue)
    for state in states:
        for number, code in ((signal.SIGTERM, 0), (signal.SIGINT, 130)):
            for attempt in range(count):
                with contextlib.ExitStack() as opened:
                    server = Server(bundle, "--max-tokens", 100_000)
                    state(server, opened, attempt)
                    server_exit = server.stop(number)
                slowest = max(slowest, server_exit.seconds)
                loading = state is _loading and server_exit.code in (
                    -number,
                    128 + number,
                )  # Python itself was starting
                if (server_exit.code != code and not loading) or "Traceback" in server_exit.stderr:
                    bad.append(f"{state.__name__} {number.name}: {server_exit}")
    total = len(states) * 2 * count
    report_check(not bad, f"{total - len(bad)} of {total} signals ended the server cleanly {bad or ''}")
    report_check(slowest < limit_s, f"the slowest exit took {slowest:.2f} s")


def _loading(server: Server, opened: contextlib.ExitStack, attempt: int) -> None:
    server.start()
    time.sleep(0.25 + 0.1 * attempt)


def _idle(server: Server, opened: contextlib.ExitStack, attempt: int) -> None:
    server.__enter__()
    opened.enter_context(server.connect())  # a connection without a request


def _computing(server: Server, opened: contextlib.ExitStack, attempt: int) -> None:
    server.__enter__()
    opened.enter_context(server.start_completion(**{**LONG, "stream": False}))
    server.wait_for_metric("tinyedge_active_requests", 1)


def _in_stream(server: Server, opened: contextlib.ExitStack, attempt: int) -> None:
    server.__enter__()
    opened.enter_context(server.start_completion(**LONG)).recv(4096)


def _with_queue(server: Server, opened: contextlib.ExitStack, attempt: int) -> None:
    _in_stream(server, opened, attempt)
    for _ in range(3):
        opened.enter_context(server.start_completion(**LONG))
    server.wait_for_metric("tinyedge_queue_depth", 3)


def check_memory(bundle: Path, requests: int) -> None:
    """Send mixed requests, two at a time."""
    warm_up = max(requests // 5, min(WARM_UP, requests // 2))
    step = max(1, (requests - warm_up) // SAMPLES)
    memory: list[tuple[float, float]] = []
    statuses: Counter[str] = Counter()
    with Server(bundle, "--max-tokens", 100_000) as server:
        actions = list(_make_actions(server, random.Random(1)))

        def send_requests(indices: range) -> None:
            for index in indices:
                statuses[actions[index % len(actions)]()] += 1

        first: dict[str, int] = {}
        for start in range(0, requests, step):
            half = min(step, requests - start) // 2
            parts = iter((range(start, start + half), range(start + half, min(start + step, requests))))
            _run_in_threads(lambda parts=parts: send_requests(next(parts)), 2)  # type: ignore[misc]
            _wait_until_idle(server)
            figures = server.read_process_stats()
            if start >= warm_up:
                first = first or figures
                memory.append((start / 1000, figures["rss"] / MB))
        last = server.read_process_stats()
    growth = slope([x for x, _ in memory], [y for _, y in memory])
    total = sum(statuses.values())
    bad = [name for name in statuses if name.startswith("5")]
    report_check(total == requests and not bad, f"{total} requests: {dict(sorted(statuses.items()))}")
    report_check(
        growth < MB_PER_1000,
        f"memory grew by {growth:.3f} MB per 1,000 requests, peak {last['peak'] / MB:.1f} MB",
    )
    flat = all(abs(last[name] - first[name]) <= 2 for name in ("threads", "files"))
    threads, files = (f"{first[name]} before, {last[name]} after" for name in ("threads", "files"))
    report_check(flat, f"threads {threads}; open files {files}")


def _make_actions(server: Server, draw: random.Random) -> Iterator[Callable[[], str]]:
    """Yield actions of clients, as functions that return a status or a description of the result."""

    def status(fields: dict[str, object], path: str = "/v1/completions") -> Callable[[], str]:
        return lambda: str(server.post(path, fields).status)

    def stream() -> str:
        answer = server.complete(stream=True, max_tokens=draw.randint(1, 40))
        return f"{answer.status} stream" if list(parse_events(answer.body)) else "5 empty"

    def leave() -> str:
        with server.start_completion(**LONG) as connection:
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
    yield lambda: str(getattr(server.send_raw(b"BAD\r\n\r\n"), "status", "closed"))
    yield lambda: str(getattr(server.send_raw(completion_request({"prompt": 1})), "status", "closed"))


if __name__ == "__main__":
    sys.exit(main())
