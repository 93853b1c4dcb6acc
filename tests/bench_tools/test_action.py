"""The GitHub Action of action.yml: its steps, run by bash as a runner runs them, on the micro bundle."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.action.gate import BENCH_LISTS, BENCH_OPTIONS, REPORTS

yaml = pytest.importorskip("yaml", reason="needs the extra `dev`")

ROOT = Path(__file__).parents[2]
ACTION: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text())
STEPS: dict[str, Any] = {step["id"]: step for step in ACTION["runs"]["steps"]}
FEW = {"samples": "20", "max-p95-ms": "600000", "max-rss-mb": "4000", "max-peak-mb": "4000"}


class Job:
    """A job on a runner: a working folder, and the files through which a step reports."""

    def __init__(self, folder: Path, **inputs: str) -> None:
        self.folder, self.output, self.summary = folder, folder / "output", folder / "summary"
        command = folder / "tinyedge"
        command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m tinyedge "$@"\n')
        command.chmod(0o755)
        defaults = {name: str(one.get("default", "")) for name, one in ACTION["inputs"].items()}
        self.inputs = {**defaults, "command": str(command), **inputs}

    def run(self, step: str = "gate") -> "subprocess.CompletedProcess[str]":
        """Run a step's script as a runner does."""
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "GITHUB_ACTION_PATH": str(ROOT),
            "GITHUB_OUTPUT": str(self.output),
            "GITHUB_STEP_SUMMARY": str(self.summary),
            "RUNNER_TEMP": str(self.folder / "temp"),
        }
        for name, value in STEPS[step]["env"].items():
            (source,) = re.findall(r"inputs\.([a-z0-9-]+)", value)[:1]
            environment[name] = self.inputs[source]
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", STEPS[step]["run"]]
        return subprocess.run(
            command,
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )

    @property
    def outputs(self) -> dict[str, str]:
        """The step's outputs, as a runner reads them."""
        return dict(re.findall(r"^(.*?)<<(?:.*)\n(.*)\nend-.*$", self.output.read_text(), re.MULTILINE))


def test_every_input_reaches_a_script_through_its_environment_alone() -> None:
    passed = " ".join(value for step in STEPS.values() for value in step["env"].values())
    assert set(re.findall(r"inputs\.([a-z0-9-]+)", passed)) == set(ACTION["inputs"])
    assert not any("${{" in step["run"] for step in STEPS.values())
    assert set(BENCH_OPTIONS) | set(BENCH_LISTS) < set(ACTION["inputs"])
    for name, value in STEPS["gate"]["env"].items():
        assert name == "INPUT_" + re.findall(r"inputs\.([a-z0-9-]+)", value)[0].upper().replace("-", "_")


def test_only_githubs_own_actions_are_used() -> None:
    used = [step["uses"] for step in STEPS.values() if "uses" in step]
    assert all(re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", name) for name in used)


def test_a_bundle_within_its_limits_passes(micro_bundle: Path, tmp_path: Path) -> None:
    job = Job(tmp_path, bundle=str(micro_bundle), **FEW)
    done = job.run()
    if job.outputs["verdict"] == "inconclusive":
        pytest.skip("this machine's clock changed during the measurement")
    assert done.returncode == 0, done.stdout + done.stderr
    assert job.outputs["verdict"] == "pass"
    assert float(job.outputs["p95-ms"]) > 0
    report = json.loads((tmp_path / job.outputs["report"]).read_text())
    assert report["verdict"] == "pass"
    manifest = json.loads((micro_bundle / "manifest.json").read_text())
    assert job.outputs["model-id"] == manifest["model_id"]
    summary = job.summary.read_text()
    assert f"`{manifest['model_id']}`" in summary
    assert "| rss |" in summary
    assert summary.endswith("**Verdict: pass**\n")


def test_a_limit_that_is_exceeded_fails_the_job(micro_bundle: Path, tmp_path: Path) -> None:
    job = Job(tmp_path, bundle=str(micro_bundle), **{**FEW, "max-peak-mb": "1"})
    done = job.run()
    assert done.returncode == 3, done.stdout + done.stderr
    assert job.outputs["verdict"] == "fail"
    assert "::error" in done.stdout
    assert "**fail**" in job.summary.read_text()


@pytest.mark.parametrize(("allowed", "code"), [("false", 4), ("true", 0)])
def test_an_inconclusive_measurement_fails_the_job_unless_it_is_allowed(
    allowed: str, code: int, micro_bundle: Path, tmp_path: Path
) -> None:
    few = {**FEW, "samples": "5"}  # fewer than 20 have no p95
    job = Job(tmp_path, bundle=str(micro_bundle), **few, **{"allow-inconclusive": allowed})
    done = job.run()
    assert done.returncode == code, done.stdout + done.stderr
    assert job.outputs["verdict"] == "inconclusive"
    assert "p95-ms" not in job.outputs
    assert ("::warning" in done.stdout) is (allowed == "true")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("samples", "$(touch x)"),
        ("max-p95-ms", "1; touch x"),
        ("gates", "`touch x`"),
        ("bundle", "$(touch x)"),
        ("bundle", "--version"),
        ("text", 'en="; touch x; "\n--help'),
        ("baseline", "--json=x"),
    ],
)
def test_a_hostile_value_is_only_a_value(name: str, value: str, micro_bundle: Path, tmp_path: Path) -> None:
    job = Job(tmp_path, **{"bundle": str(micro_bundle), **FEW, name: value})
    done = job.run()
    assert done.returncode in (1, 2), done.stdout + done.stderr
    assert job.outputs["verdict"] == "error"
    assert "error: " in done.stderr
    assert not (tmp_path / "x").exists()


def broken_inputs(micro_bundle: Path) -> dict[str, dict[str, str]]:
    return {
        "no such bundle": {"bundle": "nothing"},
        "no such program": {"command": "./nothing"},
        "no folder": {"report-dir": str(micro_bundle / "manifest.json")},
        "baseline in the report's place": {"baseline": "tinyedge-report/bench.json"},
        "not true or false": {"allow-inconclusive": "yes"},
    }


@pytest.mark.parametrize("name", broken_inputs(Path()))
def test_a_job_that_measures_nothing_says_why(name: str, micro_bundle: Path, tmp_path: Path) -> None:
    job = Job(tmp_path, **{"bundle": str(micro_bundle), **FEW, **broken_inputs(micro_bundle)[name]})
    kept = tmp_path / "tinyedge-report" / "bench.json"
    kept.parent.mkdir()
    kept.write_text("{}")
    done = job.run()
    assert done.returncode in (1, 2)
    assert "Traceback" not in done.stderr
    assert "error: " in done.stderr
    assert "::error" in done.stdout
    assert job.outputs == {"verdict": "error"}
    assert len(job.summary.read_text().split("\n\n")) == 3  # the title, the reason, the verdict
    assert kept.exists() is (name != "no such bundle" and name != "no such program")


def test_no_report_of_an_earlier_run_is_left(micro_bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "tinyedge-report"
    folder.mkdir()
    for report in REPORTS:
        (folder / report).write_text("{}")
    assert Job(tmp_path, bundle=str(micro_bundle), samples="none").run().returncode == 2
    assert list(folder.iterdir()) == []


def test_a_change_since_the_baseline_fails_the_job(micro_bundle: Path, tmp_path: Path) -> None:
    first = Job(tmp_path, bundle=str(micro_bundle), **FEW, **{"report-dir": "first"})
    assert first.run().returncode in (0, 4)
    report = json.loads((tmp_path / "first" / "bench.json").read_text())
    report["memory"]["peak_rss"] //= 2
    (tmp_path / "base.json").write_text(json.dumps(report))
    inputs = {"baseline": "base.json", "max-regression": "peak=5%"}
    job = Job(tmp_path, bundle=str(micro_bundle), **FEW, **inputs)
    done = job.run()
    assert done.returncode == 3, done.stdout + done.stderr
    assert "peak" in job.summary.read_text()


def test_the_checklist_is_part_of_the_summary(micro_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    job = Job(tmp_path, bundle=str(micro_bundle), **FEW, **{"run-dir": "run", "allow-inconclusive": "true"})
    done = job.run()
    assert done.returncode == 3, done.stdout + done.stderr  # the folder has no training run
    assert "### Deployment checklist: fail" in job.summary.read_text()
    assert json.loads((tmp_path / "tinyedge-report" / "check.json").read_text())["verdict"] == "fail"


def test_a_package_name_is_only_a_name(tmp_path: Path) -> None:
    python, installed = tmp_path / "bin" / "python3", tmp_path / "temp" / "tinyedge" / "bin"
    python.parent.mkdir()
    python.write_text(f"#!/bin/sh\nmkdir -p {installed}\ncp {tmp_path}/pip {installed}/python\n")
    (tmp_path / "pip").write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/arguments\n')
    for path in (python, tmp_path / "pip"):
        path.chmod(0o755)
    job = Job(tmp_path, package="$(touch x) two")
    environment = {"PATH": f"{python.parent}:{os.environ['PATH']}"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", environment["PATH"])
        done = job.run("install")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "arguments").read_text().splitlines() == [
        "-m",
        "pip",
        "install",
        "--quiet",
        "$(touch x) two",
    ]
    assert not (tmp_path / "x").exists()
    assert job.output.read_text() == f"command={installed}/tinyedge\n"
