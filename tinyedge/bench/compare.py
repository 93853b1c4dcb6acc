"""Two reports of one machine beside each other: what changed, and how sure that is.

In: the JSON of a new and of an old report. Out: a Comparison. Refuses reports of unlike machines or work.
"""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tinyedge.bench.report import SCHEMA
from tinyedge.bench.worker import Job
from tinyedge.core import files, stats
from tinyedge.core.errors import BenchError
from tinyedge.core.stats import Difference
from tinyedge.host.machine import Device

MB = 1 << 20

# Two reports that differ in one of these are about different things.
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
# What may have changed the figures, and is said.
MAY_DIFFER = {
    "bundle": ("bundle", "sha256"),
    "precision": ("bundle", "precision"),
    "tinyedge": ("tinyedge",),
    "onnxruntime": ("device", "onnxruntime"),
    "Python": ("device", "python"),
    "kernel": ("device", "kernel"),
}


def _p95(values: list[float]) -> float:
    return stats.percentile(sorted(values), 95)


# What is compared: a figure of each sample, and what is made of all of them; memory, of which a run has one.
LATENCY_FIGURES: Mapping[str, tuple[str, Callable[[list[float]], float]]] = {
    "p50 of a response": ("e2e_ms", statistics.median),
    "p95 of a response": ("e2e_ms", _p95),
    "p50 of the first token": ("ttft_ms", statistics.median),
    "mean of a token after it": ("itl_ms", statistics.fmean),
}
MEMORY_FIGURES = {"steady memory": "steady_rss", "peak memory": "peak_rss"}


@dataclass(frozen=True)
class FigureChange:
    """One figure, before and now. difference: None where a run has but one of it, and no spread is known."""

    name: str
    unit: str
    old: float
    new: float
    difference: Difference | None

    @property
    def sentence(self) -> str:
        """Both, and what is between them."""
        figures = f"{self.name}: {self.old:.4g} -> {self.new:.4g} {self.unit}"
        if self.difference is None:
            return figures
        found = self.difference
        interval = f"{found.percent:+.1f} %, between {found.low:+.1f} and {found.high:+.1f} %"
        changed = "slower in this pair" if found.percent > 0 else "faster in this pair"
        word = changed if found.shown else "no difference shown"
        return f"{figures}, {interval}: {word}"


@dataclass(frozen=True)
class ReportComparison:
    """against: the old report's file and time. differs: what else is not the same, in words."""

    against: str
    differs: tuple[str, ...]
    changes: tuple[FigureChange, ...]

    @property
    def lines(self) -> list[str]:
        """For a terminal."""
        other = [f"other than then: {'; '.join(self.differs)}"] if self.differs else []
        return [
            f"compared with {self.against}",
            *other,
            *(change.sentence for change in self.changes),
            CAVEAT,
        ]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "caveat": CAVEAT}


CAVEAT = "(95 % intervals of what varies within the two runs; another pair of runs may lie outside)"


def read_comparable(path: Path, device: Device, job: Job) -> dict[str, Any]:
    """The old report, before anything is measured to be compared with it.

    Raises BenchError field_path it is none, or of another machine or other work than `job` on `device`.
    """
    try:
        old = files.read_json(path, SCHEMA, BenchError)
    except BenchError as failure:
        raise BenchError(f"--compare {failure.message}", "pass what `tinyedge bench --json` wrote") from None
    here = {
        "device": asdict(device),
        "threads": job.threads,
        "max_tokens": job.max_tokens,
        "prompt_set": job.prompts.name,
    }
    try:
        unlike = [
            f"{name} {_get_field(old, field_path)!r} there, {_get_field(here, field_path)!r} here"
            for name, field_path in MUST_MATCH.items()
            if _get_field(old, field_path) != _get_field(here, field_path)
        ]
        for figure, statistic in LATENCY_FIGURES.values():
            statistic(_pool(_group_by_prompt(old, figure)))
        [old["memory"][figure] / MB for figure in MEMORY_FIGURES.values()]
        told = [
            *old["doubts"],
            old["created"],
            *(_get_field(old, field_path) for field_path in MAY_DIFFER.values()),
        ]
        if not all(str(one).isprintable() for one in told):
            raise ValueError("text that does not print")
    except files.NOT_WHOLE as failure:
        raise _invalid_report_error(path, failure) from None
    if unlike:
        raise BenchError(
            f"--compare {path} cannot be compared: {'; '.join(unlike)}",
            "compare two runs of one machine with the same settings",
        )
    return old


def compare(new: Mapping[str, Any], old: Mapping[str, Any], path: Path) -> ReportComparison:
    """The report `new` against `old`, which was read from `path`.

    Raises BenchError field_path that is not whole.
    """
    try:
        differs = [
            f"{name} {str(_get_field(old, field_path))[:16]}"
            for name, field_path in MAY_DIFFER.items()
            if _get_field(old, field_path) != _get_field(new, field_path)
        ]
        differs += [f"then, {doubt}" for doubt in old["doubts"]]
        return ReportComparison(f"{path}, {old['created']}", tuple(differs), tuple(_list_changes(new, old)))
    except files.NOT_WHOLE as failure:
        raise _invalid_report_error(path, failure) from None


def _invalid_report_error(path: Path, failure: Exception) -> BenchError:
    return BenchError(
        f"--compare {path} is no whole report ({type(failure).__name__}: {failure})",
        "pass what `tinyedge bench --json` of this version wrote",
    )


def _get_field(report: Mapping[str, Any], field_path: Sequence[str]) -> Any:
    for name in field_path:
        report = report[name]
    return report


def _list_changes(new: Mapping[str, Any], old: Mapping[str, Any]) -> list[FigureChange]:
    found = []
    for name, (figure, statistic) in LATENCY_FIGURES.items():
        after, before = _group_by_prompt(new, figure), _group_by_prompt(old, figure)
        change = stats.difference(after, before, statistic)
        found.append(FigureChange(name, "ms", statistic(_pool(before)), statistic(_pool(after)), change))
    found += [
        FigureChange(name, "MB", old["memory"][figure] / MB, new["memory"][figure] / MB, None)
        for name, figure in MEMORY_FIGURES.items()
    ]
    return found


def _pool(groups: Mapping[str, Sequence[float]]) -> list[float]:
    return [value for values in groups.values() for value in values]


def _group_by_prompt(report: Mapping[str, Any], field: str) -> dict[str, list[float]]:
    """A figure of each response, by its prompt; of the gaps between its tokens, their mean."""
    groups: dict[str, list[float]] = {}
    for sample in report["raw_samples"]:
        value = sample[field]
        if isinstance(value, list):
            if not value:
                continue
            value = statistics.fmean(value)
        groups.setdefault(sample["prompt"], []).append(float(value))
    return groups
