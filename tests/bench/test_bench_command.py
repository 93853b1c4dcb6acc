"""`tinyedge bench` as a user meets it: flags, exit codes, what is written and when."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from tinyedge.bench import run
from tinyedge.commands.bench import bench
from tinyedge.errors import TinyEdgeError, UsageError

Says = Callable[..., list[str]]
Events = Callable[..., list[dict[str, Any]]]


def invoke(*arguments: str) -> Result:
    app = typer.Typer()
    app.command()(bench)
    return CliRunner().invoke(app, ["bundle", "--max-tokens", "4", *arguments])


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch, says: Says, events: Events) -> Callable[..., None]:
    """Replaces the worker by one that reports the given latencies."""

    def replace(*arguments: Any, **options: Any) -> None:
        command = says(events(*arguments, **options))
        monkeypatch.setattr(run, "worker_command", lambda job: command)

    return replace


@pytest.mark.parametrize(
    ("e2e", "flags", "code", "verdict"),
    [
        ([20.0] * 100, [], 0, "pass"),
        ([20.0] * 94 + [400.0] * 6, [], 3, "fail"),
        ([20.0] * 100, ["--max-p95-ms", "19"], 3, "fail"),
        ([20.0] * 100, ["--max-rss-mb", "49"], 3, "fail"),
        ([20.0] * 100, ["--max-peak-mb", "54"], 3, "fail"),
        ([20.0] * 5, ["--samples", "5"], 4, "inconclusive"),
    ],
)
def test_exit_codes(
    worker: Callable[..., None], tmp_path: Path, e2e: list[float], flags: list[str], code: int, verdict: str
) -> None:
    worker(e2e)
    path = tmp_path / "report.json"
    result = invoke("--json", str(path), *flags)
    assert result.exit_code == code
    assert f"verdict: {verdict}" in result.stdout
    assert result.stderr == ""
    assert json.loads(path.read_text())["verdict"] == verdict


@pytest.mark.parametrize(
    "flags",
    [
        ("--samples", "0"),
        ("--max-tokens", "0"),
        ("--max-tokens", "1001"),
        ("--threads", "0"),
        ("--seed", "-1"),
        ("--max-rss-mb", "0"),
        ("--max-peak-mb", "-5"),
        ("--max-p95-ms", "nan"),
        ("--json", "/no/such/folder/report.json"),
    ],
)
def test_a_flag_that_cannot_work_is_named_before_anything_is_measured(
    monkeypatch: pytest.MonkeyPatch, flags: tuple[str, str]
) -> None:
    monkeypatch.setattr(run, "worker_command", lambda job: pytest.fail("a worker was started"))
    result = invoke(*flags)
    assert isinstance(result.exception, UsageError)
    assert flags[0] in result.exception.message


def test_nothing_is_written_when_nothing_was_measured(
    monkeypatch: pytest.MonkeyPatch, says: Says, events: Events, tmp_path: Path
) -> None:
    monkeypatch.setattr(run, "worker_command", lambda job: says(events()[:30], "os.abort()"))
    result = invoke("--json", str(tmp_path / "report.json"))
    assert isinstance(result.exception, TinyEdgeError)
    assert result.stdout == ""
    assert list(tmp_path.iterdir()) == []
