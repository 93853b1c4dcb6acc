"""The guide's three budgets, measured as `tinyedge bench` does: in a fresh process, 100 responses."""

from pathlib import Path
from typing import Any

from tinyedge.bench.run import BenchPlan, run
from tinyedge.bench.stopping_rule import StoppingRule
from tinyedge.bench.worker import Job
from tinyedge.check.item import BUDGETS, ChecklistItem, Mark

SAMPLES = 100  # "measured with 100 samples"
MARKS: dict[bool | None, Mark] = {True: "pass", False: "fail", None: "unsure"}


def check_budget(bundle: Path) -> tuple[list[ChecklistItem], list[dict[str, Any]]]:
    """Measure the budgets.

    Returns:
        An item for each gate, and the gates as in the bench's own JSON.

    Raises:
        BenchError: The bundle cannot be measured.
    """
    report = run(BenchPlan(Job(str(bundle), SAMPLES), StoppingRule(SAMPLES)))
    items, gates = [], []
    for gate in report.gates:
        name, _, found = gate.sentence.partition(": ")
        items.append(
            ChecklistItem(BUDGETS, f"{name} at most {gate.limit:g} {gate.unit}", found, MARKS[gate.ok])
        )
        fields = ("name", "limit", "measured", "unit", "ok")
        gates.append({field: getattr(gate, field) for field in fields})
    return items, gates
