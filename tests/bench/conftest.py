"""Runs of the bench that never ran: events as the worker sends them, measurements made of them."""

import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tinyedge.bench.conditions import Conditions, Reading
from tinyedge.bench.limits import Limits
from tinyedge.bench.measurement import Measurement
from tinyedge.bench.prompts import PROMPTS
from tinyedge.bench.report import Report
from tinyedge.bench.worker import Job
from tinyedge.host.machine import Device, SwapArea

MB = 1 << 20
NS = 1_000_000  # in a millisecond


def memory(rss: float = 50, peak: float = 55, swap: float = 0) -> dict[str, int]:
    """What the worker reads from the kernel; arguments in MB."""
    return {"rss": int(rss * MB), "peak": int(peak * MB), "swap": int(swap * MB)}


def whole_memory(rss: float) -> dict[str, int | None]:
    """At a phase's end; a quarter of it is shared with nobody."""
    return {**memory(rss), "pss": int(rss * MB / 4)}


def make_events(
    e2e_ms: Sequence[float] = (20.0,) * 100,
    *,
    tokens: int = 4,
    rss: Callable[[int], float] = lambda index: 50,
    peak: float = 55,
    swap: float = 0,
    settled: bool = True,
    waited: float | None = 0.0,
) -> list[dict[str, Any]]:
    """A whole run: each response's tokens come evenly, the last of them when it is over.

    waited: share of the time that other programs had the processor.
    """
    names = list(PROMPTS)
    lasted = int(sum(e2e_ms) * NS)
    events: list[dict[str, Any]] = [
        {"event": "phase", "name": "bare", "memory": whole_memory(9)},
        {"event": "phase", "name": "imports", "memory": whole_memory(40), "at_ns": 400 * NS},
        {
            "event": "phase",
            "name": "session",
            "memory": whole_memory(48),
            "init_ns": 100 * NS,
            "sha256": "ab" * 32,
            "precision": "int8",
            "model_bytes": 2 * MB,
            "prompt_tokens": {name: [10, 10] for name in names},
        },
        {"event": "phase", "name": "prefill", "memory": whole_memory(49), "first_token_ns": 600 * NS},
        {"event": "phase", "name": "decode", "memory": whole_memory(49.5)},
        {"event": "warm_up", "rounds_ns": [30 * NS, 20 * NS, 20 * NS], "settled": settled},
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
    waited_ns = None if waited is None else int(waited * lasted)
    end = {"memory": memory(50, peak, swap), "lasted_ns": lasted, "waited_ns": waited_ns}
    events.append({"event": "end", **end})
    return events


def make_measurement(e2e_ms: Sequence[float] = (20.0,) * 100, *, tokens: int = 4, **more: Any) -> Measurement:
    job = Job("bundle", samples=len(e2e_ms), max_tokens=tokens)
    return Measurement.from_events(
        job, make_events(e2e_ms, tokens=tokens, **more), started_ns=0, min_samples=len(e2e_ms)
    )


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
    memory_controller=False,
    swap=(SwapArea("/dev/zram0", 200 * MB, 0),),
)
CALM = Reading(mhz=1000.0, temperature=45.1, throttled=0)
QUIET = Conditions(before=CALM, after=CALM, mhz=(1000.0, 1000.0))


def make_report(
    e2e_ms: Sequence[float] = (20.0,) * 100,
    limits: Limits | None = None,
    conditions: Conditions = QUIET,
    measured: dict[str, Any] | None = None,
    **more: Any,
) -> Report:
    """measured: of the measurement, more: of the report itself."""
    found = make_measurement(e2e_ms, **(measured or {}))
    return Report.from_measurement(found, limits or Limits(), DEVICE, conditions, **more)


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
def report() -> Callable[..., Report]:
    return make_report


@pytest.fixture
def says() -> Callable[..., list[str]]:
    return command_that_says
