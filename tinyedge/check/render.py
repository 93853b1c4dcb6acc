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


def render_text(checklist: Checklist) -> str:
    """Lines of a terminal, without a line break at the end."""
    rows = [_title(checklist)]
    for section, items in groupby(checklist.items, key=lambda item: item.section):
        rows += ["", section]
        for item in items:
            rows.append(f"{MARKS[item.mark]} {item.name}")
            rows.append(textwrap.fill(item.found, WIDTH, initial_indent="    ", subsequent_indent="    "))
    rows += ["", "samples, to be read:"]
    for text in _texts(checklist.samples):
        rows.append(textwrap.fill(text, WIDTH, initial_indent="  ", subsequent_indent="    "))
    return "\n".join([*rows, "", _summary(checklist)])


def render_markdown(checklist: Checklist) -> str:
    """To be pasted into a release: task lists, ticked where a line passed."""
    rows = [f"## Deployment checklist: {checklist.verdict}", "", _title(checklist)]
    for section, items in groupby(checklist.items, key=lambda item: item.section):
        rows += ["", f"### {section}", ""]
        for item in items:
            box = "x" if item.mark == "pass" else " "
            rows.append(f"- [{box}] {_plain(item.name)}: {_plain(item.found)}{_remark(item)}")
    rows += ["", "### Samples", ""]
    rows += [f"> {_plain(text)}\n>" for text in _texts(checklist.samples)]
    return "\n".join([*rows, "", _summary(checklist)])


def _title(checklist: Checklist) -> str:
    manifest = checklist.bundle.manifest
    return (
        f"bundle {bundle_digest(checklist.bundle)[:12]}, {manifest['precision']},"
        f" {manifest['parameters']:,} parameters, for {manifest['target']}"
    )


def _summary(checklist: Checklist) -> str:
    count = {mark: sum(item.mark == mark for item in checklist.items) for mark in MARKS}
    parts = [f"{count['pass']} ticked", f"{count['fail']} crossed"]
    if count["unsure"]:
        parts.append(f"{count['unsure']} that could not be told")
    if count["skipped"]:
        parts.append(f"{count['skipped']} left out")
    return f"verdict: {checklist.verdict} ({', '.join(parts)})"


def _remark(item: ChecklistItem) -> str:
    return {"unsure": " (not judged)", "skipped": " (left out)"}.get(item.mark, "")


def _texts(samples: Iterable[GeneratedText]) -> list[str]:
    """The first sample of each prompt; the prompt and its continuation on one line."""
    return [" ".join(f"{sample.prompt}{sample.text}".split()) for sample in samples if sample.seed == 0]


def _plain(text: str) -> str:
    """Text that Markdown takes as it is."""
    return "".join(f"\\{char}" if char in "\\`*_[]<>#|" else char for char in text)
