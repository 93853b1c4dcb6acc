"""The work of action.yml: gate a bundle, and report to GitHub. Needs only the standard library.

In: the action's inputs in environment variables. Out: the step's outputs, a summary in Markdown, and the exit
code of `tinyedge bench` or `tinyedge check`. An input is one argument of a command, whatever it contains: no
shell reads it.
"""

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

# Inputs that are options of `tinyedge bench`, each with one value.
BENCH_OPTIONS = (
    *("samples", "gates", "max-p95-ms", "max-ttft-ms", "max-rss-mb", "max-peak-mb", "min-decode-tps"),
    *("max-cold-start-s", "max-model-mb", "cold"),
)
# Those with one value per line.
BENCH_LISTS = ("text", "max-bits-per-byte", "max-regression")
FAILED, INCONCLUSIVE = 3, 4
MEASURED = {0: "pass", FAILED: "fail", INCONCLUSIVE: "inconclusive"}
MARKS = {True: "pass", False: "**fail**", None: "inconclusive"}
MIN_P95_SAMPLES = 20  # with fewer, `tinyedge bench` has no p95
REPORTS = ("bench.json", "bench.html", "check.json")


class GateError(Exception):
    """Nothing could be measured; the message says why."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


def main() -> int:
    """Run the gates and report; return the exit code of the step."""
    inputs = Inputs(os.environ)
    outputs, summary = {"verdict": "error"}, ["## tinyedge"]
    try:
        allows_inconclusive = inputs.get_flag("allow-inconclusive")
        code = _run_gates(inputs, outputs, summary)
        outputs["verdict"] = MEASURED[code]
    except (GateError, OSError) as failure:
        code = failure.code if isinstance(failure, GateError) else 1
        allows_inconclusive = False
        print(f"error: {failure}", file=sys.stderr)
        summary.append(_escape(str(failure)))
    summary.append(f"**Verdict: {outputs['verdict']}**")
    _write_outputs(outputs)
    _append("GITHUB_STEP_SUMMARY", "\n\n".join(summary) + "\n")
    if code == INCONCLUSIVE and allows_inconclusive:
        print("::warning title=tinyedge::the measurement is inconclusive, which is allowed here")
        return 0
    if code:
        print(f"::error title=tinyedge::verdict: {outputs['verdict']}; see the job's summary")
    return code


def _run_gates(inputs: "Inputs", outputs: dict[str, str], summary: list[str]) -> int:
    """Verify, measure and check the bundle; return the worst exit code.

    Raises:
        GateError: A command measured nothing.
        OSError: A folder cannot be made, or tinyedge cannot be started.
    """
    command = [inputs.get("command") or "tinyedge"]
    bundle = ["--", inputs.get("bundle")]
    folder = _prepare_folder(inputs)
    verified = json.loads(_run([*command, "verify", "--json=-", *bundle], measured=(0,)).stdout)
    outputs["model-id"] = verified["model_id"] or "unknown"
    summary[0] += f": model `{outputs['model-id']}`"
    codes = [_bench([*command, "bench"], inputs, bundle, folder, outputs, summary)]
    if inputs.get("run-dir"):
        codes.append(_check([*command, "check"], inputs, bundle, folder, summary))
    return FAILED if FAILED in codes else max(codes)


def _prepare_folder(inputs: "Inputs") -> Path:
    """Make the folder of the reports, without those of an earlier run."""
    folder = Path(inputs.get("report-dir") or "tinyedge-report")
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name for name in REPORTS]
    baseline = inputs.get("baseline")
    if baseline and Path(baseline).resolve() in [path.resolve() for path in paths]:
        raise GateError(f"baseline {baseline} is a file that the action writes: keep it outside {folder}", 2)
    for path in paths:
        path.unlink(missing_ok=True)
    return folder


def _run(
    command: Sequence[str], measured: Sequence[int] = (0, FAILED, INCONCLUSIVE)
) -> "subprocess.CompletedProcess[str]":
    """Run a command, and show what it prints.

    Raises:
        GateError: It ended with another code than those of `measured`; its own message says why.
    """
    done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", check=False)
    sys.stderr.write(done.stderr)
    if done.returncode not in measured:
        reasons = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        raise GateError(
            reasons[0].removeprefix("error: ") if reasons else f"{command[0]} ended with {done.returncode}",
            done.returncode,
        )
    return done


class Inputs:
    """The action's inputs."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def get(self, name: str) -> str:
        """Return an input without white space around it; empty where it was not given."""
        return self._environment.get("INPUT_" + name.upper().replace("-", "_"), "").strip()

    def get_flag(self, name: str) -> bool:
        """Return an input that is true or false."""
        value = self.get(name).lower() or "false"
        if value not in ("true", "false"):
            raise GateError(f"{name} is {value!r}: it may be true or false", 2)
        return value == "true"

    def make_options(self, names: Iterable[str]) -> list[str]:
        """Return the inputs that were given as options. One word each, so that no value is an option."""
        return [f"--{name}={self.get(name)}" for name in names if self.get(name)]

    def make_repeated(self, names: Iterable[str]) -> list[str]:
        """Return an option for each line of the inputs."""
        lines = ((name, line.strip()) for name in names for line in self.get(name).splitlines())
        return [f"--{name}={line}" for name, line in lines if line]


def _bench(
    command: Sequence[str],
    inputs: Inputs,
    bundle: Sequence[str],
    folder: Path,
    outputs: dict[str, str],
    summary: list[str],
) -> int:
    report = folder / "bench.json"
    options = inputs.make_options(BENCH_OPTIONS) + inputs.make_repeated(BENCH_LISTS)
    if inputs.get("baseline"):
        options.append(f"--compare={inputs.get('baseline')}")
    options += [f"--json={report}", f"--html={folder / 'bench.html'}"]
    done = _run([*command, *options, *bundle])
    print(done.stdout)
    value = json.loads(report.read_bytes())
    outputs["report"] = str(report)
    if value["samples"] >= MIN_P95_SAMPLES:
        outputs["p95-ms"] = next(f"{gate['measured']:g}" for gate in value["gates"] if gate["name"] == "p95")
    summary += [_render_gates(value["gates"]), _render_circumstances(value)]
    return done.returncode


def _check(
    command: Sequence[str], inputs: Inputs, bundle: Sequence[str], folder: Path, summary: list[str]
) -> int:
    options = [f"--run-dir={inputs.get('run-dir')}", *inputs.make_repeated(["text"])]
    options += ["--markdown", f"--json={folder / 'check.json'}"]
    done = _run([*command, *options, *bundle])
    print(done.stdout)
    summary.append(done.stdout.replace("## Deployment", "### Deployment", 1).strip())
    return done.returncode


def _render_gates(gates: Iterable[Mapping[str, Any]]) -> str:
    rows = ["| figure | measured | 99% bound | limit | unit | result |", "|---|--:|--:|--:|---|---|"]
    for gate in gates:
        figures = (_format(gate.get(name)) for name in ("measured", "bound", "limit"))
        cells = [_escape(gate["name"]), *figures, _escape(gate["unit"]), MARKS[gate["ok"]]]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def _render_circumstances(report: Mapping[str, Any]) -> str:
    device = report["device"]
    machine = _escape(device.get("model") or device.get("cpu") or "unknown machine")
    lines = [f"{report['samples']} responses on {machine}; bundle `{report['bundle']['sha256'][:12]}`."]
    return "\n".join(lines + [f"- {_escape(doubt)}" for doubt in report["doubts"]])


def _format(value: float | None) -> str:
    return "" if value is None else f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"


def _escape(text: str) -> str:
    """Return a text without effect as Markdown, HTML or a table's cell."""
    return "".join(f"&#{ord(char)};" if char in "|<>&`*_[]\\#\r\n" else char for char in str(text))


def _write_outputs(outputs: Mapping[str, str]) -> None:
    end = f"end-{uuid.uuid4()}"  # unknown to the values, so that none can add another output
    _append("GITHUB_OUTPUT", "".join(f"{name}<<{end}\n{value}\n{end}\n" for name, value in outputs.items()))


def _append(variable: str, text: str) -> None:
    if path := os.environ.get(variable):
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(text)


if __name__ == "__main__":
    sys.exit(main())
