"""Screen of a page: every figure, limits that are exceeded, missing figures, and sparklines."""

import dataclasses
from typing import Any

import pytest

from tests.support.metrics_page import make_page
from tinyedge.top.prometheus_text import parse
from tinyedge.top.screen import SPARKLINE_WIDTH, render, sparkline
from tinyedge.top.snapshot import Snapshot

ADDRESS = "http://127.0.0.1:8080"


def make_snapshot(at: float = 100.0, without: str = "\n", **changes: float) -> Snapshot:
    return Snapshot.from_page(parse(make_page(without, **changes)), at)


def get_row(name: str, *history: Snapshot) -> str:
    (line,) = (line for line in render(history, ADDRESS) if line.startswith(name))
    return " ".join(line.removeprefix(name).split())


def test_the_complete_screen() -> None:
    assert render([make_snapshot()], ADDRESS) == [
        "tinyedge 0.2.0  http://127.0.0.1:8080  bundle 577cbd4d2580 int8  up 3 h 12 min",
        "",
        "response, ms p50 40.2  p95 71.3  p99 89.4",
        "tokens/s     401.2  first token 20.0 ms, then 3.0 ms per token",
        "memory, MB   RSS 67.5  peak 70.0  swap 0.0",
        "requests     -/s  123 total  1 active  2 queued",
        "tokens       completion 2,400  prompt 1,500",
        "errors       3: busy 3",
        "temperature  52 °C",
        "throttling   none since boot",
    ]


@pytest.mark.parametrize(
    ("name", "changes", "shown"),
    [
        ("response, ms", {"response_p95_seconds": 0.3}, "p50 40.2 p95 300.0 p99 89.4 ! p95 over 250"),
        ("response, ms", {"response_p95_seconds": float("nan")}, "p50 40.2 p95 - p99 89.4"),
        ("memory, MB", {"rss_bytes": 401 * 2**20}, "RSS 401.0 peak 70.0 swap 0.0 ! RSS over 400"),
        ("temperature", {"temperature_celsius": 81}, "81 °C ! over 70"),
        ("throttling", {"throttling_flags": 0x50005}, "! now: under-voltage, throttled"),
        ("throttling", {"throttling_flags": 0x20000}, "since boot: frequency capped"),
    ],
)
def test_a_figure(name: str, changes: dict[str, Any], shown: str) -> None:
    assert get_row(name, make_snapshot(**changes)) == shown


@pytest.mark.parametrize(
    ("without", "name", "shown"),
    [
        ("tinyedge_temperature", "temperature", "no sensor"),
        ("tinyedge_throttling", "throttling", "unknown"),
        ("tinyedge_errors", "errors", "none"),
        ("tinyedge_ttft", "tokens/s", "401.2 first token - ms, then 3.0 ms per token"),
        ("tinyedge_requests", "requests", "-/s 0 total 1 active 2 queued"),
        ("tinyedge_response", "response, ms", "p50 - p95 - p99 -"),
    ],
)
def test_a_figure_that_the_server_does_not_report(without: str, name: str, shown: str) -> None:
    assert get_row(name, make_snapshot(without=without)) == shown


def test_the_request_rate_and_a_restarted_server() -> None:
    before, now = make_snapshot(100.0), make_snapshot(102.0)
    more = dataclasses.replace(now, requests=now.requests + 5)
    assert get_row("requests", before, more).startswith("2.5/s 128 total")
    assert get_row("requests", more, dataclasses.replace(now, requests=1, at=104.0)).startswith("-/s 1 total")


def test_the_sparkline() -> None:
    history = [make_snapshot(temperature_celsius=value) for value in (10, 20, 40, 80)]
    assert sparkline(history, lambda each: each.temperature_c) == "▂▃▅█"
    gap = dataclasses.replace(history[0], temperature_c=None)
    assert sparkline([gap, *history[2:]], lambda each: each.temperature_c) == " ▅█"
    assert sparkline(history[:1], lambda each: each.temperature_c) == ""
    assert sparkline(history, lambda each: 0.0) == ""
    assert len(sparkline(history * 20, lambda each: each.temperature_c)) == SPARKLINE_WIDTH
    assert all(len(line) <= 100 for line in render(history * 20, ADDRESS))


def test_before_the_first_response_and_while_the_server_is_gone() -> None:
    assert render([], ADDRESS) == [f"tinyedge top  {ADDRESS}", "waiting for the first response"]
    assert render([], ADDRESS, "no answer")[1] == "! retrying: no answer"
    assert render([make_snapshot()], ADDRESS, "no answer")[1] == "! retrying: no answer"


def test_a_server_cannot_control_the_terminal() -> None:
    text = make_page().replace("577cbd4d2580aa", "\x1b[2Jevil").replace('kind="busy"', 'kind="\x1b]0;x"')
    shown = "\n".join(render([Snapshot.from_page(parse(text), 0.0)], ADDRESS))
    assert "\x1b" not in shown


def test_a_page_of_another_program_is_refused() -> None:
    with pytest.raises(ValueError, match="not of tinyedge serve"):
        Snapshot.from_page(parse("go_goroutines 7\n"), 0.0)
