"""A calibration's file: a round trip, one line for each mistake, and a cost model that uses it."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tinyedge.boards.load import load_board
from tinyedge.calibrate.calibration import COEFFICIENTS, Calibration, Figure
from tinyedge.calibrate.calibration_file import (
    calibrate_costs,
    find_board,
    read_calibration,
    write_calibration,
)
from tinyedge.core.config import PRESETS
from tinyedge.core.errors import UsageError
from tinyedge.fit.cost_model import CostModel, require_cost_data

ZERO_2W = load_board("pi-zero-2w")
COSTS = require_cost_data(ZERO_2W)


def test_a_file_is_read_as_it_was_written(tmp_path: Path, calibration: Calibration) -> None:
    path = tmp_path / "calibration.json"
    write_calibration(path, calibration)
    assert read_calibration(path) == calibration
    assert json.loads(path.read_text())["schema"] == "tinyedge.calibration/1"
    assert [path] == list(tmp_path.iterdir())


def put(*names: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(whole: dict[str, Any]) -> None:
        for name in names[:-1]:
            whole = whole[name]
        whole[names[-1]] = value

    return change


def remove(name: str, part: str) -> Callable[[dict[str, Any]], None]:
    return lambda whole: whole[name].pop(part)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (put("schema", value="tinyedge.bench/3"), "schema is 'tinyedge.bench/3', expected"),
        (lambda whole: whole.pop("schema"), "schema is None, expected 'tinyedge.calibration/1'"),
        (lambda whole: whole.pop("clock_mhz"), "clock_mhz is missing"),
        (remove("ns_per_random_line", "median"), "ns_per_random_line.median is missing"),
        (remove("core", "work"), "core.work is missing"),
        (put("clock_mhz", "median", value=-1000), "clock_mhz.median is -1000, expected a number from 1 to"),
        (put("clock_mhz", "median", value=0), "clock_mhz.median is 0, expected"),
        (put("ns_per_streamed_line", "median", value=-1), "ns_per_streamed_line.median is -1, expected"),
        (put("ns_per_random_line", "fastest", value=1e300), "ns_per_random_line.fastest is 1e+300, expected"),
        (put("ns_per_l2_hit", "median", value="12"), "ns_per_l2_hit.median is '12', expected a number"),
        (put("ns_per_l2_hit", "median", value=True), "ns_per_l2_hit.median is True, expected a number"),
        (put("ns_per_l2_hit", "fastest", value=13), "ns_per_l2_hit.fastest is 13, expected 12 (the median)"),
        (put("clock_mhz", "fastest", value=900), "clock_mhz.fastest is 900, expected 999.5 (the median) or"),
        (put("core", "ns", "n", value=0), "core.ns.n is 0, expected 1 to"),
        (put("core", "ns", "n", value=1.5), "core.ns.n is 1.5, expected an integer"),
        (put("machine", "serial", value="1234"), "machine.'serial' is unknown"),
        (put("machine", "model", value="a\nb"), "machine.model is 'a\\nb', expected a printable text"),
        (put("doubts", value=["x" * 1000]), "doubts[0] is"),
        (put("conditions", "waited_percent", value=101), "conditions.waited_percent is 101, expected"),
        (put("ns_per_streamed_line", "median", value=900), "ns_per_random_line.median is 160.5, expected"),
        (put("machine", "cores", value=-5), "machine.cores is -5, expected 1 or more"),
        (put("created", value="not a date"), "created is 'not a date', expected a time"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_that_names_the_field(
    tmp_path: Path, calibration: Calibration, change: Callable[[dict[str, Any]], object], line: str
) -> None:
    value = calibration.to_dict()
    change(value)
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(value))
    with pytest.raises(UsageError) as failure:
        read_calibration(path)
    assert failure.value.message.startswith(f"{path}: {line}")
    assert "\n" not in failure.value.message


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e400", "9" * 400])
def test_a_number_that_is_none_is_refused(tmp_path: Path, calibration: Calibration, number: str) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(calibration.to_dict()).replace("160.5", number))
    with pytest.raises(UsageError, match=r"is not valid JSON|ns_per_random_line\.median is"):
        read_calibration(path)


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, "{}", '{"schema": 1, "schema": 2}', "\0"])
def test_a_file_that_is_no_calibration_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mine.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"mine\.json"):
        read_calibration(path)
    with pytest.raises(UsageError, match="does not exist"):
        read_calibration(tmp_path / "none.json")
    with pytest.raises(UsageError, match="is a folder"):
        read_calibration(tmp_path)


def test_only_the_board_itself_takes_a_calibration(tmp_path: Path, calibration: Calibration) -> None:
    assert find_board(calibration) == ZERO_2W
    for model in ("Raspberry Pi 4 Model B Rev 1.5", None):
        other = replace(calibration, machine=replace(calibration.machine, model=model))
        with pytest.raises(UsageError, match=r"machine\.model is .*, expected that of the target, Raspberry"):
            calibrate_costs(ZERO_2W, COSTS, other, tmp_path)
        assert find_board(other) is None


def test_a_machine_that_is_twice_as_slow_takes_twice_the_time(
    tmp_path: Path, calibration: Calibration
) -> None:
    latency = COSTS.latency_model
    factors = {"clock_mhz": 0.5, "ns_per_streamed_line": 2.0, "ns_per_random_line": 2.0}
    assert set(factors) == set(COEFFICIENTS)
    known = {name: getattr(latency, name) for name in COEFFICIENTS}

    def model(factor_of: dict[str, float]) -> CostModel:
        figures = {name: Figure(known[name] * factor_of[name], 0.0, 1) for name in COEFFICIENTS}
        changed = replace(calibration, **figures)  # type: ignore[arg-type]
        return CostModel.from_data("pi-zero-2w", calibrate_costs(ZERO_2W, COSTS, changed, tmp_path))

    board, same, slow = (
        CostModel.from_data("pi-zero-2w", COSTS),
        model(dict.fromkeys(COEFFICIENTS, 1.0)),
        model(factors),
    )
    for shape in PRESETS.values():
        assert same.p95_ms(shape, 20) == pytest.approx(board.p95_ms(shape, 20))
        assert slow.p95_ms(shape, 20) == pytest.approx(2 * board.p95_ms(shape, 20))
        assert slow.peak_rss(shape) == board.peak_rss(shape)
    assert (slow.latency.error_percent, slow.latency.margin) == (latency.error_percent, latency.margin)
