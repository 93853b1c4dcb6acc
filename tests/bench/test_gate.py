"""Gates, their sentences and the verdict."""

import math
from typing import Any

import pytest

from tinyedge.bench.conditions import Doubts
from tinyedge.bench.gate import (
    KINDS,
    MB,
    Gate,
    MeasuredFigures,
    choose_basis,
    combine_verdict,
    evaluate_gates,
    evaluate_percentile,
    explain_few_samples,
)
from tinyedge.bench.limits import Limits


def test_sentences_contain_the_figure_and_its_distance_from_the_limit() -> None:
    assert Gate("p95", 250, 12.3).sentence == "p95 of a response: 12.3 ms, limit 250 ms, 95% to spare"
    assert Gate("p95", 250, 312.5).sentence == "p95 of a response: 312.5 ms, limit 250 ms, 25% over"
    assert Gate("p95", 250, 12.3, doubt="only 5").sentence.endswith("limit 250 ms, inconclusive: only 5")
    bound = Gate("p95", 250, 20.0, bound=25.0, basis="bound").sentence
    assert (
        bound == "p95 of a response: 20.0 ms, with 99% confidence under 25.0 ms, limit 250 ms, 90% to spare"
    )
    text = Gate("quality", 2.0, 2.5, subject="en")
    assert (text.name, text.sentence) == (
        "quality:en",
        "quality on en: 2.500 bits per byte, limit 2 bits per byte, 25% over",
    )


def test_a_minimum_must_be_reached() -> None:
    assert Gate("decode", 100, 100.0).ok is True
    fast, slow = Gate("decode", 100, 400.0), Gate("decode", 100, 75.0)
    assert (fast.ok, fast.share) == (True, 0.25)
    assert fast.sentence == "decoding: 400.0 tokens/s, at least 100 tokens/s, 4 times the limit"
    assert (slow.ok, slow.sentence.endswith("at least 100 tokens/s, 0.75 times the limit")) == (False, True)
    assert Gate("decode", 100, 0.0).share == math.inf


def test_a_small_distance_is_not_rounded_to_zero() -> None:
    gate = Gate("p95", 250, 250.01)
    assert gate.ok is False
    assert gate.sentence.endswith("0.004% over")


def test_a_figure_may_equal_its_limit() -> None:
    assert Gate("rss", 400, 400).ok is True
    assert Gate("rss", 400, math.nextafter(400, 401)).ok is False


def figures(**more: Any) -> MeasuredFigures:
    plain: dict[str, Any] = {
        "steady_bytes": 50 * MB,
        "peak_bytes": 60 * MB,
        "e2e_ms": [20.0] * 100,
        "ttft_ms": [5.0] * 100,
        "decode_tps": 300.0,
        "model_bytes": 2 * MB,
        "cold_start_s": 1.5,
        "bits_per_byte": {"en": 1.9, "es": 2.1},
    }
    return MeasuredFigures(**{**plain, **more})


ALL = Limits(max_ttft_ms=10, min_decode_tps=100, max_cold_start_s=2, max_model_mb=3, max_bits_per_byte=2.5)


def test_only_figures_with_a_limit_have_a_gate() -> None:
    assert [gate.name for gate in evaluate_gates(Limits(), figures(), "bound")] == ["rss", "peak", "p95"]
    named = [gate.name for gate in evaluate_gates(ALL, figures(), "bound")]
    assert named == [
        *("rss", "peak", "p95", "ttft", "decode", "cold_start", "model", "quality:en", "quality:es"),
    ]
    assert {name.partition(":")[0] for name in named} == set(KINDS) - {"regression"}
    by_name = Limits(max_bits_per_byte={"es": 2.0})
    (quality,) = evaluate_gates(by_name, figures(), "bound")[3:]
    assert (quality.name, quality.limit, quality.ok) == ("quality:es", 2.0, False)


@pytest.mark.parametrize(
    ("over", "failed"),
    [
        ({"steady_bytes": 400 * MB + 1}, "rss"),
        ({"peak_bytes": 512 * MB + 1}, "peak"),
        ({"e2e_ms": [250.1] * 100}, "p95"),
        ({"ttft_ms": [10.1] * 100}, "ttft"),
        ({"decode_tps": 99.9}, "decode"),
        ({"cold_start_s": 2.1}, "cold_start"),
        ({"model_bytes": 3 * MB + 1}, "model"),
        ({"bits_per_byte": {"en": 1.9, "es": 2.51}}, "quality:es"),
    ],
)
def test_each_limit_can_fail_alone(over: dict[str, Any], failed: str) -> None:
    gates = evaluate_gates(ALL, figures(**over), "bound")
    assert [gate.name for gate in gates if not gate.ok] == [failed]
    assert combine_verdict(gates) == "fail"
    assert combine_verdict(evaluate_gates(ALL, figures(), "bound")) == "pass"


def test_a_doubt_makes_all_limits_of_time_and_no_others_inconclusive() -> None:
    doubts = Doubts(changed=("the clock changed",))
    for some in (figures(), figures(e2e_ms=[999.0] * 100, decode_tps=1.0)):
        gates = evaluate_gates(ALL, some, "bound", doubts, doubts)
        assert {gate.name for gate in gates if gate.ok is None} == {"p95", "ttft", "decode", "cold_start"}
        assert combine_verdict(gates) == "inconclusive"
        assert "the clock changed" in next(gate for gate in gates if gate.name == "p95").sentence
    gates = evaluate_gates(ALL, figures(steady_bytes=500 * MB), "bound", doubts)
    assert combine_verdict(gates) == "fail"


def test_what_only_slows_makes_only_missed_limits_of_time_inconclusive() -> None:
    slowed = Doubts(slowed=("it was hot",))
    gates = evaluate_gates(ALL, figures(), "bound", slowed, slowed)
    assert combine_verdict(gates) == "pass"
    remarked = {gate.name for gate in gates if gate.remark}
    assert remarked == {"p95", "ttft", "decode", "cold_start"}
    over = figures(
        steady_bytes=500 * MB,
        e2e_ms=[999.0] * 100,
        ttft_ms=[999.0] * 100,
        decode_tps=1.0,
        cold_start_s=99.0,
        bits_per_byte={"en": 9.0},
    )
    gates = evaluate_gates(ALL, over, "bound", slowed, slowed)
    assert {gate.name for gate in gates if gate.ok is None} == remarked
    assert {gate.name for gate in gates if gate.ok is False} == {"rss", "quality:en"}


def test_the_decoding_speed_of_one_token_is_inconclusive() -> None:
    gates = evaluate_gates(ALL, figures(decode_tps=None), "bound")
    assert [gate.name for gate in gates if gate.ok is None] == ["decode"]


@pytest.mark.parametrize(
    ("values", "basis", "ok", "measured", "bound"),
    [
        ([20.0] * 100, "bound", True, 20.0, 20.0),
        ([20.0] * 99 + [249.0], "bound", True, 20.0, 249.0),
        ([20.0] * 99 + [251.0], "bound", None, 20.0, 251.0),  # the bound of 100 samples is their maximum
        ([20.0] * 99 + [251.0], "estimate", True, 20.0, 251.0),
        ([20.0] * 129 + [251.0], "bound", True, 20.0, 20.0),  # of 130 it is the second largest
        ([20.0] * 94 + [251.0] * 6, "bound", False, 251.0, 251.0),
        ([20.0] * 94 + [251.0] * 6, "estimate", False, 251.0, 251.0),
        ([20.0] * 89, "bound", None, 20.0, None),
        ([20.0] * 89, "estimate", True, 20.0, None),
        ([251.0] * 89, "bound", False, 251.0, None),
        ([20.0] * 19, "estimate", None, 20.0, None),
        ([9999.0] * 19, "estimate", None, 9999.0, None),
        ([9999.0] * 19, "bound", None, 9999.0, None),
    ],
)
def test_a_percentile_passes_by_its_bound_and_fails_by_its_estimate(
    values: list[float], basis: Any, ok: bool | None, measured: float, bound: float | None
) -> None:
    gate = evaluate_percentile("p95", 250.0, values, basis)
    assert (gate.ok, gate.measured, gate.bound) == (ok, measured, bound)


def test_the_share_of_a_limit_is_that_of_the_figure_that_decides() -> None:
    assert evaluate_percentile("p95", 250.0, [20.0] * 99 + [125.0], "bound").share == 0.5
    assert evaluate_percentile("p95", 250.0, [20.0] * 99 + [125.0], "estimate").share == 0.08
    assert evaluate_percentile("p95", 250.0, [500.0] * 94 + [999.0] * 6, "bound").share == 999 / 250


@pytest.mark.parametrize("samples", [1, 10, 19, 20, 30, 89, 90, 100])
def test_few_samples_are_explained_in_the_same_words_everywhere(samples: int) -> None:
    explained = explain_few_samples(samples)
    gates = [evaluate_percentile("p95", 250.0, [20.0] * samples, basis) for basis in ("bound", "estimate")]
    assert gates[0].doubt == explained
    assert gates[1].doubt == (explained if samples < 20 else "")
    assert (explained == "") == (samples >= 90)
    assert "--samples" in explained or samples >= 90


def test_the_bound_is_the_default_if_there_is_one() -> None:
    assert (choose_basis(89), choose_basis(90)) == ("estimate", "bound")
