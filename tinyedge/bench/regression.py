"""Gates for what changed since another report.

In: a comparison, and the largest change allowed for each figure. Out: gates. Does not compute changes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from tinyedge.bench.compare import MEMORY_FIGURES, FigureChange, ReportComparison, list_latency_figures
from tinyedge.bench.conditions import Doubts
from tinyedge.bench.gate import SLOWED, Gate
from tinyedge.bench.limits import FIGURES
from tinyedge.bench.worker import Job
from tinyedge.core.errors import UsageError


@dataclass(frozen=True)
class RegressionGate(Gate):
    """A limit for the increase of a figure since another report, in percent.

    It passes if the complete 95% confidence interval of the change is within the limit, fails if all of it is
    over, and is inconclusive if the limit is inside. A figure with one value per run is compared directly.
    """

    @property
    def share(self) -> float | None:
        """None: a figure that became smaller uses nothing of the limit."""
        return None

    @property
    def _decisive(self) -> float:
        return self.measured if self.bound is None else self.bound

    @property
    def sentence(self) -> str:
        """The change, its interval and the limit."""
        figures = f"{FIGURES[self.subject]}: {self.measured:+.1f}% since the other report"
        if self.lower is not None and self.bound is not None:
            figures += f", with 95% confidence {self.lower:+.1f}% to {self.bound:+.1f}%"
        figures += f", limit +{self.limit:g}%"
        if self.doubt:
            return f"{figures}, inconclusive: {self.doubt}"
        return (
            f"{figures}, {'within it' if self.ok else 'over it'}{f'; {self.remark}' if self.remark else ''}"
        )


def require_figures(limits: Mapping[str, float], job: Job) -> None:
    """Raise UsageError if the responses of a job do not have a figure that has a limit."""
    missing = limits.keys() - list_latency_figures(job.max_tokens).keys() - MEMORY_FIGURES.keys()
    for name in sorted(missing):
        raise UsageError(
            f"--max-regression {name}: responses of one token have no time between tokens",
            "leave it out, or pass --max-tokens 2 or more",
        )


def evaluate_regressions(
    limits: Mapping[str, float], comparison: ReportComparison, doubts: Doubts
) -> tuple[RegressionGate, ...]:
    """Compare changes with their limits.

    Args:
        limits: Largest allowed change of each figure, in percent.
        comparison: The changes.
        doubts: Why the times of the new report are unreliable.

    Returns:
        A gate for each figure that has a limit and a change, in the order of the comparison.
    """
    return tuple(
        _evaluate(limits[change.figure], change, doubts, comparison.old_doubts)
        for change in comparison.changes
        if change.figure in limits
    )


def _evaluate(limit: float, change: FigureChange, doubts: Doubts, old_doubts: Doubts) -> RegressionGate:
    found = change.difference
    if found is None:  # memory, which no other program slows
        percent = 100 * (change.new / change.old - 1)
        return RegressionGate("regression", limit, percent, change.figure)
    is_open = found.low <= limit < found.high
    doubt = "the limit is inside that interval: --samples with a larger number narrows it" if is_open else ""
    gate = RegressionGate(
        "regression", limit, found.percent, change.figure, bound=found.high, doubt=doubt, lower=found.low
    )
    return _weigh(gate, doubts, old_doubts)


def _weigh(gate: RegressionGate, new: Doubts, old: Doubts) -> RegressionGate:
    """Return the gate with the doubts about both reports.

    If the new report was slowed, the change is at most what was measured: a fail is open. If the old one was,
    it is at least that: a pass is open.
    """
    if gate.ok is None:
        return gate
    reasons = [*new.changed, *(f"in the other report, {doubt}" for doubt in old.changed)]
    if gate.ok:
        reasons += [f"in the other report, {doubt}" for doubt in old.slowed]
    else:
        reasons += new.slowed
    if reasons:
        return replace(gate, doubt="; ".join(reasons))
    return replace(gate, remark=SLOWED) if gate.ok and new.slowed else gate
