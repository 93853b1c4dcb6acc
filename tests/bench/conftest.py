"""Simulated runs of the benchmark: events of a worker, and the measurements and reports made of them."""

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
from tinyedge.host.machine import Device
from tinyedge.host.system_memory import SwapArea

MB = 1 << 20
NS = 1_000_000  # per millisecond


def make_memory(rss: float = 50, peak: float = 55, swap: float = 0) -> dict[str, int]:
    """Return the memory that the worker reports, in bytes; the arguments are in MB."""
    return {"rss": int(rss * MB), "peak": int(peak * MB), "swap": int(swap * MB)}


def make_phase_memory(rss: float) -> dict[str, int | None]:
    """Return the memory at the end of a phase; PSS is a quarter of RSS."""
    return {**make_memory(rss), "pss": int(rss * MB / 4)}


def make_events(
    e2e_ms: Sequence[float] = (20.0,) * 100,
    *,
    tokens: int = 4,
    rss: Callable[[int], float] = lambda index: 50,
    peak: float = 55,
    swap: float = 0,
    settled: bool = True,
    waited: float | None = 0.0,
    ngrams: dict[str, int] | None = None,
) -> list[dict[str, Any]]:
    """Return the events of a complete run; tokens come at equal intervals up to the end of a response.

    Args:
        e2e_ms: Duration of each response.
        tokens: Tokens of each response.
        rss: Resident memory after each response, in MB.
        peak: Peak memory, in MB.
        swap: Swapped memory, in MB.
        settled: Whether the warm-up settled.
        waited: Share of the time in which other programs used the processor.
        ngrams: Size of the bundle's n-grams and how much of it was read, in bytes.
    """
    names = list(PROMPTS)
    lasted = int(sum(e2e_ms) * NS)
    events: list[dict[str, Any]] = [
        {"event": "phase", "name": "bare", "memory": make_phase_memory(9)},
        {"event": "phase", "name": "imports", "memory": make_phase_memory(40), "at_ns": 400 * NS},
        {
            "event": "phase",
            "name": "session",
            "memory": make_phase_memory(48),
            "init_ns": 100 * NS,
            "sha256": "ab" * 32,
            "precision": "int8",
            "engine": {"name": "onnxruntime", "instructions": None, "reason": "the kernels are missing"},
            "model_id": "0123456789ab",
            "model_bytes": 2 * MB,
            "prompt_tokens": {name: [10, 10] for name in names},
        },
        {"event": "phase", "name": "prefill", "memory": make_phase_memory(49), "first_token_ns": 600 * NS},
        {"event": "phase", "name": "decode", "memory": make_phase_memory(49.5)},
        {"event": "warm_up", "rounds_ns": [30 * NS, 20 * NS, 20 * NS], "settled": settled},
    ]
    for index, total in enumerate(e2e_ms):
        events.append(
            {
                "event": "sample",
                "prompt": names[index % len(names)],
                "tokens_ns": [int(total * NS * (i + 1) / tokens) for i in range(tokens)],
                "end_ns": int(total * NS),
                "memory": make_memory(rss(index), peak, swap),
            }
        )
    waited_ns = None if waited is None else int(waited * lasted)
    end = {"memory": make_memory(50, peak, swap), "lasted_ns": lasted, "waited_ns": waited_ns}
    events.append({"event": "end", **end, "ngrams": ngrams})
    return events


def make_measurement(e2e_ms: Sequence[float] = (20.0,) * 100, *, tokens: int = 4, **more: Any) -> Measurement:
    job = Job("bundle", samples=len(e2e_ms), max_tokens=tokens)
    return Measurement.from_events(
        job, make_events(e2e_ms, tokens=tokens, **more), started_ns=0, min_samples=len(e2e_ms)
    )


def make_worker_command(events: Sequence[dict[str, Any]], then: str = "") -> list[str]:
    """Return the command of a worker that sends `events` and then runs the Python statement `then`."""
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
    """Make a report.

    Args:
        e2e_ms: Duration of each response.
        limits: The limits.
        conditions: Conditions during the run.
        measured: Arguments of the measurement.
        more: Arguments of the report.
    """
    found = make_measurement(e2e_ms, **(measured or {}))
    return Report.from_measurement(found, limits or Limits(), DEVICE, conditions, **more)


@pytest.fixture
def job() -> Job:
    """Return the job of the default events."""
    return Job("bundle", samples=100, max_tokens=4)


@pytest.fixture
def device() -> Device:
    return DEVICE


# The builders are fixtures, because a conftest should not be imported.
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
def make_command() -> Callable[..., list[str]]:
    return make_worker_command
