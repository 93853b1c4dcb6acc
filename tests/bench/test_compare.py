"""Comparison of two reports."""

import copy
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tinyedge.bench.baseline import MEMORY, TEXTS
from tinyedge.bench.compare import MAY_DIFFER, MEMORY_FIGURES, MUST_MATCH, compare, read_comparable
from tinyedge.bench.limits import FIGURES
from tinyedge.bench.report import Report
from tinyedge.bench.worker import Job
from tinyedge.core import files
from tinyedge.core.errors import BenchError
from tinyedge.host.machine import Device

Make = Callable[..., Report]


def write(path: Path, report: dict[str, Any]) -> Path:
    files.write_json(path, report)
    return path


def put(report: dict[str, Any], where: tuple[str | int, ...], value: Any) -> dict[str, Any]:
    """Return a copy of a report with another value in one field."""
    changed = copy.deepcopy(report)
    part: Any = changed
    for step in where[:-1]:
        part = part[step]
    part[where[-1]] = value
    return changed


def test_noise_shows_no_difference_and_ten_percent_does(report: Make, tmp_path: Path) -> None:
    noisy = [20.0 + index * 37 % 11 / 5 for index in range(200)]
    old, same = report(noisy).to_dict(), report(noisy[100:] + noisy[:100]).to_dict()
    slower = report([value * 1.1 for value in noisy]).to_dict()
    path = tmp_path / "old.json"
    assert all("no difference shown" in change.sentence for change in compare(same, old, path).changes[:5])
    found = compare(slower, old, path).changes
    assert all(change.sentence.endswith("slower in this pair") for change in found[:5])
    assert found[0].difference is not None
    assert found[0].difference.low < 10.0 < found[0].difference.high
    assert all(
        change.sentence.endswith("faster in this pair") for change in compare(old, slower, path).changes[:4]
    )
    assert [change.name for change in found[5:]] == ["steady memory", "peak memory"]
    assert [change.figure for change in found] == list(FIGURES)


def test_a_changed_engine_is_reported(report: Make, tmp_path: Path) -> None:
    new = report().to_dict()
    kernels = {"name": "kernels", "instructions": "neon", "reason": "tinyedge_kernels is installed"}
    old = put(new, ("device", "engine"), kernels)
    assert compare(new, old, tmp_path).differs == ("engine kernels (neon)",)
    assert compare(old, new, tmp_path).differs == ("engine onnxruntime",)
    assert compare(old, old, tmp_path).differs == ()
    before = put(new, ("device",), {name: new["device"][name] for name in new["device"] if name != "engine"})
    assert compare(new, before, tmp_path).differs == ()  # a report from before there were two engines
    assert compare(old, before, tmp_path).differs == ("engine onnxruntime",)


@pytest.mark.parametrize("engine", [None, "neon", {}, {"name": 1, "instructions": None}, {"name": "kernels"}])
def test_an_invalid_engine_is_refused(report: Make, tmp_path: Path, engine: object) -> None:
    new = report().to_dict()
    with pytest.raises(BenchError, match=r"device\.engine"):
        compare(new, put(new, ("device", "engine"), engine), tmp_path)


def test_other_differences_are_reported(report: Make, tmp_path: Path) -> None:
    old = report(measured={"waited": 0.5}).to_dict()
    old["bundle"]["sha256"] = "cd" * 32
    old["device"]["onnxruntime"] = "1.20.0"
    printed = "\n".join(compare(report().to_dict(), old, tmp_path / "old.json").lines)
    assert "bundle cdcdcdcdcdcdcdcd; onnxruntime 1.20.0; unreliable, because other programs used" in printed


def test_different_machines_and_work_are_refused(
    report: Make, device: Device, job: Job, tmp_path: Path
) -> None:
    path = tmp_path / "old.json"
    complete = report().to_dict()
    assert read_comparable(write(path, complete), device, job)["samples"] == 100
    for name, where in MUST_MATCH.items():
        other = put(complete, where, "another")
        with pytest.raises(BenchError, match=f"{name} is 'another' there"):
            read_comparable(write(path, other), device, job)


def test_files_that_are_not_reports_are_refused(
    report: Make, device: Device, job: Job, tmp_path: Path
) -> None:
    path = tmp_path / "old.json"
    complete = report().to_dict()
    with pytest.raises(BenchError, match=r"schema 'tinyedge\.twin/1'"):
        read_comparable(write(path, {**complete, "schema": "tinyedge.twin/1"}), device, job)
    path.write_text("[]")
    with pytest.raises(BenchError, match=r"old\.json is not a JSON object"):
        read_comparable(path, device, job)
    with pytest.raises(BenchError, match="device is null, an object is needed"):
        read_comparable(write(path, {**complete, "device": None}), device, job)
    with pytest.raises(BenchError, match="raw_samples is a list of 0, a list of one response or more"):
        compare(complete, {**complete, "raw_samples": []}, path)
    with pytest.raises(BenchError, match="memory is missing"):
        compare(complete, {name: value for name, value in complete.items() if name != "memory"}, path)


@pytest.mark.parametrize("value", [0, -5, "5", True, None, [], 1e308, math.inf, 10**400, 1e-320])
@pytest.mark.parametrize(
    "where",
    [
        ("memory", "peak_rss"),
        ("memory", "steady_rss"),
        ("raw_samples", 3, "e2e_ms"),
        ("raw_samples", 3, "ttft_ms"),
        ("raw_samples", 3, "itl_ms", 0),
    ],
)
def test_a_figure_that_is_no_possible_measurement_is_refused_before_measuring(
    report: Make, device: Device, job: Job, tmp_path: Path, where: tuple[str | int, ...], value: Any
) -> None:
    path = tmp_path / "old.json"
    name = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in where)[1:]
    path.write_text(json.dumps(put(report().to_dict(), where, value)).replace("Infinity", "1e999"))
    with pytest.raises(BenchError) as failure:
        read_comparable(path, device, job)
    assert failure.value.message.startswith(f"--compare {path}: {name} is ")
    assert "a number above 0 (from " in failure.value.message
    assert len(failure.value.message) < len(str(path)) + 140


@pytest.mark.parametrize(
    ("where", "value", "complaint"),
    [
        (("doubts",), 5, "doubts is 5, a list of texts is needed"),
        (("doubts",), "slow", "doubts is 'slow', a list of texts is needed"),
        (("slowed_by",), None, "slowed_by is null, a list of texts is needed"),
        (("slowed_by",), [{}], "slowed_by[0] is an object, a printable text is needed"),
        (("created",), "\x1b[31m", r"created is '\x1b[31m', a printable text is needed"),
        (("bundle", "sha256"), 1, "bundle.sha256 is 1, a printable text is needed"),
        (("raw_samples",), {}, "raw_samples is an object, a list of one response or more is needed"),
        (("raw_samples", 3), 1, "raw_samples[3] is 1, an object is needed"),
        (("raw_samples", 3), {}, "raw_samples[3].prompt is missing"),
        (
            ("raw_samples", 3, "prompt"),
            [],
            "raw_samples[3].prompt is a list of 0, a printable text is needed",
        ),
        (("raw_samples", 3, "itl_ms"), 4, "raw_samples[3].itl_ms is 4, a list of numbers is needed"),
    ],
)
def test_a_field_of_another_kind_is_refused_by_its_name(
    report: Make,
    device: Device,
    job: Job,
    tmp_path: Path,
    where: tuple[str | int, ...],
    value: Any,
    complaint: str,
) -> None:
    path = write(tmp_path / "old.json", put(report().to_dict(), where, value))
    with pytest.raises(BenchError) as failure:
        read_comparable(path, device, job)
    assert failure.value.message == f"--compare {path}: {complaint}"


def test_the_texts_and_memory_that_a_comparison_uses_are_checked() -> None:
    assert set(MAY_DIFFER.values()) < set(TEXTS)
    assert set(MEMORY_FIGURES.values()) == set(MEMORY)


def test_an_unknown_version_in_an_old_report_is_accepted(
    report: Make, device: Device, job: Job, tmp_path: Path
) -> None:
    old = put(report().to_dict(), ("device", "kernel"), None)
    assert read_comparable(write(tmp_path / "old.json", old), device, job)["device"]["kernel"] is None


def test_responses_of_one_token_are_compared_without_the_time_between_tokens(
    report: Make, device: Device, tmp_path: Path
) -> None:
    path = tmp_path / "old.json"
    short = report(measured={"tokens": 1}).to_dict()
    old = read_comparable(write(path, short), device, Job("bundle", samples=100, max_tokens=1))
    assert "itl" not in [change.figure for change in compare(short, old, path).changes]


def test_responses_without_any_time_between_tokens_are_refused_if_they_have_several_tokens(
    report: Make, device: Device, job: Job, tmp_path: Path
) -> None:
    old = report().to_dict()
    for sample in old["raw_samples"]:
        sample["itl_ms"] = []
    with pytest.raises(BenchError, match=r"raw_samples\[\]\.itl_ms is empty in every response"):
        read_comparable(write(tmp_path / "old.json", old), device, job)
