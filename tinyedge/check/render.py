"""The checklist for a terminal, or as Markdown for a release."""

import textwrap
from collections.abc import Iterable
from itertools import groupby

from tinyedge.bundle.bundle import bundle_digest
from tinyedge.check.checklist import Checklist
from tinyedge.check.item import ChecklistItem, Mark
from tinyedge.check.samples import GeneratedText

WIDTH = 100
MARKS: dict[Mark, str] = {"pass": "✓", "fail": "✗", "unsure": "?", "skipped": "-"}


def render(examination: Checklist) -> str:
    """Lines of a terminal, without a line break at the end."""
    rows = [_title(examination)]
    for section, lines in groupby(examination.lines, key=lambda line: line.section):
        rows += ["", section]
        for line in lines:
            rows.append(f"{MARKS[line.mark]} {line.name}")
            rows.append(textwrap.fill(line.found, WIDTH, initial_indent="    ", subsequent_indent="    "))
    rows += ["", "samples, to be read:"]
    for text in _texts(examination.samples):
        rows.append(textwrap.fill(text, WIDTH, initial_indent="  ", subsequent_indent="    "))
    return "\n".join([*rows, "", _summary(examination)])


def markdown(examination: Checklist) -> str:
    """To be pasted into a release: task lists, ticked where a line passed."""
    rows = [f"## Deployment checklist: {examination.verdict}", "", _title(examination)]
    for section, lines in groupby(examination.lines, key=lambda line: line.section):
        rows += ["", f"### {section}", ""]
        for line in lines:
            box = "x" if line.mark == "pass" else " "
            rows.append(f"- [{box}] {_plain(line.name)}: {_plain(line.found)}{_remark(line)}")
    rows += ["", "### Samples", ""]
    rows += [f"> {_plain(text)}\n>" for text in _texts(examination.samples)]
    return "\n".join([*rows, "", _summary(examination)])


def _title(examination: Checklist) -> str:
    manifest = examination.whole.manifest
    return (
        f"bundle {bundle_digest(examination.whole)[:12]}, {manifest['precision']},"
        f" {manifest['parameters']:,} parameters, for {manifest['target']}"
    )


def _summary(examination: Checklist) -> str:
    count = {mark: sum(line.mark == mark for line in examination.lines) for mark in MARKS}
    parts = [f"{count['pass']} ticked", f"{count['fail']} crossed"]
    if count["unsure"]:
        parts.append(f"{count['unsure']} that could not be told")
    if count["skipped"]:
        parts.append(f"{count['skipped']} left out")
    return f"verdict: {examination.verdict} ({', '.join(parts)})"


def _remark(line: ChecklistItem) -> str:
    return {"unsure": " (not judged)", "skipped": " (left out)"}.get(line.mark, "")


def _texts(samples: Iterable[GeneratedText]) -> list[str]:
    """The first sample of each prompt; the prompt and its continuation on one line."""
    return [" ".join(f"{sample.prompt}{sample.text}".split()) for sample in samples if sample.seed == 0]


def _plain(text: str) -> str:
    """Text that Markdown takes as it is."""
    return "".join(f"\\{char}" if char in "\\`*_[]<>#|" else char for char in text)
