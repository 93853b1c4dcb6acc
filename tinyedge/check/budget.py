"""The budgets of the bundle's manifest, measured as `tinyedge bench` does: a fresh process, 100 responses."""

from typing import Any

from tinyedge.bench.limits import resolve
from tinyedge.bench.run import BenchPlan, run
from tinyedge.bench.stopping_rule import StoppingRule
from tinyedge.bench.worker import Job
from tinyedge.bundle.bundle import Bundle
from tinyedge.check.item import BUDGETS, ChecklistItem, Mark

SAMPLES = 100  # "measured with 100 samples"
MARKS: dict[bool | None, Mark] = {True: "pass", False: "fail", None: "unsure"}


def check_budget(bundle: Bundle) -> tuple[list[ChecklistItem], list[dict[str, Any]]]:
    """Measure a bundle and compare it with the budgets of its manifest.

    Returns:
        An item for each gate, and the gates as in the bench's own JSON.

    Raises:
        BenchError: The bundle cannot be measured.
    """
    limits, origins = resolve({}, {}, bundle.manifest["budgets"])
    report = run(BenchPlan(Job(str(bundle.path), SAMPLES), StoppingRule(SAMPLES), limits, origins))
    items, gates = [], []
    for gate in report.gates:
        name, _, found = gate.sentence.partition(": ")
        items.append(
            ChecklistItem(BUDGETS, f"{name} at most {gate.limit:g} {gate.unit}", found, MARKS[gate.ok])
        )
        fields = ("name", "limit", "measured", "bound", "unit", "ok")
        gates.append({field: getattr(gate, field) for field in fields})
    return items, gates
