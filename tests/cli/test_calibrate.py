"""`tinyedge bench --calibrate` and `tinyedge fit --calibration` as a shell sees them, with known times."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.engines import STAND_INS
from tests.support.program import assert_refused, tinyedge

ROOT = Path(__file__).parents[2]
STAND_IN = {"PYTHONPATH": os.pathsep.join([str(STAND_INS), str(ROOT)])}
# As if tinyedge_kernels were not installed.
WITHOUT_KERNELS = """
import runpy, sys
sys.modules["tinyedge_kernels"] = None
sys.argv = ["tinyedge", "bench", "--calibrate", {path!r}]
runpy.run_module("tinyedge", run_name="__main__", alter_sys=True)
"""
# As on a board where each loop takes long: Ctrl-C comes in the middle of the rounds.
SLOW = """
import runpy, sys, time
import tinyedge_kernels
def time_adds(turns):
    print("started", flush=True)
    time.sleep(0.2)
    return 1, 1
tinyedge_kernels.time_adds = time_adds
sys.argv = ["tinyedge", "bench", "--calibrate", {path!r}]
runpy.run_module("tinyedge", run_name="__main__", alter_sys=True)
"""


def calibrate(*words: object) -> "subprocess.CompletedProcess[str]":
    return tinyedge("bench", "--calibrate", *words, env=STAND_IN)


def as_board(path: Path, **machine: str | None) -> Path:
    """Write that a Raspberry Pi Zero 2 W was calibrated."""
    value = json.loads(path.read_text())
    value["machine"] |= {"machine": "aarch64", "model": "Raspberry Pi Zero 2 W Rev 1.0", **machine}
    path.write_text(json.dumps(value))
    return path


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that the command wrote."""
    path = tmp_path_factory.mktemp("calibrate") / "mine.json"
    done = calibrate(path)
    assert done.returncode == 0, done.stderr
    assert f"wrote {path}" in done.stderr
    clock = next(line for line in done.stdout.splitlines() if line.startswith("clock, MHz"))
    assert clock.split()[2:5] == ["500.0", "500.0", "15"]
    return path


def test_the_file_has_the_figures(written: Path) -> None:
    value = json.loads(written.read_text())
    assert value["schema"] == "tinyedge.calibration/1"
    assert value["clock_mhz"] == {"median": 500.0, "fastest": 500.0, "n": 15}
    assert value["ns_per_streamed_line"]["median"] == 56
    assert [written] == list(written.parent.iterdir())


def test_without_a_file_it_is_calibration_json_and_json_prints_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = calibrate("--json")
    assert json.loads(done.stdout) == json.loads(Path("calibration.json").read_text())
    assert calibrate("--json", "second.json").returncode == 0  # and replaces its own first one
    assert json.loads(Path("second.json").read_text())["schema"] == "tinyedge.calibration/1"


def test_fit_says_what_it_uses_and_which_error_remains(written: Path) -> None:
    path = as_board(written)
    done = tinyedge("fit", "--calibration", path)
    assert done.returncode == 0, done.stderr
    words = " ".join(done.stdout.split())
    assert f"Clock and memory are those of {path}, measured on " in words
    assert "500 MHz, 56.0 ns for a line of memory in order, 314.0 ns for a random one." in words
    assert "so the error of +-" in words
    value = json.loads(tinyedge("fit", "--calibration", path, "--json").stdout)
    assert value["calibration"]["clock_mhz"] == 500
    assert value["calibration"]["ns_per_random_line"] == 314
    plain = json.loads(tinyedge("fit", "--json").stdout)
    assert plain["calibration"] is None
    slow, board = (one["presets"][0]["p95_modelled_ms"] for one in (value, plain))
    assert slow > 1.5 * board


def test_fit_repeats_the_doubts(written: Path, tmp_path: Path) -> None:
    value = json.loads(as_board(written).read_text())
    path = tmp_path / "hot.json"
    path.write_text(json.dumps({**value, "doubts": ["it was hot"]}))
    assert f"note: {path}: it was hot" in tinyedge("fit", "--calibration", path).stderr


def test_fit_refuses_what_is_no_calibration_of_the_target(written: Path, tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_bytes(written.read_bytes())
    as_board(path, model="Raspberry Pi 5 Model B")
    error = assert_refused(tinyedge("fit", "--calibration", path), 2)
    assert "machine.model is 'Raspberry Pi 5 Model B', expected that of the target" in error
    path.write_text(path.read_text().replace('"median": 500.0', '"median": -500.0', 1))
    error = assert_refused(tinyedge("fit", "--calibration", path), 2)
    assert "clock_mhz.median is -500.0, expected" in error
    error = assert_refused(tinyedge("fit", "--calibration", tmp_path / "none.json"), 2)
    assert "none.json does not exist" in error
    before = path.read_bytes()
    assert_refused(tinyedge("fit", "--calibration", path, "--json", path), 2)
    assert path.read_bytes() == before


def test_without_the_kernels_the_error_names_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    code = WITHOUT_KERNELS.format(path=str(path))
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    error = assert_refused(done, 1)
    assert error == "error: calibration needs the native kernels: tinyedge_kernels is not installed"
    assert "hint: `tinyedge deploy` and the offline kit bring them to a board" in done.stderr
    assert "pip install" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["bench", "{folder}", "--calibrate", "{folder}/a.json"], "BUNDLE"),
        (["bench", "--calibrate", "{folder}/a.json", "--samples", "5", "--cold", "1"], "--samples, --cold"),
        (["bench", "--calibrate", "{folder}/a.json", "--max-p95-ms", "5"], "--max-p95-ms"),
    ],
)
def test_other_options_are_refused(words: list[str], named: str, tmp_path: Path) -> None:
    done = tinyedge(*(word.format(folder=tmp_path) for word in words), env=STAND_IN)
    assert assert_refused(done, 2) == "error: --calibrate measures this machine and no bundle"
    assert f"leave out {named}, or --calibrate" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_something_else_stays(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text('{"schema": "tinyedge.bench/3"}')
    error = assert_refused(calibrate(path), 2)
    assert f"--calibrate {path} exists" in error
    assert path.read_text() == '{"schema": "tinyedge.bench/3"}'
    assert "cannot be written" in assert_refused(calibrate(tmp_path / "no" / "a.json"), 2)
    assert "same file" in assert_refused(calibrate(tmp_path / "a.json", "--json", tmp_path / "a.json"), 2)


def test_ctrl_c_leaves_an_earlier_file_as_it_was(written: Path) -> None:
    before = written.read_bytes()
    code = SLOW.format(path=str(written))
    environment = {**os.environ, **STAND_IN}
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        time.sleep(0.05)  # so that it is in the loop
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.endswith("error: interrupted\n")
    assert written.read_bytes() == before
    assert [written] == list(written.parent.iterdir())


def test_a_calibration_is_a_file_and_not_standard_output() -> None:
    assert "--calibrate writes a file" in assert_refused(tinyedge("bench", "--calibrate", "-"), 2)
