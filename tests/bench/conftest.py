"""Runs of the bench that never ran: events as the worker sends them, measurements made of them."""

import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tinyedge.bench.machine import Device
from tinyedge.bench.measurement import Measurement
from tinyedge.bench.prompts import PROMPTS
from tinyedge.bench.worker import Job

MB = 1 << 20
NS = 1_000_000  # in a millisecond


def memory(rss: float = 50, peak: float = 55, swap: float = 0) -> dict[str, int]:
    """What the worker reads from the kernel; arguments in MB."""
    return {"rss": int(rss * MB), "peak": int(peak * MB), "swap": int(swap * MB)}


def make_events(
    e2e_ms: Sequence[float] = (20.0,) * 100,
    *,
    tokens: int = 4,
    rss: Callable[[int], float] = lambda index: 50,
    peak: float = 55,
    swap: float = 0,
) -> list[dict[str, Any]]:
    """A whole run: each response's tokens come evenly, the last of them when it is over."""
    names = list(PROMPTS)
    events: list[dict[str, Any]] = [
        {"event": "phase", "name": "start", "memory": memory(9)},
        {"event": "phase", "name": "imports", "memory": memory(40), "at_ns": 400 * NS},
        {
            "event": "phase",
            "name": "session",
            "memory": memory(48),
            "init_ns": 100 * NS,
            "sha256": "ab" * 32,
            "precision": "int8",
            "prompt_tokens": {name: [10, 10] for name in names},
        },
        {"event": "phase", "name": "prefill", "memory": memory(49), "first_token_ns": 600 * NS},
    ]
    for index, total in enumerate(e2e_ms):
        events.append(
            {
                "event": "sample",
                "prompt": names[index % len(names)],
                "tokens_ns": [int(total * NS * (i + 1) / tokens) for i in range(tokens)],
                "end_ns": int(total * NS),
                "memory": memory(rss(index), peak, swap),
            }
        )
    events.append({"event": "end", "memory": memory(50, peak, swap)})
    return events


def make_measurement(e2e_ms: Sequence[float] = (20.0,) * 100, *, tokens: int = 4, **more: Any) -> Measurement:
    job = Job("bundle", samples=len(e2e_ms), max_tokens=tokens)
    return Measurement.of(job, make_events(e2e_ms, tokens=tokens, **more), started_ns=0)


def command_that_says(events: Sequence[dict[str, Any]], then: str = "") -> list[str]:
    """The command of a worker that says `events` and then runs the Python statement `then`."""
    lines = "".join(json.dumps(event) + "\n" for event in events)
    return [
        sys.executable,
        "-S",
        "-c",
        f"import os, sys, time\nsys.stdout.write({lines!r})\nsys.stdout.flush()\n{then}",
    ]


DEVICE = Device(
    model="Raspberry Pi Zero 2 W Rev 1.0",
    machine="aarch64",
    cpu="Cortex-A53",
    cores=4,
    features=("asimd",),
    governor="ondemand",
    freq=1000.0,
    temp=45.1,
    throttled="0x0",
    ram=435_159_040,
    kernel="6.12.25+rpt-rpi-v8",
    python="3.11.2",
    onnxruntime="1.22.0",
)


@pytest.fixture
def job() -> Job:
    """The job that `events()` answers."""
    return Job("bundle", samples=100, max_tokens=4)


@pytest.fixture
def device() -> Device:
    return DEVICE


# The builders come as fixtures, because a conftest is no module to import from.
@pytest.fixture
def events() -> Callable[..., list[dict[str, Any]]]:
    return make_events


@pytest.fixture
def measurement() -> Callable[..., Measurement]:
    return make_measurement


@pytest.fixture
def says() -> Callable[..., list[str]]:
    return command_that_says
