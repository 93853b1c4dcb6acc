"""Workers that crash, hang, send invalid events or are interrupted, and a real worker."""

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tinyedge.bench.cold_start import measure_starts
from tinyedge.bench.limits import Limits
from tinyedge.bench.report import Report
from tinyedge.bench.run import BenchPlan
from tinyedge.bench.run import run as run_plan
from tinyedge.bench.stopping_rule import StoppingRule
from tinyedge.bench.worker import Job
from tinyedge.core.errors import BenchError, BundleError, UsageError

MICRO_BUNDLE = Path(__file__).parents[1] / "data" / "micro_bundle_int8"
MB = 1 << 20
MakeCommand = Callable[..., list[str]]
Events = Callable[..., list[dict[str, Any]]]


def run(job: Job, limits: Limits, **options: Any) -> Report:
    """Run a job with all its samples."""
    return run_plan(BenchPlan(job, StoppingRule(job.samples), limits), **options)


def test_a_complete_run_gives_a_report(job: Job, events: Events, make_command: MakeCommand) -> None:
    seen: list[int] = []
    report = run(job, Limits(), command=make_command(events()), progress=seen.append)
    assert report.verdict == "pass"
    assert len(report.measurement.samples) == 100
    assert seen[-1] == 100
    assert seen == sorted(seen)
    assert report.device.cores


@pytest.mark.parametrize(
    ("name", "after", "where", "hint"),
    [
        ("SIGILL", 1, "while importing", "newer CPU"),
        ("SIGKILL", 2, "while loading the bundle", "out of memory"),
        ("SIGSEGV", 3, "while reading the first prompt", "onnxruntime"),
        ("SIGSEGV", 5, "while warming up", "onnxruntime"),
        ("SIGTERM", 50, "while measuring samples", ""),
        ("SIGABRT", 0, "before its first event", ""),
    ],
)
def test_the_error_for_a_crashed_worker_names_the_signal(
    job: Job, events: Events, make_command: MakeCommand, name: str, after: int, where: str, hint: str
) -> None:
    command = make_command(events()[:after], f"import signal; os.kill(os.getpid(), signal.{name})")
    with pytest.raises(BenchError, match=f"killed by {name} {where}") as failure:
        run(job, Limits(), command=command)
    assert hint in failure.value.hint


def test_a_worker_that_crashes_after_its_last_event_is_an_error(
    job: Job, events: Events, make_command: MakeCommand
) -> None:
    with pytest.raises(BenchError, match="killed by SIGSEGV"):
        run(job, Limits(), command=make_command(events(), "os.kill(os.getpid(), 11)"))


def test_the_error_for_a_failed_worker_quotes_it(job: Job, events: Events, make_command: MakeCommand) -> None:
    with pytest.raises(BenchError, match=r"while importing .*: ModuleNotFoundError: No module named 'nnx'"):
        run(job, Limits(), command=make_command(events()[:1], "import nnx"))
    with pytest.raises(BenchError, match="it gave no reason"):
        run(job, Limits(), command=make_command(events()[:1], "sys.exit(3)"))


@pytest.mark.parametrize("then", ["time.sleep(600)", "os.close(1); time.sleep(600)"])
def test_a_hanging_worker_is_killed(
    job: Job, events: Events, make_command: MakeCommand, then: str, tmp_path: Path
) -> None:
    pid = tmp_path / "pid"
    command = make_command(events()[:20], f"open({str(pid)!r}, 'w').write(str(os.getpid())); {then}")
    with pytest.raises(BenchError, match="does not respond: no event for 1 s while measuring samples"):
        run(job, Limits(), command=command, max_silence_s=1)
    assert has_ended(int(pid.read_text()))


@pytest.mark.parametrize(
    "noise", ["'Segmentation fault\\n'", "'[1, 2]\\n'", "'{}\\n'", "'['*100000+'\\n'", "'x'*(1<<21)"]
)
def test_a_worker_that_sends_invalid_events_is_killed(
    job: Job, events: Events, make_command: MakeCommand, noise: str
) -> None:
    command = make_command(events()[:9], f"sys.stdout.write({noise}); sys.stdout.flush(); time.sleep(600)")
    with pytest.raises(BenchError, match="sent an invalid event"):
        run(job, Limits(), command=command)


def test_a_truncated_run_is_refused(job: Job, events: Events, make_command: MakeCommand) -> None:
    with pytest.raises(BenchError, match="not a complete measurement"):
        run(job, Limits(), command=make_command(events()[:-1], 'sys.stdout.write(\'{"event": "end"\')'))


def test_an_error_of_the_worker_is_raised_in_the_parent(
    job: Job, events: Events, make_command: MakeCommand
) -> None:
    error = {"event": "error", "kind": "BundleError", "message": "model.onnx is cut", "hint": "copy it again"}
    with pytest.raises(BundleError, match=r"model\.onnx is cut") as failure:
        run(job, Limits(), command=make_command([*events()[:2], error], "sys.exit(1)"))
    assert failure.value.hint == "copy it again"
    with pytest.raises(BenchError, match="unexpected type"):
        run(
            job,
            Limits(),
            command=make_command([{"event": "error", "kind": "SystemExit", "message": "unexpected type"}]),
        )


def test_a_worker_that_cannot_be_started_is_an_error(job: Job) -> None:
    with pytest.raises(BenchError, match="cannot be started: No such file"):
        run(job, Limits(), command=["/no/such/python"])


def test_ctrl_c_ends_the_worker(job: Job, events: Events, make_command: MakeCommand, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    note = f"open({str(pid)!r}, 'w').write(str(os.getpid()))"
    then = f'{note}; print(\'{{"event": "sample"}}\', flush=True); time.sleep(600)'

    def interrupt(samples: int) -> None:
        if samples == 9:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run(job, Limits(), command=make_command(events()[:14], then), progress=interrupt)
    assert has_ended(int(pid.read_text()))


def test_the_worker_has_its_own_process_group(job: Job, events: Events, make_command: MakeCommand) -> None:
    run(job, Limits(), command=make_command(events(), "assert os.getpgid(0) == os.getpid()"))


def has_ended(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_the_worker_does_not_import_from_the_current_folder(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "numpy.py").write_text("raise SystemExit('the wrong numpy')")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BundleError, match="bundle"):
        run(job, Limits())


def test_the_worker_stops_when_there_are_enough_samples(
    job: Job, events: Events, make_command: MakeCommand
) -> None:
    wait_for_stop = f"""
import select
assert sys.stdin.readline().startswith('{{')
select.select([sys.stdin], [], [], 30)[0] and sys.stdin.read() == '' or sys.exit(5)
sys.stdout.write({json.dumps(events()[-1])!r} + chr(10))
"""
    command = make_command(events()[:-1], wait_for_stop)
    plan = BenchPlan(Job("bundle", samples=10_000, max_tokens=4), StoppingRule(100, until_sure_ms=10.0))
    report = run_plan(plan, command=command)
    assert len(report.measurement.samples) == 100
    assert report.verdict == "pass"  # the limit is 250 ms; the p95 is certainly above 10 ms


def test_a_worker_that_stops_too_early_is_an_error(
    job: Job, events: Events, make_command: MakeCommand
) -> None:
    part = [*events()[:50], events()[-1]]
    with pytest.raises(BenchError, match="100 samples were expected"):
        run(job, Limits(), command=make_command(part))


def test_quality_needs_a_text_and_the_number_of_cold_starts_has_a_range() -> None:
    job, stopping = Job("bundle"), StoppingRule()
    with pytest.raises(UsageError, match="--text"):
        BenchPlan(job, stopping, Limits(max_bits_per_byte=2.0))
    for cold in (-1, 1001):
        with pytest.raises(UsageError, match=f"^cold {cold} "):
            BenchPlan(job, stopping, cold=cold)


@pytest.mark.skipif(not MICRO_BUNDLE.exists(), reason="tests/data/micro_bundle_int8 is missing")
def test_a_real_bundle_in_a_real_worker() -> None:
    job = Job(str(MICRO_BUNDLE), samples=30, max_tokens=8)
    report = run(job, Limits(max_p95_ms=60_000))
    # What else runs on this machine can only slow it, and the limit is very far away.
    assert report.verdict == "pass" or report.doubts.changed
    samples, phases = report.measurement.samples, report.measurement.phases
    assert [len(sample.tokens_ns) for sample in samples] == [8] * 30
    assert len({sample.prompt_tokens for sample in samples}) >= 4
    assert phases["bare"].rss < phases["imports"].rss < report.measurement.peak
    # tinyedge.host.drop_code has released the code of imports and loading.
    assert phases["bare"].rss < phases["session"].rss < phases["imports"].rss
    assert phases["session"].rss < phases["decode"].rss < report.measurement.peak
    assert phases["bare"].rss < 20 * MB
    assert report.measurement.peak < 80 * MB
    assert phases["decode"].pss is not None
    assert 0 < phases["decode"].pss <= phases["decode"].rss
    assert len(report.measurement.warm_up.rounds_ms) >= 3
    assert report.measurement.model_bytes == (MICRO_BUNDLE / "model.onnx").stat().st_size
    assert report.measurement.init_s < report.measurement.cold_start_s
    assert report.measurement.precision == "int8"


@pytest.mark.skipif(not MICRO_BUNDLE.exists(), reason="tests/data/micro_bundle_int8 is missing")
def test_cold_starts_and_quality_of_a_real_bundle(tmp_path: Path) -> None:
    text = tmp_path / "some.txt"
    text.write_text("ba ke lo mu\n" * 20)
    plan = BenchPlan(Job(str(MICRO_BUNDLE), 20, 4), StoppingRule(20), cold=2, texts={"some": text})
    report = run_plan(plan)
    assert len(report.cold_starts_s) == 2
    assert all(seconds > 0 for seconds in report.cold_starts_s)
    (quality,) = report.quality
    assert (quality.name, quality.bytes) == ("some", text.stat().st_size)
    assert quality.bits_per_byte > 0


def test_the_error_for_a_failed_cold_start_quotes_it(tmp_path: Path) -> None:
    ((seconds, busy),) = measure_starts([sys.executable, "-c", "print('token')"], 1)
    assert 0 < busy < 2 * seconds
    with pytest.raises(BenchError, match="a cold start failed: no bundle"):
        measure_starts([sys.executable, "-c", "import sys; sys.exit('no bundle')"], 1)
    with pytest.raises(BenchError, match="a cold start failed: it gave no reason"):
        measure_starts([sys.executable, "-c", "pass"], 1)
    with pytest.raises(BenchError, match=r"a cold start failed: .*No such file"):
        measure_starts(["/no/such/python"], 1)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_missing_bundle_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BundleError) as failure:
        run(Job(str(tmp_path / "none")), Limits())
    assert "none" in failure.value.message
