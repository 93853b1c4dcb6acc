"""The JSON Schema of a report: each report validates, a wrong one does not, and the page lists its fields."""

import copy
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from typer.testing import CliRunner

from bench.schema_tables import DOCS, PAGES, list_fields, read_schema, replace_tables
from tests.support.engines import STAND_INS
from tinyedge.bench.conditions import Conditions, Reading
from tinyedge.bench.gate import KINDS, Gate
from tinyedge.bench.limits import FIGURES, Limits
from tinyedge.bench.report import Report
from tinyedge.bench.target_board import BundleTarget, describe_target
from tinyedge.cli.main import app_for
from tinyedge.core.config import ModelConfig
from tinyedge.core.engine import KERNELS, VARIABLE
from tinyedge.host.machine import Device

MICRO_BUNDLE = Path(__file__).parents[1] / "data" / "micro_bundle_int8"
SCHEMA = read_schema("bench.schema.json")
ALL_LIMITS = Limits(max_ttft_ms=1e6, min_decode_tps=1e-3, max_cold_start_s=1e6, max_model_mb=1e6)
ORIGINS = dict.fromkeys(("max_rss_mb", "max_peak_mb", "max_p95_ms"), "guide")
Make = Callable[..., Report]


def validate(report: Mapping[str, Any]) -> None:
    validator = jsonschema.Draft202012Validator(SCHEMA)
    validator.validate(json.loads(json.dumps(report, allow_nan=False)))


def list_objects(part: object) -> Iterator[dict[str, Any]]:
    """List the schemas of objects with named fields."""
    if isinstance(part, dict):
        if "properties" in part:
            yield part
        for inner in part.values():
            yield from list_objects(inner)


def test_the_schema_is_valid_and_describes_each_field_of_closed_objects() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    objects = list(list_objects(SCHEMA))
    assert len(objects) > 15
    for one in objects:
        assert one["additionalProperties"] is False
        assert all(field["description"].endswith(".") for field in one["properties"].values())


def test_the_schema_has_the_gates_and_figures_of_the_code() -> None:
    gate = SCHEMA["$defs"]["gate"]["properties"]
    assert gate["kind"]["enum"] == list(KINDS)
    assert set(gate["unit"]["enum"]) == {kind.unit for kind in KINDS.values()}
    assert SCHEMA["$defs"]["change"]["properties"]["figure"]["enum"] == list(FIGURES)


@pytest.mark.skipif(not MICRO_BUNDLE.exists(), reason="tests/data/micro_bundle_int8 is missing")
def test_real_reports_with_all_options_validate(tmp_path: Path) -> None:
    old, new, text = tmp_path / "old.json", tmp_path / "new.json", tmp_path / "some.txt"
    text.write_text("ba ke lo mu\n" * 20)
    words = ["bench", str(MICRO_BUNDLE), "--samples", "24", "--max-tokens", "4"]
    everything = [
        *("--text", f"some={text}", "--cold", "1", "--max-ttft-ms", "1e6", "--min-decode-tps", "0.001"),
        *("--max-cold-start-s", "1e6", "--max-model-mb", "100", "--max-bits-per-byte", "some=100"),
        *("--compare", str(old)),
        *(word for figure in FIGURES for word in ("--max-regression", f"{figure}=1000%")),
    ]
    for more in (["--json", str(old)], [*everything, "--json", str(new)]):
        result = CliRunner().invoke(app_for(words), [*words, *more])
        assert result.exit_code in (0, 4), result.output
    for path in (old, new):
        validate(json.loads(path.read_text()))
    found = json.loads(new.read_text())
    assert {gate["kind"] for gate in found["gates"]} == set(KINDS)
    assert found["target"]["board"] == "pi-zero-2w"
    missing = {name for name in SCHEMA["properties"] if not found.get(name)} - {"seed", "doubts", "slowed_by"}
    assert missing == {"p95_upper_99"}  # 24 samples have none


def test_a_real_report_names_the_kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, KERNELS)
    monkeypatch.setenv("PYTHONPATH", str(STAND_INS))
    path = tmp_path / "report.json"
    words = ["bench", str(MICRO_BUNDLE), "--samples", "12", "--max-tokens", "2", "--json", str(path)]
    result = CliRunner().invoke(app_for(words), words)
    assert "engine kernels (python)" in " ".join(result.output.split())
    report = json.loads(path.read_text())
    validate(report)
    assert report["device"]["engine"] == {
        "name": "kernels",
        "instructions": "python",
        "reason": "TINYEDGE_ENGINE chooses it",
    }


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"measured": {"tokens": 1}},
        {"e2e_ms": [20.0] * 5},
        {"measured": {"waited": None, "settled": False, "swap": 1}},
        {"limits": replace(ALL_LIMITS, max_bits_per_byte={"en": 2.0}), "cold_starts_s": [1.0]},
        {"limits": replace(ALL_LIMITS, max_bits_per_byte=2.0)},
        {"conditions": Conditions(Reading(None, None, None), Reading(900.0, 85.0, 0x50005), (900.0,))},
        {"target": BundleTarget("my-board", ModelConfig(), "fp32")},
    ],
)
def test_simulated_reports_validate(report: Make, options: dict[str, Any]) -> None:
    validate(report(origins=ORIGINS, **options).to_dict())


def test_reports_of_other_machines_validate(report: Make, device: Device) -> None:
    unknown = replace(
        device,
        model=None,
        machine=None,
        cpu=None,
        cores=None,
        features=(),
        governor=None,
        freq=None,
        temp=None,
    )
    unknown = replace(unknown, throttled=None, ram=None, kernel=None, memory_controller=None, swap=())
    target = describe_target(BundleTarget("pi-zero-2w", ModelConfig(), "int8"), unknown, [10], 20, 250)
    found = replace(report(origins=ORIGINS), device=unknown, target=target)
    validate(found.to_dict())
    endless = Gate("decode", 1, 0.0)
    validate(replace(found, gates=(*found.gates, endless)).to_dict())


def spoil(*path: Any, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(report: dict[str, Any]) -> None:
        part: Any = report
        for step in path[:-1]:
            part = part[step]
        part[path[-1]] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        lambda report: report.pop("verdict"),
        lambda report: report["gates"][0].pop("bound"),
        lambda report: report["device"].pop("ram"),
        spoil("surprise", value=1),
        spoil("gates", 0, "estimate", value=20.0),
        spoil("gates", 0, "ok", value="yes"),
        spoil("gates", 0, "unit", value="MiB"),
        spoil("verdict", value="good"),
        spoil("schema", value="tinyedge.bench/2"),
        spoil("latency_ms", "e2e", "p95", value="20"),
        spoil("latency_ms", "e2e", value=None),
        spoil("raw_samples", 0, "itl_ms", value=[-1.0]),
        spoil("raw_samples", value=[]),
        spoil("bundle", "sha256", value="abc"),
        spoil("limits", "max_p99_ms", value=1),
        spoil("memory", "phases", "bare", "rss", value=1.5),
    ],
)
def test_a_wrong_field_does_not_validate(report: Make, change: Callable[[dict[str, Any]], object]) -> None:
    found = copy.deepcopy(report(origins=ORIGINS).to_dict())
    validate(found)
    change(found)
    with pytest.raises(jsonschema.ValidationError):
        validate(found)


@pytest.mark.parametrize("name", PAGES)
def test_the_page_lists_exactly_the_fields_of_the_schema(name: str) -> None:
    page, schema = (DOCS / name).read_text(), read_schema(PAGES[name])
    assert replace_tables(page, schema) == page, "run: python -m bench.schema_tables"
    for part in (schema, *schema["$defs"].values()):
        for path, kind, meaning in list_fields(part):
            assert f"| `{path}` | {kind} | {meaning} |" in page
