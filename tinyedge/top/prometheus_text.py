"""Strict parser of the Prometheus text format (version 0.0.4).

In: a page of metrics. Out: a MetricsPage, series by name and labels. Ignores comments, types included: the
caller knows the type of each series.
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
    """Samples of one page."""

    def __init__(self, series: Mapping[tuple[str, Labels], float]) -> None:
        self._series = series

    def value(self, name: str, **labels: str) -> float | None:
        """Return the value of the series with exactly these labels, or None."""
        return self._series.get((name, frozenset(labels.items())))

    def total(self, name: str) -> float | None:
        """Return the sum over all labels; None if there is no such series."""
        found = [value for (each, _), value in self._series.items() if each == name]
        return sum(found) if found else None

    def sum_by(self, name: str, label: str) -> dict[str, float]:
        """Return the sum for each value of a label."""
        sums: dict[str, float] = {}
        for labels, value in self._select(name):
            key = labels.get(label, "")
            sums[key] = sums.get(key, 0.0) + value
        return sums

    def labels(self, name: str) -> dict[str, str]:
        """Return the labels of the first series with that name, such as an info metric."""
        return next((labels for labels, _ in self._select(name)), {})

    def _select(self, name: str) -> Iterator[tuple[dict[str, str], float]]:
        return ((dict(labels), value) for (each, labels), value in self._series.items() if each == name)


def parse(page: str) -> MetricsPage:
    """Parse a page.

    Raises:
        ValueError: A line is invalid or repeats a series, or the last line has no line break. The message
            names the line.
    """
    series: dict[tuple[str, Labels], float] = {}
    if page and not page.endswith("\n"):
        raise ValueError("the last line has no line break")
    for number, line in enumerate(page.split("\n"), 1):
        line = line.strip(" \t\r")
        if not line or line.startswith("#"):
            continue
        sample = SAMPLE.fullmatch(line)
        if sample is None or NUMBER.fullmatch(sample[3]) is None:
            raise ValueError(f"line {number} is not a sample: {line!r:.60}")
        key = sample[1], _parse_labels(sample[2] or "", number)
        if key in series:
            raise ValueError(f"line {number} repeats {sample[1]} with the same labels")
        series[key] = float(sample[3])
    return MetricsPage(series)


def _parse_labels(text: str, number: int) -> Labels:
    """Parse the text between the braces, which may end with a comma."""
    labels: dict[str, str] = {}
    at = 0
    while at < len(text):
        label = LABEL.match(text, at)
        if label is None or label[1] in labels:
            raise ValueError(f"line {number} has invalid labels: {text!r:.60}")
        labels[label[1]] = ESCAPED.sub(lambda match: "\n" if match[1] == "n" else match[1], label[2])
        at = label.end()
    return frozenset(labels.items())
