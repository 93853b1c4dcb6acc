"""Renders the checklist for a terminal, or as Markdown for a release page."""

import textwrap
from collections.abc import Iterable
from itertools import groupby

from tinyedge.bundle.bundle import bundle_digest
from tinyedge.check.checklist import Checklist
from tinyedge.check.item import ChecklistItem, Mark
from tinyedge.check.samples import GeneratedText
from tinyedge.core.columns import wrap_words
from tinyedge.core.markdown import escape_markdown

WIDTH = 100
MARKS: dict[Mark, str] = {"pass": "✓", "fail": "✗", "unsure": "?", "skipped": "-"}


def render_text(checklist: Checklist, width: int = WIDTH) -> str:
    """Render for a terminal of that many columns, without a line break at the end."""
    rows = wrap_words(_render_title(checklist), width)
    for section, items in groupby(checklist.items, key=lambda item: item.section):
        rows += ["", section]
        for item in items:
            rows += wrap_words(f"{MARKS[item.mark]} {item.name}", width)
            rows.append(textwrap.fill(item.found, width, initial_indent="    ", subsequent_indent="    "))
    rows += ["", "samples, for you to read:"]
    for text in _select_samples(checklist.samples):
        rows.append(textwrap.fill(text, width, initial_indent="  ", subsequent_indent="    "))
    return "\n".join([*rows, "", *wrap_words(_render_summary(checklist), width)])


def render_markdown(checklist: Checklist) -> str:
    """Render as task lists for a release page; items that passed are ticked."""
    rows = [f"## Deployment checklist: {checklist.verdict}", "", _render_title(checklist)]
    for section, items in groupby(checklist.items, key=lambda item: item.section):
        rows += ["", f"### {section}", ""]
        for item in items:
            box = "x" if item.mark == "pass" else " "
            text = escape_markdown(f"{item.name}: {item.found}")
            rows.append(f"- [{box}] {text}{_render_remark(item)}")
    rows += ["", "### Samples", ""]
    rows += [f"> {escape_markdown(text)}\n>" for text in _select_samples(checklist.samples)]
    return "\n".join([*rows, "", _render_summary(checklist)])


def _render_title(checklist: Checklist) -> str:
    manifest = checklist.bundle.manifest
    return (
        f"bundle {bundle_digest(checklist.bundle)[:12]}, model {checklist.bundle.model_id or '(id unknown)'},"
        f" {manifest['precision']},"
        f" {manifest['parameters']:,} parameters, for {manifest['target']}"
    )


def _render_summary(checklist: Checklist) -> str:
    count = {mark: sum(item.mark == mark for item in checklist.items) for mark in MARKS}
    parts = [f"{count['pass']} ticked", f"{count['fail']} crossed"]
    if count["unsure"]:
        parts.append(f"{count['unsure']} inconclusive")
    if count["skipped"]:
        parts.append(f"{count['skipped']} left out")
    return f"verdict: {checklist.verdict} ({', '.join(parts)})"


def _render_remark(item: ChecklistItem) -> str:
    return {"unsure": " (inconclusive)", "skipped": " (left out)"}.get(item.mark, "")


def _select_samples(samples: Iterable[GeneratedText]) -> list[str]:
    """Select the first sample of each prompt, and put prompt and continuation on one line."""
    return [" ".join(f"{sample.prompt}{sample.text}".split()) for sample in samples if sample.seed == 0]
