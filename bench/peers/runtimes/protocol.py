"""Common part of the programs in this folder: one request in, one line of figures out.

    use_X.py REQUEST     REQUEST is a JSON object, see `Request` in ../rounds.py

Each program has a function `load(request)` that returns `generate(seed, emit)`. `generate` continues the
request's prompt by its number of tokens, drawn from the top k at the temperature, and calls `emit` with the
text of each token as it comes. It returns tokens/s if the runtime measures them itself, else None.

With `cold` in the request, the program prints the first token and exits; its parent measures the time. This
module imports little, because its imports are part of a peer's cold start.
"""

import json
import os
import sys
import time

TYPE_CHECKING = False  # not imported: `typing` would be part of a peer's cold start
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    JsonObject = dict[str, Any]
    Emit = Callable[[str], object]
    Generate = Callable[[int, Emit], float | None]

MIN_GENERATIONS = 3
PATIENCE_S = 60  # how much longer than requested they may take


def serve(load: "Callable[[JsonObject], Generate]") -> None:
    """Load the model and measure what the request asks for, in this process with one thread."""
    request: JsonObject = json.loads(sys.argv[1])
    if request["cold"]:
        load(request | {"tokens": 1})(request["seed"], show)
        sys.stdout.flush()
        os._exit(0)  # the shutdown of a runtime is not part of its start
    began = time.perf_counter()
    generate = load(request)
    figures = {"load_s": time.perf_counter() - began, **measure(generate, request)}
    print(json.dumps(figures | {"peak_rss_bytes": read_peak_rss()}))
    sys.stdout.flush()
    os._exit(0)


def show(text: str) -> None:
    """Print a token at once; a token without text as a line break."""
    sys.stdout.write(text or "\n")
    sys.stdout.flush()


def measure(generate: "Generate", request: "JsonObject") -> dict[str, list[float]]:
    """Generate for the requested time, after two generations to warm up.

    A generation that ended before its number of tokens is ignored: a runtime may draw the end of the text.

    Returns:
        Lists with one figure for each generation.
    """
    rates: list[float] = []
    cpu_times: list[float] = []
    first_times: list[float] = []
    for _ in range(2):
        generate(request["seed"], lambda text: None)
    end = time.perf_counter() + request["seconds"]
    seed = request["seed"]
    while (now := time.perf_counter()) < end or (len(rates) < MIN_GENERATIONS and now < end + PATIENCE_S):
        seed += 1
        cpu = time.process_time()
        began = time.perf_counter()
        moments, own_rate = time_tokens(generate, seed)
        cpu = time.process_time() - cpu
        if len(moments) < request["tokens"]:
            continue
        rate = (request["tokens"] - 1) / (moments[request["tokens"] - 1] - moments[0])
        rates.append(max(rate, own_rate or 0))
        cpu_times.append(cpu / request["tokens"] * 1e6)
        first_times.append((moments[0] - began) * 1e3)
    if not rates:
        sys.exit("every text ended before its number of tokens")
    return {"tokens_per_s": rates, "cpu_us_per_token": cpu_times, "ttft_ms": first_times}


def time_tokens(generate: "Generate", seed: int) -> tuple[list[float], float | None]:
    """Generate once; return the time of each token, and the runtime's own rate."""
    moments: list[float] = []
    own_rate = generate(seed, lambda text: moments.append(time.perf_counter()))
    return moments, own_rate


def read_peak_rss() -> int:
    """Return the peak resident memory of this process, in bytes."""
    with open("/proc/self/status") as status:  # noqa: PTH123 - pathlib would be one more import
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
