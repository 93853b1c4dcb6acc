"""`tinyedge bench` on the command line: flags, exit codes, and what is written when."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from tinyedge.bench import run
from tinyedge.bundle.bundle import bundle_digest, load_bundle
from tinyedge.cli.bench import bench
from tinyedge.cli.main import name_flags
from tinyedge.core.errors import BenchError, BundleError, TinyEdgeError, UsageError

MICRO_BUNDLE = Path(__file__).parents[1] / "data" / "micro_bundle_int8"
GATES = Path(__file__).parents[2] / "bench" / "gates" / "pi-zero-2w.toml"
MakeCommand = Callable[..., list[str]]
Events = Callable[..., list[dict[str, Any]]]


def invoke(*arguments: str) -> Result:
    app = typer.Typer()
    app.command()(bench)
    return CliRunner().invoke(app, [str(MICRO_BUNDLE), "--max-tokens", "4", *arguments])


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch, make_command: MakeCommand, events: Events) -> Callable[..., None]:
    """Replace the worker by one that reports the given latencies."""

    def replace(*arguments: Any, **options: Any) -> None:
        found = events(*arguments, **options)
        found[2]["sha256"] = bundle_digest(load_bundle(MICRO_BUNDLE))
        command = make_command(found)
        monkeypatch.setattr(run, "worker_command", lambda: command)

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
        ([20.0] * 99 + [400.0], [], 4, "inconclusive"),
        ([20.0] * 99 + [400.0], ["--gate", "estimate"], 0, "pass"),
        ([20.0] * 50, ["--samples", "50", "--gate", "bound"], 4, "inconclusive"),
        ([20.0] * 100, ["--max-ttft-ms", "4"], 3, "fail"),
        ([20.0] * 100, ["--min-decode-tps", "1000"], 3, "fail"),
        ([20.0] * 100, ["--max-model-mb", "1"], 3, "fail"),
        ([20.0] * 100, ["--gates", str(GATES)], 0, "pass"),
        ([20.0] * 100, ["--gates", str(GATES), "--max-model-mb", "1"], 3, "fail"),
    ],
)
def test_exit_codes(
    worker: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    e2e: list[float],
    flags: list[str],
    code: int,
    verdict: str,
) -> None:
    worker(e2e)
    # Real starts, which other work makes inconclusive, are in test_run.py.
    monkeypatch.setattr(run, "measure_starts", lambda command, starts: ((0.5, 0.5),) * starts)
    path = tmp_path / "report.json"
    result = invoke("--json", str(path), *flags)
    assert result.exit_code == code
    assert f"verdict: {verdict}" in result.stdout
    assert result.stderr == f"wrote {path}\n"
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
        ("--max-bits-per-byte", "2"),
        ("--max-bits-per-byte", "en=2"),
        ("--max-bits-per-byte", "much"),
        ("--max-regression", "p95=10%"),
        ("--max-cold-start-s", "0"),
        ("--cold", "-1"),
        ("--duration", "0"),
        ("--gates", "/no/such/gates.toml"),
        ("--prompts", "/no/such/prompts.txt"),
        ("--text", "novel.txt"),
        ("--json", "/no/such/folder/report.json"),
        ("--csv", "/no/such/folder/report.csv"),
        ("--html", "/no/such/folder/report.html"),
        ("--html", str(MICRO_BUNDLE / "report.html")),
    ],
)
def test_an_invalid_flag_is_named_before_anything_is_measured(
    monkeypatch: pytest.MonkeyPatch, flags: tuple[str, str]
) -> None:
    monkeypatch.setattr(run, "worker_command", lambda: pytest.fail("a worker was started"))
    result = invoke(*flags)
    assert isinstance(result.exception, UsageError)
    error = name_flags(result.exception, ["bench"])
    text = error.message + error.hint
    assert flags[0] in text or "--text" in text


def test_a_limit_of_the_gates_file_without_its_text_names_the_file(tmp_path: Path) -> None:
    gates = tmp_path / "gates.toml"
    gates.write_text("[gates]\nmax_bits_per_byte = {en = 2}\n")
    error = invoke("--gates", str(gates)).exception
    assert isinstance(error, UsageError)
    assert (
        name_flags(error, ["bench"]).message == f"--gates {gates}: max_bits_per_byte.en has no --text en=FILE"
    )


def test_a_failed_measurement_writes_nothing(
    monkeypatch: pytest.MonkeyPatch, make_command: MakeCommand, events: Events, tmp_path: Path
) -> None:
    monkeypatch.setattr(run, "worker_command", lambda: make_command(events()[:30], "os.abort()"))
    result = invoke("--json", str(tmp_path / "report.json"))
    assert isinstance(result.exception, TinyEdgeError)
    assert result.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_a_missing_bundle_is_a_usage_error() -> None:
    app = typer.Typer()
    app.command()(bench)
    result = CliRunner().invoke(app, [])
    assert isinstance(result.exception, UsageError)
    assert "BUNDLE" in result.exception.message


def test_a_damaged_bundle_is_refused_before_anything_is_measured(
    bundle_copy: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "worker_command", lambda: pytest.fail("a worker was started"))
    folder = bundle_copy()
    (folder / "model.onnx").write_bytes(b"")
    app = typer.Typer()
    app.command()(bench)
    assert isinstance(CliRunner().invoke(app, [str(folder)]).exception, BundleError)


def test_two_runs_are_compared_and_the_difference_is_saved(
    worker: Callable[..., None], tmp_path: Path
) -> None:
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    worker([20.0, 21.0] * 50)
    assert invoke("--json", str(old)).exit_code == 0
    worker([30.0, 31.0] * 50)
    result = invoke("--json", str(new), "--compare", str(old), "--html", str(tmp_path / "new.html"))
    assert result.exit_code == 0
    assert "p50 of a response: 20.5 -> 30.5 ms, +48.8%" in result.stdout
    assert ": slower in this pair" in " ".join(result.stdout.split())
    changes = json.loads(new.read_text())["compared"]["changes"]
    assert changes[0]["difference"]["percent"] == pytest.approx(48.78, abs=0.01)
    assert "Compared with" in (tmp_path / "new.html").read_text()


@pytest.mark.parametrize(
    ("e2e", "code", "verdict"),
    [
        ([20.0, 21.0] * 50, 0, "pass"),
        ([30.0, 31.0] * 50, 3, "fail"),
        ([20.0] * 94 + [25.0] * 6, 4, "inconclusive"),  # six slow responses: by chance none, or many
    ],
)
def test_a_change_since_another_report_can_fail(
    worker: Callable[..., None], tmp_path: Path, e2e: list[float], code: int, verdict: str
) -> None:
    old, new, gates = (tmp_path / name for name in ("old.json", "new.json", "gates.toml"))
    gates.write_text("[regressions]\np50 = 1000\npeak = 0\n")
    worker([20.0, 21.0] * 50)
    invoke("--json", str(old))
    worker(e2e)
    words = ["--compare", str(old), "--max-regression", "p95=10%", "--gates", str(gates)]
    result = invoke(*words, "--json", str(new))
    assert result.exit_code == code
    found = json.loads(new.read_text())
    assert found["verdict"] == verdict
    named = {gate["name"]: gate["kind"] for gate in found["gates"]}
    assert [name for name, kind in named.items() if kind == "regression"] == [
        *("regression:p50", "regression:p95", "regression:peak"),
    ]
    assert "since the other report" in result.stdout


def test_different_work_is_refused_before_anything_is_measured(
    worker: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    old = tmp_path / "old.json"
    worker([20.0] * 100)
    invoke("--json", str(old))
    monkeypatch.setattr(run, "worker_command", lambda: pytest.fail("a worker was started"))
    result = invoke("--compare", str(old), "--max-tokens", "5")
    assert isinstance(result.exception, BenchError)
    assert "length of a response is 4 there and 5 here" in result.exception.message


def test_a_page_of_an_existing_report_needs_no_measurement(
    worker: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "report.json"
    worker([20.0] * 100)
    invoke("--json", str(path), "--html", str(tmp_path / "first.html"))
    monkeypatch.setattr(run, "worker_command", lambda: pytest.fail("a worker was started"))
    app = typer.Typer()
    app.command()(bench)
    words = ["--device-report", str(path)]
    result = CliRunner().invoke(app, [*words, "--csv", str(tmp_path / "samples.csv")])
    assert result.exit_code == 0
    assert path.with_suffix(".html").read_text() == (tmp_path / "first.html").read_text()
    assert len((tmp_path / "samples.csv").read_text().splitlines()) == 101
    again = CliRunner().invoke(app, words)
    assert isinstance(again.exception, UsageError)  # the page exists, and --html was not given
    assert isinstance(invoke(*words).exception, UsageError)  # a bundle would not be measured
    path.write_text("{}")
    assert isinstance(CliRunner().invoke(app, words).exception, BenchError)


def test_the_report_is_saved_even_if_the_table_cannot_be_printed(
    worker: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def full(text: object = "", **more: Any) -> None:
        raise OSError(28, "No space left on device")

    worker([20.0] * 100)
    monkeypatch.setattr(typer, "echo", full)
    invoke("--json", str(tmp_path / "report.json"))
    assert json.loads((tmp_path / "report.json").read_text())["verdict"] == "pass"


def test_cold_starts_of_a_replaced_bundle_are_refused(
    monkeypatch: pytest.MonkeyPatch, make_command: MakeCommand, events: Events
) -> None:
    monkeypatch.setattr(run, "worker_command", lambda: make_command(events()))
    result = invoke("--cold", "1")
    assert isinstance(result.exception, BenchError)
    assert "was replaced while it was measured" in result.exception.message


def test_fewer_samples_than_prompts_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("a\n" * 21)
    result = invoke("--prompts", str(tmp_path / "mine.txt"), "--samples", "20")
    assert isinstance(result.exception, UsageError)
    assert "--samples 20 is less than the 21 prompts" in result.exception.message
