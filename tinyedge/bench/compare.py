"""Comparison of two reports of the same machine: what changed, with confidence intervals.

In: the JSON of a new and an old report. Out: a ReportComparison. Refuses reports of different machines or
work.
"""

import statistics
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinyedge.bench.baseline import InvalidFieldError, check_baseline, get_engine, get_field, show_value
from tinyedge.bench.conditions import Doubts
from tinyedge.bench.limits import FIGURES
from tinyedge.bench.report import SCHEMA
from tinyedge.bench.worker import Job
from tinyedge.core import files
from tinyedge.core.errors import BenchError
from tinyedge.core.stats import nearest_rank
from tinyedge.host.machine import Device

if TYPE_CHECKING:  # numpy in this process would take memory from the measured one
    from tinyedge.bench.bootstrap import Difference, Values

MB = 1 << 20

# Reports that differ in one of these are not comparable.
MUST_MATCH = {
    "board": ("device", "model"),
    "machine": ("device", "machine"),
    "CPU": ("device", "cpu"),
    "number of cores": ("device", "cores"),
    "governor": ("device", "governor"),
    "number of threads": ("threads",),
    "length of a response": ("max_tokens",),
    "set of prompts": ("prompt_set",),
}
# A difference in one of these may explain a change of the figures, so it is reported.
MAY_DIFFER = {
    "bundle": ("bundle", "sha256"),
    "precision": ("bundle", "precision"),
    "tinyedge": ("tinyedge",),
    "onnxruntime": ("device", "onnxruntime"),
    "Python": ("device", "python"),
    "kernel": ("device", "kernel"),
}


def _mean(values: "Values") -> float:
    return float(values.mean())


def _median(values: "Values") -> float:
    middle = [(values.size - 1) // 2, values.size // 2]
    ordered = values.copy()
    ordered.partition(middle)
    return float(ordered[middle].mean())


def _p95(values: "Values") -> float:
    index = nearest_rank(values.size, 95) - 1
    ordered = values.copy()
    ordered.partition(index)
    return float(ordered[index])


# Compared latencies, by name in FIGURES: the field of a sample, and the statistic of all samples.
LATENCY_FIGURES: Mapping[str, tuple[str, Callable[["Values"], float]]] = {
    "p50": ("e2e_ms", _median),
    "p95": ("e2e_ms", _p95),
    "ttft_p50": ("ttft_ms", _median),
    "ttft": ("ttft_ms", _p95),
    "itl": ("itl_ms", _mean),
}
# Compared memory: one value per run.
MEMORY_FIGURES = {"steady": "steady_rss", "peak": "peak_rss"}


@dataclass(frozen=True)
class FigureChange:
    """Change of one figure between two reports."""

    figure: str
    """A key of FIGURES."""
    name: str
    """What was measured, in words."""
    unit: str
    """Unit of both values."""
    old: float
    """Value in the old report."""
    new: float
    """Value in the new report."""
    difference: "Difference | None"
    """Change with its confidence interval; None for a figure with only one value per run."""

    @property
    def sentence(self) -> str:
        """Both values and the difference, in one line."""
        figures = f"{self.name}: {self.old:.4g} -> {self.new:.4g} {self.unit}"
        if self.difference is None:
            return figures
        found = self.difference
        interval = f"{found.percent:+.1f}%, between {found.low:+.1f}% and {found.high:+.1f}%"
        changed = "slower in this pair" if found.percent > 0 else "faster in this pair"
        word = changed if found.shown else "no difference shown"
        return f"{figures}, {interval}: {word}"


@dataclass(frozen=True)
class ReportComparison:
    """Comparison of a new report with an old one."""

    against: str
    """File and time of the old report."""
    differs: tuple[str, ...]
    """What else was different in the old report, such as versions."""
    old_doubts: Doubts
    """Why the times of the old report are unreliable."""
    changes: tuple[FigureChange, ...]
    """Changes of the figures."""

    @property
    def lines(self) -> list[str]:
        """The lines to print on a terminal."""
        other = [f"different in that report: {'; '.join(self.differs)}"] if self.differs else []
        return [
            f"compared with {self.against}",
            *other,
            *(change.sentence for change in self.changes),
            CAVEAT,
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object of the comparison."""
        return {
            "against": self.against,
            "differs": list(self.differs),
            "changes": [asdict(change) for change in self.changes],
            "caveat": CAVEAT,
        }


CAVEAT = "(95% intervals, from the variation within the two runs; other runs may vary more)"


def read_comparable(path: Path, device: Device, job: Job) -> dict[str, Any]:
    """Read an old report and check that a measurement will be comparable with it.

    Args:
        path: The report's JSON file.
        device: The machine of the new measurement.
        job: The work of the new measurement.

    Returns:
        The old report.

    Raises:
        BenchError: The file is not a report, or its machine or work is different.
    """
    try:
        old = files.read_json(path, SCHEMA, BenchError)
    except BenchError as failure:
        raise BenchError(
            f"--compare {failure.message}", "pass a file that `tinyedge bench --json` wrote"
        ) from None
    here = {
        "device": asdict(device),
        "threads": job.threads,
        "max_tokens": job.max_tokens,
        "prompt_set": job.prompts.name,
    }
    try:
        different = [
            f"{name} is {show_value(get_field(old, field_path))} there"
            f" and {show_value(get_field(here, field_path))} here"
            for name, field_path in MUST_MATCH.items()
            if get_field(old, field_path) != get_field(here, field_path)
        ]
    except InvalidFieldError as failure:
        raise _invalid_report_error(path, failure) from None
    if different:
        raise BenchError(
            f"--compare {path} cannot be compared: {'; '.join(different)}",
            "compare two runs on the same machine with the same settings",
        )
    _require_valid(old, path, job.max_tokens)
    return old


def list_latency_figures(max_tokens: int) -> dict[str, tuple[str, Callable[["Values"], float]]]:
    """Return the entries of LATENCY_FIGURES that responses of this length have."""
    return {name: entry for name, entry in LATENCY_FIGURES.items() if max_tokens > 1 or entry[0] != "itl_ms"}


def compare(new: Mapping[str, Any], old: Mapping[str, Any], path: Path) -> ReportComparison:
    """Compare a new report with an old one.

    Args:
        new: The new report.
        old: The old report.
        path: File of the old report, for messages.

    Raises:
        BenchError: The old report is incomplete or invalid.
    """
    _require_valid(old, path, new["max_tokens"])
    differs = [
        f"{name} {str(get_field(old, field_path))[:16]}"
        for name, field_path in MAY_DIFFER.items()
        if get_field(old, field_path) != get_field(new, field_path)
    ]
    if (engine := get_engine(old)) != get_engine(new):
        differs.append(f"engine {engine}")
    differs += [f"unreliable, because {doubt}" for doubt in old["doubts"]]
    changes = tuple(_list_changes(new, old))
    return ReportComparison(f"{path}, {old['created']}", tuple(differs), _get_doubts(old), changes)


def _require_valid(old: Mapping[str, Any], path: Path, max_tokens: int) -> None:
    try:
        check_baseline(old, max_tokens)
    except InvalidFieldError as failure:
        raise _invalid_report_error(path, failure) from None


def _invalid_report_error(path: Path, failure: InvalidFieldError) -> BenchError:
    return BenchError(
        f"--compare {path}: {failure}", "pass a file that `tinyedge bench --json` of this version wrote"
    )


def _list_changes(new: Mapping[str, Any], old: Mapping[str, Any]) -> list[FigureChange]:
    from tinyedge.bench.bootstrap import compute_difference, pool

    found = []
    for name, (field, statistic) in list_latency_figures(new["max_tokens"]).items():
        after, before = _group_by_prompt(new, field), _group_by_prompt(old, field)
        change = compute_difference(after, before, statistic)
        values = statistic(pool(before)), statistic(pool(after))
        found.append(FigureChange(name, FIGURES[name], "ms", *values, change))
    found += [
        FigureChange(name, FIGURES[name], "MB", old["memory"][field] / MB, new["memory"][field] / MB, None)
        for name, field in MEMORY_FIGURES.items()
    ]
    return found


def _get_doubts(report: Mapping[str, Any]) -> Doubts:
    """Return the doubts of a report; those that it does not list as slowing count as both."""
    slowed = tuple(report.get("slowed_by", ()))
    return Doubts(slowed, tuple(doubt for doubt in report["doubts"] if doubt not in slowed))


def _group_by_prompt(report: Mapping[str, Any], field: str) -> dict[str, list[float]]:
    """Return a field of each response, grouped by prompt; for a list of gaps between tokens, its mean."""
    groups: dict[str, list[float]] = {}
    for sample in report["raw_samples"]:
        value = sample[field]
        if isinstance(value, list):
            if not value:
                continue
            value = statistics.fmean(value)
        groups.setdefault(sample["prompt"], []).append(float(value))
    return groups
