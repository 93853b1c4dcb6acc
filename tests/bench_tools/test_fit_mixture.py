"""What a table of n-grams costs: the fit finds what made the counts, and the report and its table show it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from bench.twin.counts import Figures
from bench.twin.fit_mixture import compose_mixture_report, fit_mixture, mixture_table, sum_later_work
from bench.twin.layout import BOARD, LATENCY, TwinError
from bench.twin.measure import Response
from bench.twin.shape_sweep import response_to_json
from bench.twin.shapes import list_mixed_shapes, list_shapes
from tinyedge.boards.board import CostData
from tinyedge.core.config import PRESETS, ModelConfig
from tinyedge.fit.cost_model import dot_product, require_cost_data
from tinyedge.fit.workload import MIXTURE_CORE_TERMS, MIXTURE_DRAM_TERMS

CORE = {"mixed_products": 0.5, "mixed_logits": 12.0, "ngram_blocks": 40_000.0}
DRAM = {"mixed_lines": 15.0, "mixed_logit_lines": 30.0, "ngram_tokens": 90_000.0}
SHAPES = {
    "tiny": ModelConfig(),
    "small": PRESETS["small"],
    "few": ModelConfig(vocab_size=1000),
    "many": ModelConfig(vocab_size=32_000),
    "wide": ModelConfig(d_model=512, nhead=8),
    "other": ModelConfig(d_model=256, vocab_size=16_000),
}
FIRST = {"core_cycles": 2e6, "memory_ns": 1e6, "modelled_ms": 3.0}


@pytest.fixture(scope="module")
def costs() -> CostData:
    """The board's cost model, with a table's costs that are to be found."""
    known = require_cost_data(BOARD)
    return replace(known, core_cycles={**known.core_cycles, **CORE}, memory_ns={**known.memory_ns, **DRAM})


def make_row(name: str, costs: CostData, *, is_mixed: bool) -> dict[str, Any]:
    """A counted shape whose later tokens cost what the formula says, and a little that it does not know."""
    responses = []
    for number, tokens in enumerate((7, 20, 85)):
        work = sum_later_work(SHAPES[name], tokens, is_mixed=is_mixed)
        blocks = (3 + 5 * number + len(name)) * is_mixed
        work["ngram_blocks"] = blocks
        cycles = 1e5 + dot_product(costs.core_cycles, work)
        waiting = 2e5 + dot_product(costs.memory_ns, work)
        later = {
            "core_cycles": cycles,
            "memory_ns": waiting,
            "modelled_ms": LATENCY.milliseconds(cycles, waiting),
        }
        # A table may make a first token dearer: it is not part of the fit.
        first = {figure: value * (1 + 2 * is_mixed) for figure, value in FIRST.items()}
        responses.append(
            {
                "prompt_tokens": tokens,
                "first": first,
                "token": {figure: value / 19 for figure, value in later.items()},
                "response": {figure: first[figure] + value for figure, value in later.items()},
                **({"fresh_blocks": blocks} if blocks else {}),
            }
        )
    return {
        "name": name,
        "model": SHAPES[name].to_dict(),
        "held_out": name == "other",
        "bundle_bytes": {"model.onnx": 1, "ngrams.bin": 12 << 20},
        "responses": responses,
        "memory": {"peak_rss": 50 << 20} if name == "tiny" else None,
    }


def make_rows(costs: CostData, *, is_mixed: bool) -> list[dict[str, Any]]:
    return [make_row(name, costs, is_mixed=is_mixed) for name in SHAPES]


def pick(costs: Mapping[str, float], terms: Mapping[str, str]) -> dict[str, float]:
    return {term: costs[term] for term in terms}


def test_the_costs_that_made_the_counts_are_found_and_the_others_stay(costs: CostData) -> None:
    known = require_cost_data(BOARD)
    found = fit_mixture(make_rows(costs, is_mixed=True), make_rows(costs, is_mixed=False), known)
    assert pick(found.core_cycles, MIXTURE_CORE_TERMS) == pytest.approx(CORE, rel=1e-3)
    assert pick(found.memory_ns, MIXTURE_DRAM_TERMS) == pytest.approx(DRAM, rel=1e-3)
    assert found.peak_bytes == {**known.peak_bytes, "table_bytes": 1.0}
    for terms in ("core_cycles", "memory_ns"):
        changed = {**getattr(known, terms), **getattr(found, terms)}
        others = set(changed) - set(MIXTURE_CORE_TERMS) - set(MIXTURE_DRAM_TERMS)
        assert {term: changed[term] for term in others} == {
            term: getattr(known, terms)[term] for term in others
        }
    assert (found.source, found.latency_model) == (known.source, known.latency_model)


def test_a_held_out_shape_does_not_influence_the_fit(costs: CostData) -> None:
    alone, mixed = make_rows(costs, is_mixed=False), make_rows(costs, is_mixed=True)
    for response in mixed[-1]["responses"]:
        response["response"] = {figure: 2 * value for figure, value in response["response"].items()}
    found = fit_mixture(mixed, alone, costs)
    assert pick(found.core_cycles, MIXTURE_CORE_TERMS) == pytest.approx(CORE, rel=1e-3)


def test_a_shape_has_to_be_counted_without_a_table_too(costs: CostData) -> None:
    with pytest.raises(TwinError, match="wide, other: not counted without n-grams"):
        fit_mixture(make_rows(costs, is_mixed=True), make_rows(costs, is_mixed=False)[:4], costs)


def test_the_report_compares_the_formula_with_the_counts(costs: CostData) -> None:
    alone, mixed = make_rows(costs, is_mixed=False), make_rows(costs, is_mixed=True)
    for response in mixed[-1]["responses"]:
        response["token"]["modelled_ms"] *= 2
    report = compose_mixture_report(mixed, alone, costs, "today", {"numpy": "1"})
    assert report["schema"] == "tinyedge.scale-ngrams/1"
    assert abs(report["token_errors_percent"]["fitted"]["worst"]) < 3  # what the formula does not know
    assert report["token_errors_percent"]["held_out"]["worst"] == pytest.approx(-50, abs=2)
    tiny = report["shapes"][0]
    assert tiny["token_ms_without"] < tiny["token_ms"]
    assert tiny["formula"]["token_ms"] == pytest.approx(tiny["token_ms"], rel=0.03)
    lines = mixture_table(report).splitlines()
    assert len({line.count("|") for line in lines[: 2 + len(SHAPES)]}) == 1
    assert lines[2].startswith("| tiny | ")
    assert lines[2].endswith("| 12.0 | 50.0 |")
    assert "(held out)" in lines[1 + len(SHAPES)]
    assert lines[-1].startswith("Errors of the formula for a token: shapes it was fitted to ")


def test_shapes_with_a_table_are_among_those_without() -> None:
    without = {shape.name: shape.config for shape in list_shapes()}
    mixed = list_mixed_shapes()
    assert {shape.name: shape.config for shape in mixed}.items() <= without.items()
    assert all(shape.is_mixed for shape in mixed)
    assert 0 < sum(shape.held_out for shape in mixed) < len(mixed)
    assert any(shape.booted for shape in mixed)
    assert not any(shape.is_mixed for shape in list_shapes())


def test_a_row_has_the_blocks_of_an_answer_with_a_table_only() -> None:
    steps = (Figures(instructions=2), Figures(instructions=3), Figures(instructions=1))
    assert "fresh_blocks" not in response_to_json(Response("a", 7, steps))
    assert response_to_json(Response("a", 7, steps, fresh_blocks=5))["fresh_blocks"] == 5


def test_a_drawn_table_is_the_same_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    bundles = pytest.importorskip("bench.bundles", reason="needs the extra `train`")
    from tinyedge.ngram.mapped_file import NgramFile

    monkeypatch.setattr(bundles, "NGRAM_TOKENS", 20_000)
    content = bundles.draw_ngrams(1000)
    assert bundles.draw_ngrams(1000) == content
    table = NgramFile(content)
    assert table.layout.vocab_size == 1000
    assert table.layout.order == 4
    assert all(0 < weight < 1 for weight in table.weights)
