"""Samples, figures and verdict: wrong or incomplete data never passes."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tinyedge.bench import table
from tinyedge.bench.limits import Limits
from tinyedge.bench.measurement import Measurement
from tinyedge.bench.report import Report
from tinyedge.core.errors import BenchError
from tinyedge.core.stats import Summary
from tinyedge.text.evaluate import Quality

MB = 1 << 20
Make = Callable[..., Report]


def get_summary(report: Report, name: str) -> Summary:
    summary = report.latency[name]
    assert summary is not None
    return summary


def test_an_injected_stall_raises_p99_and_max_but_not_p50(report: Make) -> None:
    calm, stalled = report([20.0] * 100), report([20.0] * 98 + [900.0] * 2)
    assert get_summary(calm, "e2e").p99 == get_summary(calm, "e2e").max == 20.0
    assert get_summary(stalled, "e2e").p99 == get_summary(stalled, "e2e").max == 900.0
    assert get_summary(stalled, "e2e").p50 == get_summary(calm, "e2e").p50 == 20.0
    assert get_summary(stalled, "itl").max > get_summary(calm, "itl").max


@pytest.mark.parametrize("at", [0, 50, 99])
def test_one_stalled_response_of_a_hundred_is_inconclusive(report: Make, at: int) -> None:
    e2e = [20.0] * 100
    e2e[at] = 900.0
    found = report(e2e)
    assert found.verdict == "inconclusive"
    assert "--until-sure" in found.gates[2].sentence
    assert report([20.0] * 129 + [900.0]).verdict == "pass"  # of 130, one may be chance


def test_six_percent_slow_samples_fail_at_any_position(report: Make) -> None:
    for start in (0, 47, 94):
        e2e = [20.0] * 100
        e2e[start : start + 6] = [400.0] * 6
        found = report(e2e)
        assert found.verdict == "fail"
        assert [gate.ok for gate in found.gates] == [True, True, False]


def test_five_percent_slow_samples_exceed_the_bound_but_not_the_p95(report: Make) -> None:
    found = report([20.0] * 95 + [400.0] * 5)
    assert get_summary(found, "e2e").p95 == 20.0
    assert found.p95_upper_99 == 400.0
    assert found.verdict == "inconclusive"
    assert report([20.0] * 95 + [400.0] * 5, basis="estimate").verdict == "pass"


def test_swapped_memory_counts_as_memory(report: Make) -> None:
    assert report(measured={"peak": 120, "swap": 0}).verdict == "pass"
    swapped = report(measured={"peak": 120, "swap": 395})
    assert {gate.name: gate.measured for gate in swapped.gates} == {"rss": 445, "peak": 515, "p95": 20}
    assert [gate.ok for gate in swapped.gates] == [False, False, True]
    assert swapped.verdict == "fail"
    slow = report([300.0] * 100, measured={"swap": 1})
    assert (slow.verdict, slow.gates[2].ok) == ("inconclusive", None)  # swap slows


def test_too_few_samples_are_inconclusive(report: Make) -> None:
    assert report([20.0] * 19).verdict == "inconclusive"
    assert report([20.0] * 20).verdict == "pass"
    assert report([20.0] * 20).basis == "estimate"
    assert report([20.0] * 89, basis="bound").verdict == "inconclusive"


def test_figures_are_derived_as_documented(report: Make) -> None:
    found = report([40.0, 80.0] * 10, measured={"tokens": 4})
    assert get_summary(found, "ttft").max == 20.0
    assert get_summary(found, "itl").n == 60
    assert get_summary(found, "tpot").max == pytest.approx(20.0)
    assert found.prefill_tps == pytest.approx(20 * 10 / 0.3)  # 10 prompt tokens each, 10 and 20 ms
    assert found.decode_tps == pytest.approx(60 / 0.9)
    assert found.measurement.cold_start_s == pytest.approx(0.6)
    assert found.measurement.init_s == pytest.approx(0.1)
    assert found.measurement.lasted_s == pytest.approx(1.2)


def test_growing_rss_has_a_slope(report: Make) -> None:
    found = report(measured={"rss": lambda index: 50 + index / 10})
    assert found.rss_slope == pytest.approx(0.1 * MB / 4 * 1000, rel=1e-4)  # 4 tokens a sample
    assert found.steady_rss == pytest.approx(54.95 * MB, abs=2)


def test_cold_starts_and_quality_have_gates_if_they_have_a_limit(report: Make) -> None:
    limits = Limits(max_cold_start_s=2, max_bits_per_byte=2)
    quality = [Quality("en", 1.9, 400.0, 1000, 4000, 0.0), Quality("es", 2.2, 400.0, 1000, 4000, 0.0)]
    found = report(limits=limits, cold_starts_s=[1.0, 5.0, 1.5], quality=quality)
    assert {gate.name: (gate.measured, gate.ok) for gate in found.gates[3:]} == {
        "cold_start": (1.5, True),
        "quality:en": (1.9, True),
        "quality:es": (2.2, False),
    }
    assert found.verdict == "fail"
    text = table.render(found)
    assert "es 2.2000" in text
    assert "3 complete commands: median 1.50, longest 5.00" in text


def test_the_json_has_the_documented_fields(report: Make) -> None:
    found = json.loads(json.dumps(report().to_dict(), allow_nan=False))
    assert found["schema"] == "tinyedge.bench/1"
    assert found["verdict"] == "pass"
    gate = {"name", "limit", "measured", "unit", "ok", "sentence"}
    assert all(set(one) == gate | {"kind", "bound", "lower", "share"} for one in found["gates"])
    assert [one["bound"] for one in found["gates"]] == [None, None, 20.0]
    assert set(found["latency_ms"]) == {"e2e", "ttft", "itl", "tpot"}
    percentiles = {"p50", "p90", "p95", "p99", "mean", "stddev", "min", "max", "n"}
    assert all(set(row) == percentiles for row in found["latency_ms"].values())
    assert {"import_rss", "session_rss", "steady_rss", "peak_rss", "swap"} <= set(found["memory"])
    assert found["memory"]["import_rss"] == 40 * MB
    assert list(found["memory"]["phases"]) == ["bare", "imports", "session", "prefill", "decode"]
    assert set(found["memory"]["phases"]["decode"]) == {"rss", "peak", "swap", "pss"}
    assert set(found["device"]) == {
        *("model", "machine", "cpu", "cores", "features", "governor", "freq", "temp", "throttled", "ram"),
        *("kernel", "python", "onnxruntime", "memory_controller", "swap", "engine"),
    }
    assert found["bundle"] == {
        "sha256": "ab" * 32,
        "model_id": "0123456789ab",
        "precision": "int8",
        "model_bytes": 2 * MB,
        "ngram_bytes": None,
        "ngram_bytes_read": None,
    }
    assert len(found["raw_samples"]) == found["samples"] == 100
    assert {"p95_upper_99", "prefill_tps", "decode_tps", "cold_start_s", "init_s"} <= set(found)
    assert (found["max_tokens"], found["prompt_tokens"]) == (4, 10)
    assert found["warm_up"] == {"rounds_ms": [30.0, 20.0, 20.0], "settled": True}
    assert found["conditions"]["before"] == {"mhz": 1000.0, "temperature": 45.1, "throttled": "0x0"}
    assert (found["gate_on"], found["prompt_set"]) == ("bound", "bilingual-8/1")


def test_the_size_of_the_ngrams_and_what_was_read_is_reported(report: Make) -> None:
    made = report(measured={"ngrams": {"size": 8 * MB, "read": 3 * MB}})
    assert made.to_dict()["bundle"]["ngram_bytes"] == 8 * MB
    assert made.to_dict()["bundle"]["ngram_bytes_read"] == 3 * MB
    assert "n-grams: 3.0 MB of the table's 8.0 MB were read" in table.render(made)
    assert "n-grams" not in table.render(report())


def test_responses_of_one_token_have_no_gaps(report: Make) -> None:
    found = report(measured={"tokens": 1})
    assert (found.latency["itl"], found.latency["tpot"], found.decode_tps) == (None, None, None)
    assert json.dumps(found.to_dict(), allow_nan=False)
    assert "tg (decode) none" in table.render(found)


@pytest.mark.parametrize("e2e", [[20.0] * 100, [123456.7] * 5])
def test_the_table_fits_a_screen_of_80_columns(report: Make, e2e: list[float]) -> None:
    text = table.render(report(e2e, measured={"rss": lambda index: 1500}))
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) <= 25
    assert "✗ steady memory" in text
    assert "verdict: fail" in text


@pytest.mark.parametrize("width", [60, 61, 68, 76, 80, 100])
@pytest.mark.parametrize("e2e", [[20.0] * 100, [123456.7] * 5])
def test_no_word_of_the_table_is_cut_at_any_width(report: Make, e2e: list[float], width: int) -> None:
    quality = [Quality("english", 1.9, 400.0, 1000, 4000, 0.0)]
    found = report(
        e2e, quality=quality, cold_starts_s=[1.0] * 5, measured={"waited": 0.5, "rss": lambda index: 1500}
    )
    text, wide = table.render(found, width), table.render(found, 1000)
    assert max(map(len, text.splitlines())) <= width
    figures = [line.split() for line in text.splitlines() if line.startswith("  e2e")]
    assert figures[0][3] in ("20.00", "123456.70", "123457")  # rounded where the column is narrow
    if width >= 76:
        assert text.split() == wide.split()
    named = "bare imports session prefill decode steady peak swap"
    assert [word for word in text.split() if word in named.split()][:8] == named.split() or width < 80


def test_a_terminal_gets_lines_of_60_to_100_columns_and_other_output_80() -> None:
    assert [table.choose_width(columns) for columns in (None, 20, 60, 72, 100, 300)] == [
        80,
        60,
        60,
        72,
        100,
        100,
    ]


def test_the_table_prints_why_a_run_is_unreliable(report: Make) -> None:
    text = table.render(report([300.0] * 100, measured={"waited": 0.5}))
    assert "doubt: other programs used the processor for 50% of the time" in text
    assert "? p95 of a response" in text
    assert text.endswith("verdict: inconclusive")


@pytest.mark.parametrize(("samples", "said"), [(10, 2), (30, 1), (100, 0)])
def test_the_table_says_once_and_the_same_what_few_samples_are_too_few_for(
    report: Make, samples: int, said: int
) -> None:
    text = " ".join(table.render(report([20.0] * samples)).split())
    assert text.count(f"{samples} samples are too few") == said
    assert ("--samples 90" in text or "90 or more also bound it" in text) == (said > 0)


def apply_change(events: list[dict[str, Any]], change: Callable[[list[dict[str, Any]]], object]) -> list[Any]:
    change(events)
    return events


@pytest.mark.parametrize(
    "change",
    [
        lambda events: events.clear(),
        lambda events: events.pop(),  # no end
        lambda events: events.pop(50),  # a missing sample
        lambda events: events.insert(50, events[50]),
        lambda events: events.pop(1),  # a missing phase
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
        lambda events: events.pop(5),  # no warm-up
        lambda events: events[5].update(rounds_ns=None),
        lambda events: events[60].update(prompt="en-word"),  # wrong order
        lambda events: events[-1].update(lasted_ns=0),
        lambda events: events[-1].update(ngrams={"size": 1, "read": 2}),
        lambda events: events[-1].pop("ngrams"),
        lambda events: events[4]["memory"].pop("pss"),
    ],
)
def test_an_incomplete_or_invalid_run_is_refused(
    events: Callable[..., list[Any]], job: Any, change: Callable[[list[Any]], object]
) -> None:
    assert Measurement.from_events(job, events(), 0, job.samples).samples
    with pytest.raises(BenchError, match="not a complete measurement"):
        Measurement.from_events(job, apply_change(events(), change), 0, job.samples)


def test_a_worker_may_stop_after_the_minimum_of_samples(events: Callable[..., list[Any]], job: Any) -> None:
    part = [*events()[:46], events()[-1]]
    assert len(Measurement.from_events(job, part, 0, min_samples=40).samples) == 40
    with pytest.raises(BenchError, match="41 samples were expected"):
        Measurement.from_events(job, part, 0, min_samples=41)
