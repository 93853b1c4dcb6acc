"""Workers that die, hang, lie or are interrupted; and a real one, where a bundle is at hand."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tinyedge.bench.gate import Limits
from tinyedge.bench.run import require_writable, run
from tinyedge.bench.worker import Job
from tinyedge.errors import BenchError, BundleError, UsageError

MICRO_BUNDLE = Path(__file__).parents[1] / "data" / "micro_bundle_int8"
MB = 1 << 20
Says = Callable[..., list[str]]
Events = Callable[..., list[dict[str, Any]]]


def test_a_whole_run_is_a_report(job: Job, events: Events, says: Says) -> None:
    seen: list[int] = []
    report = run(job, Limits(), command=says(events()), progress=seen.append)
    assert report.verdict == "pass"
    assert len(report.measurement.samples) == 100
    assert seen == list(range(1, 101))
    assert report.device.cores


@pytest.mark.parametrize(
    ("name", "after", "where", "hint"),
    [
        ("SIGILL", 1, "while importing", "newer CPU"),
        ("SIGKILL", 2, "while loading the bundle", "out of memory"),
        ("SIGSEGV", 3, "while answering the first prompt", "onnxruntime"),
        ("SIGTERM", 50, "among the samples", ""),
        ("SIGABRT", 0, "before it began", ""),
    ],
)
def test_a_worker_that_dies_is_named_with_its_signal(
    job: Job, events: Events, says: Says, name: str, after: int, where: str, hint: str
) -> None:
    command = says(events()[:after], f"import signal; os.kill(os.getpid(), signal.{name})")
    with pytest.raises(BenchError, match=f"killed by {name} {where}") as failure:
        run(job, Limits(), command=command)
    assert hint in failure.value.hint


def test_a_worker_that_dies_after_its_last_event_has_measured_nothing(
    job: Job, events: Events, says: Says
) -> None:
    with pytest.raises(BenchError, match="killed by SIGSEGV"):
        run(job, Limits(), command=says(events(), "os.kill(os.getpid(), 11)"))


def test_a_worker_that_fails_is_quoted(job: Job, events: Events, says: Says) -> None:
    with pytest.raises(BenchError, match=r"while importing .*: ModuleNotFoundError: No module named 'nnx'"):
        run(job, Limits(), command=says(events()[:1], "import nnx"))
    with pytest.raises(BenchError, match="it gave no reason"):
        run(job, Limits(), command=says(events()[:1], "sys.exit(3)"))


@pytest.mark.parametrize("then", ["time.sleep(600)", "os.close(1); time.sleep(600)"])
def test_a_worker_that_hangs_is_ended(
    job: Job, events: Events, says: Says, then: str, tmp_path: Path
) -> None:
    pid = tmp_path / "pid"
    command = says(events()[:20], f"open({str(pid)!r}, 'w').write(str(os.getpid())); {then}")
    with pytest.raises(BenchError, match="hangs: no sign of life for 1 s among the samples"):
        run(job, Limits(), command=command, silence_s=1)
    assert gone(int(pid.read_text()))


@pytest.mark.parametrize(
    "noise", ["'Segmentation fault\\n'", "'[1, 2]\\n'", "'{}\\n'", "'['*100000+'\\n'", "'x'*(1<<21)"]
)
def test_a_worker_that_talks_nonsense_is_ended(job: Job, events: Events, says: Says, noise: str) -> None:
    command = says(events()[:9], f"sys.stdout.write({noise}); sys.stdout.flush(); time.sleep(600)")
    with pytest.raises(BenchError, match="no event"):
        run(job, Limits(), command=command)


def test_a_run_cut_short_is_no_measurement(job: Job, events: Events, says: Says) -> None:
    with pytest.raises(BenchError, match="not a measurement"):
        run(job, Limits(), command=says(events()[:-1], 'sys.stdout.write(\'{"event": "end"\')'))


def test_an_error_in_the_worker_is_the_users_error(job: Job, events: Events, says: Says) -> None:
    error = {"event": "error", "kind": "BundleError", "message": "model.onnx is cut", "hint": "copy it again"}
    with pytest.raises(BundleError, match=r"model\.onnx is cut") as failure:
        run(job, Limits(), command=says([*events()[:2], error], "sys.exit(1)"))
    assert failure.value.hint == "copy it again"
    with pytest.raises(BenchError, match="odd"):
        run(job, Limits(), command=says([{"event": "error", "kind": "SystemExit", "message": "odd"}]))


def test_a_worker_that_does_not_start(job: Job) -> None:
    with pytest.raises(BenchError, match="does not start: No such file"):
        run(job, Limits(), command=["/no/such/python"])


def test_ctrl_c_ends_the_worker_too(job: Job, events: Events, says: Says, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    note = f"open({str(pid)!r}, 'w').write(str(os.getpid()))"
    then = f'{note}; print(\'{{"event": "sample"}}\', flush=True); time.sleep(600)'

    def interrupt(samples: int) -> None:
        if samples == 11:
            signal.raise_signal(signal.SIGINT)

    handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job may ignore it
    try:
        with pytest.raises(KeyboardInterrupt):
            run(job, Limits(), command=says(events()[:14], then), progress=interrupt)
    finally:
        signal.signal(signal.SIGINT, handler)
    assert gone(int(pid.read_text()))


def test_ctrl_c_reaches_the_worker_through_its_parent_only(job: Job, events: Events, says: Says) -> None:
    run(job, Limits(), command=says(events(), "assert os.getpgid(0) == os.getpid()"))


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_a_worker_does_not_import_what_lies_in_the_current_folder(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "numpy.py").write_text("raise SystemExit('the wrong numpy')")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BundleError, match="bundle"):
        run(job, Limits())


def test_where_a_report_cannot_be_written_is_found_out_first(tmp_path: Path) -> None:
    require_writable(tmp_path / "report.json")
    assert list(tmp_path.iterdir()) == []
    old = tmp_path / "old.json"
    old.write_text("old")
    require_writable(old)
    assert old.read_text() == "old"
    for path in (
        tmp_path,
        tmp_path / "none" / "report.json",
        Path("/proc/report.json"),
        Path("/dev/null"),
        tmp_path / ("x" * 300),
    ):
        with pytest.raises(UsageError, match=f"--json {path} "):
            require_writable(path)


@pytest.mark.skipif(not MICRO_BUNDLE.exists(), reason="tests/data/micro_bundle_int8 is not there")
def test_a_real_bundle_in_a_real_worker() -> None:
    job = Job(str(MICRO_BUNDLE), samples=30, max_tokens=8)
    report = run(job, Limits(max_p95_ms=60_000))
    assert report.verdict == "pass"
    samples, memory = report.measurement.samples, report.measurement.memory
    assert [len(sample.tokens_ns) for sample in samples] == [8] * 30
    assert len({sample.prompt_tokens for sample in samples}) >= 4
    assert memory.start < memory.imports < memory.peak
    assert memory.start < 20 * MB
    assert memory.peak < 80 * MB
    assert report.measurement.init_s < report.measurement.cold_start_s
    assert report.measurement.precision == "int8"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_bundle_that_is_none_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(BundleError) as failure:
        run(Job(str(tmp_path / "none")), Limits())
    assert "none" in failure.value.message
