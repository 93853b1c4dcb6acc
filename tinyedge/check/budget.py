"""The guide's three budgets, measured as `tinyedge bench` does: in a fresh process, 100 responses."""

from pathlib import Path

from tinyedge.bench.gate import Limits
from tinyedge.bench.run import run
from tinyedge.bench.worker import Job
from tinyedge.check.line import COMPLIANCE, Line, Mark

SAMPLES = 100  # "measured with 100 samples"
MARKS: dict[bool | None, Mark] = {True: "pass", False: "fail", None: "unsure"}


def check_budget(bundle: Path) -> list[Line]:
    """A line a gate. Raises what the bench raises."""
    report = run(Job(str(bundle), samples=SAMPLES), Limits())
    lines = []
    for gate in report.gates:
        name, _, found = gate.sentence.partition(": ")
        lines.append(Line(COMPLIANCE, f"{name} at most {gate.limit:g} {gate.unit}", found, MARKS[gate.ok]))
    return lines
