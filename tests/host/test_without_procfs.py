"""A machine without /proc and /sys: training, bench and doctor use what psutil and Python report.

macOS is simulated: `sys.platform` is darwin, /proc and /sys do not exist, there is no CPU affinity, and
psutil answers as it does there.
"""

import ctypes
import json
import math
import os
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from tests.support.recording_reporter import RecordingReporter
from tests.support.syllables import syllable_lines
from tinyedge.bench.conditions import MachineMonitor, Reading
from tinyedge.bench.measurement import Measurement
from tinyedge.bench.worker import Job
from tinyedge.core.errors import BenchError
from tinyedge.doctor.report import examine_machine
from tinyedge.host import subprocess_env
from tinyedge.host.affinity import count_usable_cores
from tinyedge.host.machine import describe_machine
from tinyedge.host.memory import read_memory, read_pss
from tinyedge.host.sensors import read_mhz, read_temperature
from tinyedge.host.system_memory import SwapArea

GB = 1 << 30
PEAK = 87_654_321
IMPORTS_WORK = (sys.executable, "-c", "pass")  # stands for the child that imports the libraries
FAILURES = (
    *(psutil.AccessDenied(1), psutil.NoSuchProcess(1), NotImplementedError("not here")),
    *(RuntimeError(), AttributeError("no function"), OSError(5, "refused")),
)

# Applied in this process by the fixture, and in the measured worker by its command.
PATCHES = f"""
import os, pathlib, resource, sys, types
import psutil, numpy, onnxruntime, sentencepiece  # these look at sys.platform when they are imported

sys.platform = "darwin"
del os.sched_getaffinity
usage, read = resource.getrusage, pathlib.Path.read_text
resource.getrusage = lambda who: types.SimpleNamespace(ru_maxrss={PEAK}) if who == 0 else usage(who)

def read_text(path, *arguments, **options):
    if path.parts[:2] in (("/", "proc"), ("/", "sys")):
        raise FileNotFoundError(path)
    return read(path, *arguments, **options)

pathlib.Path.read_text = read_text
"""


@pytest.fixture
def macos(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make this process look like one on macOS; psutil has no temperatures there."""
    read_text = Path.read_text

    def read_text_without_proc(path: Path, *arguments: Any, **options: Any) -> str:
        if path.parts[:2] in (("/", "proc"), ("/", "sys")):
            raise FileNotFoundError(path)
        return read_text(path, *arguments, **options)

    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(Path, "read_text", read_text_without_proc)
    monkeypatch.setattr(resource, "getrusage", lambda who: SimpleNamespace(ru_maxrss=PEAK))
    monkeypatch.delattr(psutil, "sensors_temperatures")
    monkeypatch.setattr(psutil, "cpu_freq", lambda: SimpleNamespace(current=3200, min=600, max=3200))
    ram = SimpleNamespace(total=16 * GB, available=9 * GB)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: ram)
    swap = SimpleNamespace(total=2 * GB, used=GB)  # macOS creates swap files only as it needs them
    monkeypatch.setattr(psutil, "swap_memory", lambda: swap)


@pytest.mark.usefixtures("macos")
def test_the_process_reports_its_memory_without_swap() -> None:
    memory = read_memory()
    assert memory == {"rss": memory["rss"], "peak": PEAK}
    assert memory["rss"] > 1 << 20
    assert read_pss() is None


@pytest.mark.usefixtures("macos")
def test_the_peak_is_in_kibibytes_on_other_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "freebsd14")
    assert read_memory()["peak"] == PEAK * 1024


@pytest.mark.usefixtures("macos")
def test_the_description_has_what_is_known_and_none_elsewhere() -> None:
    device = describe_machine(vcgencmd="no-such-program")
    assert (device.cores, device.ram, device.freq) == (8, 16 * GB, 3200.0)
    assert device.swap == (SwapArea("swap", 2 * GB, GB),)
    assert device.kernel == f"{platform.system()} {platform.release()}"
    assert {device.model, device.governor, device.temp, device.memory_controller} == {None}
    assert (device.throttled, device.features) == (None, ())
    assert count_usable_cores() == 8


@pytest.mark.usefixtures("macos")
@pytest.mark.parametrize("failure", [OSError(), RuntimeError(), FileNotFoundError()])
def test_a_clock_that_psutil_cannot_read_is_none(monkeypatch: pytest.MonkeyPatch, failure: Exception) -> None:
    def fail() -> None:
        raise failure

    monkeypatch.setattr(psutil, "cpu_freq", fail)
    assert read_mhz() is None
    monkeypatch.setattr(psutil, "cpu_freq", lambda: None)
    assert read_mhz() is None
    monkeypatch.delattr(psutil, "cpu_freq")
    assert read_mhz() is None


@pytest.mark.usefixtures("macos")
def test_the_hottest_sensor_counts_where_psutil_has_some(monkeypatch: pytest.MonkeyPatch) -> None:
    sensors = {"cpu": [SimpleNamespace(current=41.0), SimpleNamespace(current=57.5)], "disk": []}
    monkeypatch.setattr(psutil, "sensors_temperatures", lambda: sensors, raising=False)
    assert read_temperature() == 57.5
    monkeypatch.setattr(psutil, "sensors_temperatures", dict, raising=False)
    assert read_temperature() is None


@pytest.mark.usefixtures("macos")
@pytest.mark.parametrize("failure", FAILURES)
def test_readings_that_psutil_refuses_are_none(monkeypatch: pytest.MonkeyPatch, failure: Exception) -> None:
    def fail() -> None:
        raise failure

    for name in ("cpu_freq", "sensors_temperatures", "virtual_memory", "swap_memory"):
        monkeypatch.setattr(psutil, name, fail, raising=False)
    device = describe_machine(vcgencmd="no-such-program")
    assert (device.freq, device.temp, device.ram, device.swap) == (None, None, None, ())


@pytest.mark.usefixtures("macos")
@pytest.mark.parametrize("nothing", [None, math.nan])
def test_readings_without_a_value_are_ignored(monkeypatch: pytest.MonkeyPatch, nothing: float | None) -> None:
    monkeypatch.setattr(psutil, "cpu_freq", lambda: SimpleNamespace(current=nothing))
    ram = SimpleNamespace(total=nothing, available=nothing)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: ram)
    monkeypatch.setattr(psutil, "swap_memory", lambda: SimpleNamespace(total=nothing, used=nothing))
    sensors = {"cpu": [SimpleNamespace(current=nothing), SimpleNamespace(current=41.0)]}
    monkeypatch.setattr(psutil, "sensors_temperatures", lambda: sensors, raising=False)
    device = describe_machine(vcgencmd="no-such-program")
    assert (device.freq, device.temp, device.ram, device.swap) == (None, 41.0, None, ())
    sensors["cpu"].pop()
    assert read_temperature() is None


@pytest.mark.usefixtures("macos")
@pytest.mark.parametrize("failure", FAILURES)
def test_memory_that_psutil_refuses_is_an_error_of_the_measurement(
    monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    def fail() -> None:
        raise failure

    monkeypatch.setattr(psutil, "Process", fail)
    with pytest.raises(BenchError, match="does not report this process's memory"):
        read_memory()


@pytest.mark.usefixtures("macos")
def test_memory_without_a_value_is_an_error_of_the_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    process = SimpleNamespace(memory_info=lambda: SimpleNamespace(rss=None))
    monkeypatch.setattr(psutil, "Process", lambda: process)
    with pytest.raises(BenchError, match="does not report this process's memory"):
        read_memory()


@pytest.mark.usefixtures("macos")
def test_a_child_is_started_without_prctl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(ctypes, "CDLL")
    subprocess_env.die_with_parent()


@pytest.mark.usefixtures("macos")
def test_doctor_warns_of_nothing_that_only_linux_has() -> None:
    report = examine_machine(child=IMPORTS_WORK)
    found = {finding.name: (finding.level, finding.found) for finding in report.findings}
    assert found["memory"] == ("ok", "9216 MB free of 16384")
    assert found["swap"] == ("ok", "swap: 1024 MB in use of 2048")
    assert found["memory limits"] == ("ok", "MemoryMax= of a service needs Linux")
    assert found["temperature"] == ("ok", "no sensor")
    assert found["throttling"] == ("ok", "not a Raspberry Pi")
    assert found["board"][1].startswith("not a known board, ")
    assert " x 8: " in found["CPU"][1]


@pytest.mark.usefixtures("macos")
def test_bench_reads_the_clock_alone() -> None:
    monitor = MachineMonitor(vcgencmd="no-such-program")
    before = monitor.read()
    assert before == Reading(3200.0, None, None)
    monitor.sample_clock()
    assert monitor.finish(before).mhz == (3200.0,)


def test_the_worker_of_bench_measures(micro_bundle: Path) -> None:
    job = Job(str(micro_bundle), samples=6, max_tokens=4)
    script = f"{PATCHES}\nfrom tinyedge.bench import worker\nsys.exit(worker.main())"
    started = time.perf_counter_ns()
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=subprocess_env.make_environment(),
        input=job.to_json() + "\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    # Standard input is closed, so the worker may stop once a second; it has six samples before that.
    measurement = Measurement.from_events(job, events, started, 1)
    assert (measurement.peak, measurement.swap) == (PEAK, 0)
    assert measurement.waited_share is None
    assert all(phase.rss > 1 << 20 and phase.pss is None for phase in measurement.phases.values())
    assert measurement.samples[0].rss > measurement.phases["bare"].rss // 2


def test_training_runs_and_records_its_peak(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    pytest.importorskip("torch", reason="training needs the extra `train`")
    from tinyedge.core.config import ModelConfig
    from tinyedge.corpus.build import CorpusRequest
    from tinyedge.text.train_tokenizer import TokenizerConfig
    from tinyedge.train import pipeline, single_run
    from tinyedge.train.hardware import choose_hardware
    from tinyedge.train.limits import RunLimits
    from tinyedge.train.recipe import resolve
    from tinyedge.train.run_request import RunRequest

    request.getfixturevalue("macos")  # only now: torch looks at sys.platform when it is imported
    monkeypatch.setattr(single_run, "draw_curve", lambda run, path: path.write_bytes(b"drawn"))
    text = tmp_path / "mine.txt"
    lines = syllable_lines(1200)
    text.write_text("\n\n".join("\n".join(lines[start : start + 20]) for start in range(0, 1200, 20)))
    run = RunRequest(
        output_dir=tmp_path / "run",
        corpus=CorpusRequest((), (text,)),
        tokenizer=TokenizerConfig(vocab_size=1000),
        model=ModelConfig(
            vocab_size=1000, d_model=64, nhead=2, num_layers=1, dim_feedforward=128, max_seq_length=32
        ),
        training=resolve("fast", {"epochs": 1, "batch_size": 16, "stride": 160}),
        hardware=choose_hardware("cpu", "auto"),
        limits=RunLimits(),
    )
    assert pipeline.run(run, RecordingReporter()) is not None
    metrics = json.loads((tmp_path / "run" / "training_metrics.json").read_text())
    assert metrics["status"] == "finished"
    assert metrics["peak_rss_bytes"] == PEAK
