"""The Prometheus text format (version 0.0.4), read strictly.

In: a page of metrics. Out: series by name and labels. Comments, types among them, are passed over: who asks
for a series knows what it is.
"""

import re
from collections.abc import Iterator, Mapping

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
SAMPLE = re.compile(rf"({NAME})(?:\{{(.*)\}})?[ \t]+(\S+)(?:[ \t]+-?[0-9]+)?[ \t]*")
LABEL = re.compile(r'[ \t]*([a-zA-Z_][a-zA-Z0-9_]*)[ \t]*=[ \t]*"((?:[^"\\\n]|\\[\\"n])*)"[ \t]*(,|\Z)')
ESCAPED = re.compile(r"\\(.)")
NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[+-]?[Ii]nf|NaN")

Labels = frozenset[tuple[str, str]]


class MetricsPage:
    """The samples of one page."""

    def __init__(self, series: Mapping[tuple[str, Labels], float]) -> None:
        self._series = series

    def value(self, name: str, **labels: str) -> float | None:
        """The series with exactly these labels."""
        return self._series.get((name, frozenset(labels.items())))

    def total(self, name: str) -> float | None:
        """The sum over all labels; None where there is no such series."""
        found = [value for (each, _), value in self._series.items() if each == name]
        return sum(found) if found else None

    def sum_by(self, name: str, label: str) -> dict[str, float]:
        """Sums by one label's values."""
        sums: dict[str, float] = {}
        for labels, value in self._select(name):
            key = labels.get(label, "")
            sums[key] = sums.get(key, 0.0) + value
        return sums

    def labels(self, name: str) -> dict[str, str]:
        """Of the first series with that name, as an info metric has them."""
        return next((labels for labels, _ in self._select(name)), {})

    def _select(self, name: str) -> Iterator[tuple[dict[str, str], float]]:
        return ((dict(labels), value) for (each, labels), value in self._series.items() if each == name)


def parse(page: str) -> MetricsPage:
    """Reads a page. Raises ValueError, naming the line, for no sample, one that comes twice, or a cut."""
    series: dict[tuple[str, Labels], float] = {}
    if page and not page.endswith("\n"):
        raise ValueError("its last line has no end")
    for number, line in enumerate(page.split("\n"), 1):
        line = line.strip(" \t\r")
        if not line or line.startswith("#"):
            continue
        sample = SAMPLE.fullmatch(line)
        if sample is None or NUMBER.fullmatch(sample[3]) is None:
            raise ValueError(f"line {number} is no sample: {line!r:.60}")
        key = sample[1], _labels(sample[2] or "", number)
        if key in series:
            raise ValueError(f"line {number}: {sample[1]} comes twice with the same labels")
        series[key] = float(sample[3])
    return MetricsPage(series)


def _labels(text: str, number: int) -> Labels:
    """What stands between braces; a comma may end it."""
    found: dict[str, str] = {}
    at = 0
    while at < len(text):
        label = LABEL.match(text, at)
        if label is None or label[1] in found:
            raise ValueError(f"line {number} has labels that cannot be read: {text!r:.60}")
        found[label[1]] = ESCAPED.sub(lambda match: "\n" if match[1] == "n" else match[1], label[2])
        at = label.end()
    return frozenset(found.items())
