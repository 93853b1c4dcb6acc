"""The cost model that ships: it loads, it tells where it is from, and it gives the counted costs."""

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from tinyedge.boards.board import CoreCosts, CostData, LatencyModel, LineCost
from tinyedge.boards.latency import ThreadCosts
from tinyedge.boards.load import default_board, load_board
from tinyedge.boards.validate import MAX_COEFFICIENT, MAX_FACTOR, MAX_PROMPT_TOKENS, MIN_CLOCK_MHZ
from tinyedge.core.config import PRESETS, ModelConfig
from tinyedge.core.errors import FitError, UsageError
from tinyedge.fit.cost_model import CostModel, dot_product, memory_amounts, require_cost_data
from tinyedge.fit.search import FitBudget, search
from tinyedge.fit.table import render, to_dict
from tinyedge.fit.workload import CORE_TERMS, DRAM_TERMS

REPORT = Path(__file__).parents[2] / "bench" / "reports" / "scale-pi-zero-2w.json"


@pytest.fixture(scope="module")
def data() -> CostData:
    return require_cost_data(default_board())


@pytest.fixture(scope="module")
def model(data: CostData) -> CostModel:
    return CostModel.from_data("pi-zero-2w", data)


def test_costs_are_a_sum_of_products(model: CostModel) -> None:
    assert dot_product({"a": 2.0, "b": 3.0}, {"a": 5, "b": 7, "unused": 1}) == 31
    latency = replace(model.latency, clock_mhz=500)
    simple = replace(model, core_cycles={"passes": 1e6}, memory_ns={"logit_lines": 40.0}, latency=latency)
    lines = 20 * 8000 * 2 * 4 / 64  # what a bound is made of, and the bound
    assert simple.response_ms(ModelConfig(), 7, 20) == pytest.approx(20 * 2 + lines * 40e-6)


def test_threads_divide_what_the_kernels_divide(data: CostData) -> None:
    one, four = (CostModel.from_data("pi-zero-2w", data, threads) for threads in (1, 4))
    for config in PRESETS.values():
        assert one.response_ms(config, 85, 20) > four.response_ms(config, 85, 20)
    largest = PRESETS["base"]
    assert one.response_ms(largest, 85, 1) / four.response_ms(largest, 85, 1) > 2  # a prompt gains most
    assert four.latency.error_percent > one.latency.error_percent == data.latency_model.error_percent
    assert four.latency.margin > one.latency.margin
    free = replace(four, thread_costs=ThreadCosts(1e-12, 1e-12, 1), threads=2)
    assert one.response_ms(largest, 85, 1) / free.response_ms(largest, 85, 1) < 2


def test_several_threads_need_their_costs(data: CostData) -> None:
    unknown = replace(data, threads=None)
    assert CostModel.from_data("mine", unknown).threads == 1
    with pytest.raises(UsageError, match=r"^threads 2 is not modelled for board mine") as failure:
        CostModel.from_data("mine", unknown, 2)
    assert failure.value.parameters == ("threads",)


def test_every_term_has_a_coefficient_that_is_not_below_zero(model: CostModel) -> None:
    assert set(model.core_cycles) == set(CORE_TERMS)
    assert set(model.memory_ns) == set(DRAM_TERMS)
    assert set(model.peak_bytes) == set(memory_amounts(ModelConfig()))
    values = [*model.core_cycles.values(), *model.memory_ns.values(), *model.peak_bytes.values()]
    assert min(values) >= 0


def test_the_source_is_recorded(data: CostData) -> None:
    source = data.source
    assert source.created
    assert source.made_by == "python -m bench.twin scale"
    assert source.versions["onnxruntime"]
    assert not set(source.fitted_on) & set(source.held_out)
    assert source.errors_percent.held_out.p95.n == len(source.held_out)


def test_a_weight_costs_the_cycles_of_the_kernel(model: CostModel) -> None:
    """NEON multiplies 8 weights in a cycle, and nothing issues with a load of 16; sums cost as much again.

    A line of weights is one of a stream, whose first two lines come alone.
    """
    assert 1 / 8 + 1 / 16 <= model.core_cycles["products"] < 8 / 16
    lines = model.memory_ns["weight_lines"] / model.latency.ns_per_streamed_line
    assert 1 <= lines < 1.6


def test_the_costs_are_those_of_the_recorded_sweep(model: CostModel, data: CostData) -> None:
    report = json.loads(REPORT.read_text())
    assert report["schema"] == "tinyedge.scale/1"
    assert report["formula_errors_percent"] == dataclasses.asdict(data.source.errors_percent)
    for row in report["shapes"]:
        config = ModelConfig(**row["model"])
        assert model.p95_ms(config, 20) == pytest.approx(row["formula"]["p95_modelled_ms"], abs=1e-3)
        assert model.p95_ms(config, 20) == pytest.approx(row["p95_modelled_ms"], rel=0.08)


def test_more_of_anything_costs_more(model: CostModel) -> None:
    tiny = PRESETS["tiny"]
    for change in ({"d_model": 256}, {"num_layers": 3}, {"dim_feedforward": 512}, {"vocab_size": 9000}):
        larger = replace(tiny, **change)
        assert model.p95_ms(larger, 20) > model.p95_ms(tiny, 20)
        assert model.peak_rss(larger) > model.peak_rss(tiny)
    assert model.p95_ms(tiny, 21) > model.p95_ms(tiny, 20)


def test_a_table_of_ngrams_costs_time_and_its_size(model: CostModel, data: CostData) -> None:
    for config in PRESETS.values():
        alone, mixed = (model.response_ms(config, 85, 20, is_mixed=is_mixed) for is_mixed in (False, True))
        assert 20 * 0.3 < mixed - alone < 20 * 1.5
        assert model.peak_rss(config, 5e6) - model.peak_rss(config) == pytest.approx(5e6)
    tiny = PRESETS["tiny"]
    assert model.p95_ms(tiny, 20, is_mixed=True) == model.response_ms(tiny, 85, 20, is_mixed=True)
    four = CostModel.from_data("pi-zero-2w", data, 4)
    divided = four.response_ms(tiny, 85, 20, is_mixed=True)
    assert four.response_ms(tiny, 85, 20) < divided < model.response_ms(tiny, 85, 20, is_mixed=True)


def test_a_board_without_a_cost_model_names_those_that_have_one() -> None:
    with pytest.raises(UsageError, match="target x86-64 has no cost model") as failure:
        require_cost_data(load_board("x86-64"))
    assert failure.value.hint.startswith("choose one of: pi-zero-2w, ")
    assert failure.value.parameters == ("target",)


def test_a_board_without_a_cost_model_is_not_its_own_alternative() -> None:
    own = replace(default_board(), cost_model=None)  # a file may have the name of a known board
    with pytest.raises(UsageError, match="target pi-zero-2w has no cost model") as failure:
        require_cost_data(own)
    assert failure.value.hint.startswith("add a cost_model, as in ")


def test_the_largest_coefficients_give_finite_costs(data: CostData) -> None:
    def fill(terms: Mapping[str, float]) -> dict[str, float]:
        return dict.fromkeys(terms, MAX_COEFFICIENT)

    line = LineCost(MAX_COEFFICIENT, MAX_COEFFICIENT)
    core = CoreCosts(MAX_COEFFICIENT, MAX_COEFFICIENT, MAX_COEFFICIENT)
    latency = LatencyModel(MIN_CLOCK_MHZ, core, line, line, line, MAX_FACTOR, MAX_FACTOR)
    largest = replace(
        data,
        latency_model=latency,
        prompt_tokens=(MAX_PROMPT_TOKENS,),
        core_cycles=fill(data.core_cycles),
        memory_ns=fill(data.memory_ns),
        peak_bytes=fill(data.peak_bytes),
    )
    model = CostModel.from_data("mine", largest)
    assert math.isfinite(model.p95_ms(PRESETS["base"], 1000) * MAX_FACTOR)
    with pytest.raises(FitError, match="is too small by"):
        search(model, FitBudget(250, 400, 2, 512, 32_000))
    result = search(model, FitBudget(1e300, 1e300, 2, 512, 32_000))
    errors = data.source.errors_percent
    assert "inf" not in render(result, errors)
    assert "Infinity" not in json.dumps(to_dict(result, errors))


def test_terms_of_another_version_are_refused(data: CostData) -> None:
    with pytest.raises(UsageError, match=r"cost_model\.core_cycles has unknown or missing terms: nodes"):
        CostModel.from_data("mine", replace(data, core_cycles={**data.core_cycles, "nodes": 1.0}))
    with pytest.raises(UsageError, match=r"cost_model\.peak_bytes has unknown or missing terms: process"):
        CostModel.from_data(
            "mine", replace(data, peak_bytes={k: v for k, v in data.peak_bytes.items() if k != "process"})
        )
