"""What the four programs beside this file have in common: one request in, one line of figures out.

    use_X.py REQUEST     REQUEST is a JSON object, see `Request` in ../rounds.py

Each of them has a `load(request)` that returns `generate(seed, emit)`: it continues the request's prompt by
its number of tokens, drawn from the top k at the temperature, and calls `emit` with the text of each token
as it comes. It returns tokens/s by the runtime's own count where it has one, else None.

`cold` in a request: show the first token, and end. The parent has the clock then. Imports little: what is
imported here is part of a peer's cold start.
"""

import json
import os
import sys
import time

LEAST, PATIENCE_S = 3, 60  # generations, and how much longer than asked they may take


def serve(load):
    """Loads, and measures what the request asks for, in this process with one thread."""
    request = json.loads(sys.argv[1])
    if request["cold"]:
        load(request | {"tokens": 1})(request["seed"], show)
        sys.stdout.flush()
        os._exit(0)  # what a runtime tears down is no part of its start
    began = time.perf_counter()
    generate = load(request)
    figures = {"load_s": time.perf_counter() - began, **measured(generate, request)}
    print(json.dumps(figures | {"peak_rss_bytes": peak_rss()}))
    sys.stdout.flush()
    os._exit(0)


def show(text):
    """Puts a token where the parent sees it, at once; one that has no text as a line break."""
    sys.stdout.write(text or "\n")
    sys.stdout.flush()


def measured(generate, request):
    """Generations until `seconds` are over, after two that warm up: lists of a figure each.

    A generation that ended before its number of tokens is left out: one may draw the end of the text.
    """
    rates, processor, firsts = [], [], []
    for _ in range(2):
        generate(request["seed"], lambda text: None)
    until = time.perf_counter() + request["seconds"]
    seed = request["seed"]
    while (now := time.perf_counter()) < until or (len(rates) < LEAST and now < until + PATIENCE_S):
        moments = []
        seed += 1
        cpu = time.process_time()
        began = time.perf_counter()
        own = generate(seed, lambda text, note=moments.append: note(time.perf_counter()))
        cpu = time.process_time() - cpu
        if len(moments) < request["tokens"]:
            continue
        rate = (request["tokens"] - 1) / (moments[request["tokens"] - 1] - moments[0])
        rates.append(max(rate, own or 0))
        processor.append(cpu / request["tokens"] * 1e6)
        firsts.append((moments[0] - began) * 1e3)
    if not rates:
        sys.exit("every text ended before its number of tokens")
    return {"tokens_per_s": rates, "cpu_us_per_token": processor, "ttft_ms": firsts}


def peak_rss():
    """The most memory this process ever had resident, in bytes."""
    with open("/proc/self/status") as status:  # noqa: PTH123 - pathlib would be imported for it
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
