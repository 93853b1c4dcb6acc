"""From samples to figures to verdict: a bench that can't be fooled."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tinyedge.bench import table
from tinyedge.bench.gate import Limits
from tinyedge.bench.machine import Device
from tinyedge.bench.measurement import Measurement
from tinyedge.bench.report import Report
from tinyedge.errors import BenchError

MB = 1 << 20
Measure = Callable[..., Measurement]


def test_an_injected_stall_raises_p99_and_max_but_not_p50(measurement: Measure, device: Device) -> None:
    calm = Report.of(measurement([20.0] * 100), Limits(), device)
    stalled = Report.of(measurement([20.0] * 98 + [900.0] * 2), Limits(), device)
    assert calm.latency["e2e"].p99 == calm.latency["e2e"].max == 20.0
    assert stalled.latency["e2e"].p99 == stalled.latency["e2e"].max == 900.0
    assert stalled.latency["e2e"].p50 == calm.latency["e2e"].p50 == 20.0
    assert stalled.latency["itl"].max > calm.latency["itl"].max


def test_six_percent_slow_samples_fail_wherever_they_are(measurement: Measure, device: Device) -> None:
    for start in (0, 47, 94):
        e2e = [20.0] * 100
        e2e[start : start + 6] = [400.0] * 6
        report = Report.of(measurement(e2e), Limits(), device)
        assert report.verdict == "fail"
        assert [gate.ok for gate in report.gates] == [True, True, False]


def test_five_percent_slow_samples_keep_the_p95_but_not_its_bound(
    measurement: Measure, device: Device
) -> None:
    report = Report.of(measurement([20.0] * 95 + [400.0] * 5), Limits(), device)
    assert report.latency["e2e"].p95 == 20.0
    assert report.p95_upper_99 == 400.0


def test_swapped_memory_counts_as_memory(measurement: Measure, device: Device) -> None:
    small = measurement(rss=lambda index: 50, peak=120, swap=0)
    assert Report.of(small, Limits(), device).verdict == "pass"
    swapped = Report.of(measurement(rss=lambda index: 50, peak=120, swap=395), Limits(), device)
    assert {gate.name: gate.measured for gate in swapped.gates} == {"rss": 445, "peak": 515, "p95": 20}
    assert [gate.ok for gate in swapped.gates] == [False, False, True]


def test_too_few_samples_are_inconclusive(measurement: Measure, device: Device) -> None:
    assert Report.of(measurement([20.0] * 19), Limits(), device).verdict == "inconclusive"
    assert Report.of(measurement([20.0] * 20), Limits(), device).verdict == "pass"


def test_throttling_is_inconclusive(measurement: Measure, device: Device) -> None:
    assert Report.of(measurement(), Limits(), device, throttled=True).verdict == "inconclusive"


def test_figures_are_derived_as_documented(measurement: Measure, device: Device) -> None:
    report = Report.of(measurement([40.0, 80.0] * 10, tokens=4), Limits(), device)
    assert report.latency["ttft"].max == 20.0
    assert report.latency["itl"].n == 60
    assert report.latency["tpot"].max == pytest.approx(20.0)
    assert report.prefill_tps == pytest.approx(20 * 10 / 0.3)  # 10 prompt tokens each, 10 and 20 ms
    assert report.decode_tps == pytest.approx(60 / 0.9)
    assert report.measurement.cold_start_s == pytest.approx(0.6)
    assert report.measurement.init_s == pytest.approx(0.1)


def test_rss_that_grows_has_a_slope(measurement: Measure, device: Device) -> None:
    report = Report.of(measurement(rss=lambda index: 50 + index / 10), Limits(), device)
    assert report.rss_slope == pytest.approx(0.1 * MB / 4 * 1000, rel=1e-4)  # 4 tokens a sample
    assert report.steady_rss == pytest.approx(54.95 * MB, abs=2)


def test_json_has_the_fields_that_the_design_names(
    measurement: Measure, device: Device, tmp_path: Path
) -> None:
    path = tmp_path / "report.json"
    Report.of(measurement(), Limits(), device).write(path)
    report = json.loads(path.read_text())
    assert report["schema"] == "tinyedge.bench/1"
    assert report["verdict"] == "pass"
    assert all(
        set(gate) == {"name", "limit", "measured", "unit", "ok", "sentence"} for gate in report["gates"]
    )
    assert set(report["latency_ms"]) == {"e2e", "ttft", "itl", "tpot"}
    percentiles = {"p50", "p90", "p95", "p99", "mean", "stddev", "min", "max", "n"}
    assert all(set(row) == percentiles for row in report["latency_ms"].values())
    assert {"import_rss", "session_rss", "steady_rss", "peak_rss", "swap"} <= set(report["memory"])
    assert report["memory"]["import_rss"] == 40 * MB
    assert set(report["device"]) == {
        *("model", "machine", "cpu", "cores", "features", "governor", "freq", "temp", "throttled", "ram"),
        *("kernel", "python", "onnxruntime"),
    }
    assert report["bundle"] == {"sha256": "ab" * 32, "precision": "int8"}
    assert len(report["raw_samples"]) == report["samples"] == 100
    assert {"p95_upper_99", "prefill_tps", "decode_tps", "cold_start_s", "init_s"} <= set(report)
    assert (report["max_tokens"], report["prompt_tokens"]) == (4, 10)


def test_a_full_disk_is_an_error_and_leaves_nothing(
    measurement: Measure, device: Device, tmp_path: Path
) -> None:
    folder = tmp_path / "gone"
    with pytest.raises(BenchError, match=r"report\.json cannot be written"):
        Report.of(measurement(), Limits(), device).write(folder / "report.json")
    assert list(tmp_path.iterdir()) == []


def test_responses_of_one_token_have_no_gaps(measurement: Measure, device: Device, tmp_path: Path) -> None:
    report = Report.of(measurement(tokens=1), Limits(), device)
    assert report.latency["itl"] is report.latency["tpot"] is report.decode_tps is None
    report.write(tmp_path / "report.json")
    assert "tg (decode) none" in table.render(report)


@pytest.mark.parametrize("e2e", [[20.0] * 100, [123456.7] * 5])
def test_the_table_fits_a_screen_of_80_columns(
    measurement: Measure, device: Device, e2e: list[float]
) -> None:
    text = table.render(Report.of(measurement(e2e, rss=lambda index: 1500), Limits(), device))
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) <= 24
    assert "✗ steady memory" in text
    assert "verdict: fail" in text


def broken(events: list[dict[str, Any]], change: Callable[[list[dict[str, Any]]], object]) -> list[Any]:
    change(events)
    return events


@pytest.mark.parametrize(
    "change",
    [
        lambda events: events.clear(),
        lambda events: events.pop(),  # no end
        lambda events: events.pop(50),  # a sample lost
        lambda events: events.insert(50, events[50]),
        lambda events: events.pop(1),  # a phase lost
        lambda events: events[60].update(tokens_ns=[1, 2, 3]),
        lambda events: events[60].update(tokens_ns=[4, 3, 2, 1]),
        lambda events: events[60].update(tokens_ns=["1", 2, 3, 4]),
        lambda events: events[60].update(end_ns=0),
        lambda events: events[60].update(prompt="unheard of"),
        lambda events: events[60].update(memory={"rss": 0, "peak": 0, "swap": 0}),
        lambda events: events[60].pop("memory"),
        lambda events: events[2].pop("sha256"),
        lambda events: events[2].update(prompt_tokens=None),
        lambda events: events[3].update(first_token_ns=None),
    ],
)
def test_a_part_of_a_run_is_no_measurement(
    events: Callable[..., list[Any]], job: Any, change: Callable[[list[Any]], object]
) -> None:
    assert Measurement.of(job, events(), 0).samples
    with pytest.raises(BenchError, match="not a measurement"):
        Measurement.of(job, broken(events(), change), 0)
