"""The cost model that ships: it reads, it says where it is from, and it costs what was counted."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tinyedge.core.config import PRESETS, ModelConfig
from tinyedge.core.errors import TinyEdgeError, UsageError
from tinyedge.fit.cost_model import FOLDER, CostModel, dot, holdings, load
from tinyedge.fit.workload import FILL_TERMS, INSTRUCTION_TERMS

REPORT = Path(__file__).parents[2] / "bench" / "reports" / "scale-pi-zero-2w.json"


@pytest.fixture(scope="module")
def model() -> CostModel:
    return load("pi-zero-2w")


def test_costs_are_a_sum_of_products(model: CostModel) -> None:
    assert dot({"a": 2.0, "b": 3.0}, {"a": 5, "b": 7, "unused": 1}) == 31
    simple = replace(model, instructions={"passes": 1e6}, fills={"logit_lines": 1.0}, margin=2.0)
    lines = 20 * 8000 * 4 / 64
    assert simple.response_ms(ModelConfig(), 7, 20) == pytest.approx(20 * 1.39 + lines * 42.5e-6)


def test_every_term_has_a_coefficient_that_is_not_below_zero(model: CostModel) -> None:
    assert set(model.instructions) == set(INSTRUCTION_TERMS)
    assert set(model.fills) == set(FILL_TERMS)
    assert set(model.peak_bytes) == set(holdings(ModelConfig()))
    values = [*model.instructions.values(), *model.fills.values(), *model.peak_bytes.values()]
    assert min(values) >= 0


def test_it_says_where_it_is_from(model: CostModel) -> None:
    source = model.source
    assert source["created"]
    assert source["made_by"] == "python -m bench.twin scale"
    assert source["versions"]["onnxruntime"]
    assert not set(source["fitted_on"]) & set(source["held_out"])
    assert source["errors_percent"]["held_out"]["p95"]["n"] == len(source["held_out"])


def test_a_weight_costs_the_instructions_of_the_kernel(model: CostModel) -> None:
    """20 instructions for 64 products of a row, and each line of weights once: as docs/device.md has it."""
    assert model.instructions["products"] == pytest.approx(20 / 64, rel=0.1)
    assert model.fills["weight_lines"] == pytest.approx(1, rel=0.1)


def test_it_costs_what_the_report_of_the_sweep_says(model: CostModel) -> None:
    report = json.loads(REPORT.read_text())
    assert report["schema"] == "tinyedge.scale/1"
    assert report["formula_errors_percent"] == model.source["errors_percent"]
    for row in report["shapes"]:
        config = ModelConfig(**row["model"])
        assert model.p95_ms(config, 20) == pytest.approx(row["formula"]["p95_modelled_ms"], abs=1e-3)
        assert model.p95_ms(config, 20) == pytest.approx(row["p95_modelled_ms"], rel=0.05)


def test_more_of_anything_costs_more(model: CostModel) -> None:
    tiny = PRESETS["tiny"]
    for change in ({"d_model": 256}, {"num_layers": 3}, {"dim_feedforward": 512}, {"vocab_size": 9000}):
        larger = replace(tiny, **change)
        assert model.p95_ms(larger, 20) > model.p95_ms(tiny, 20)
        assert model.peak_rss(larger) > model.peak_rss(tiny)
    assert model.p95_ms(tiny, 21) > model.p95_ms(tiny, 20)


def test_an_unknown_target_names_those_that_are_known() -> None:
    with pytest.raises(UsageError, match="--target pi-5 is unknown") as failure:
        load("pi-5")
    assert failure.value.hint == "choose one of: pi-zero-2w"
    with pytest.raises(UsageError, match="is unknown"):
        load("../pi-zero-2w")


def test_a_data_file_of_another_version_is_refused(tmp_path: Path) -> None:
    value = json.loads((FOLDER / "pi-zero-2w.json").read_text()) | {"schema": "tinyedge.cost/2"}
    (tmp_path / "new.json").write_text(json.dumps(value))
    with pytest.raises(TinyEdgeError, match=r"schema 'tinyedge.cost/2'"):
        load("new", tmp_path)
