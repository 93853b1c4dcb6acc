"""Comparison of two reports."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tinyedge.bench.compare import MUST_MATCH, compare, read_comparable
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
        other = copy.deepcopy(complete)
        part = other
        for step in where[:-1]:
            part = part[step]
        part[where[-1]] = "another"
        with pytest.raises(BenchError, match=f"{name} is 'another' there"):
            read_comparable(write(path, other), device, job)


def test_files_that_are_not_reports_are_refused(
    report: Make, device: Device, job: Job, tmp_path: Path
) -> None:
    path = tmp_path / "old.json"
    complete = report().to_dict()
    with pytest.raises(BenchError, match=r"schema 'tinyedge\.twin/1'"):
        read_comparable(write(path, {**complete, "schema": "tinyedge.twin/1"}), device, job)
    with pytest.raises(BenchError, match="not a valid report"):
        read_comparable(write(path, {**complete, "device": None}), device, job)
    with pytest.raises(BenchError, match="not a valid report"):
        compare(complete, {**complete, "raw_samples": []}, path)
    with pytest.raises(BenchError, match="not a valid report"):
        compare(complete, {name: value for name, value in complete.items() if name != "memory"}, path)


def test_responses_of_one_token_are_compared_without_the_time_between_tokens(
    report: Make, device: Device, tmp_path: Path
) -> None:
    path = tmp_path / "old.json"
    short = report(measured={"tokens": 1}).to_dict()
    old = read_comparable(write(path, short), device, Job("bundle", samples=100, max_tokens=1))
    assert "itl" not in [change.figure for change in compare(short, old, path).changes]
