"""Whether the bundle's model card has what the guide asks for, and agrees with the manifest.

In: the text of README.md and the manifest. Out: a checklist item for results, requirements and limits. An
export writes the card from the manifest; a card that was edited, or kept from an earlier model, can disagree.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from tinyedge.bundle.manifest import CARD_FILE, MIXED_BITS
from tinyedge.check.item import DOCUMENTATION, ChecklistItem, make_item
from tinyedge.core.markdown import escape_markdown, unescape_markdown

HEADING = re.compile(r"(#{1,6})\s+(.*)")
FENCES = ("```", "~~~")
RESULTS = re.compile(r"\b(quality|results?|evaluation)\b", re.IGNORECASE)
REQUIREMENTS = re.compile(r"\b(use|usage|requirements?)\b", re.IGNORECASE)
LIMITS = re.compile(r"\blimit", re.IGNORECASE)
MIN_LIMITS = 100  # characters: one sentence
MODEL_COLUMN = "this model"  # header of the exported model's figures; the fp32 model's are next to it
MIXED_COLUMN = "with n-grams"  # header of the figures of a bundle with n-grams
CELL_END = re.compile(r"(?<!\\)\|")  # a pipe, unless it is escaped


def check_card(card: str, manifest: Mapping[str, Any]) -> list[ChecklistItem]:
    """Check results, requirements and limits. Loading has checked that the card is the manifest's file."""
    return [_check_results(card, manifest), _check_requirements(card, manifest), _check_limits(card)]


def find_sections(card: str, heading: re.Pattern[str]) -> list[str]:
    """Text under each heading that `heading` matches, up to the next heading of its level or above."""
    found = []
    lines = list(_mark_headings(card))
    for start, (level, line) in enumerate(lines):
        if level and heading.search(line):
            body = []
            for deeper, text in lines[start + 1 :]:
                if deeper and deeper <= level:
                    break
                body.append(text)
            found.append("\n".join(body).strip())
    return found


def _mark_headings(card: str) -> Iterator[tuple[int, str]]:
    """Each line with its level as a heading; 0 for other lines and for lines of a code block."""
    fenced = False
    for line in card.splitlines():
        if line.lstrip().startswith(FENCES):
            fenced = not fenced
        match = None if fenced else HEADING.match(line)
        yield (len(match[1]), match[2]) if match else (0, line)


def _check_results(card: str, manifest: Mapping[str, Any]) -> ChecklistItem:
    """Check that the card has size, precision and held-out loss, and bits per byte under a results heading.

    Bits per byte are required for each text; all other figures may be anywhere in the card. A results table
    must have the figure in the row of the text and the column of this model. A card without such a table may
    give the figures in a sentence.
    """
    name = f"{CARD_FILE} has the training results"
    columns = {MODEL_COLUMN: "bits_per_byte", MIXED_COLUMN: MIXED_BITS}
    figures = {
        (text, column): f"{row[field]:.4f}"
        for column, field in columns.items()
        for text, row in manifest["quality"].items()
        if field in row
    }
    if not figures:
        return make_item(DOCUMENTATION, name, False, "the manifest itself has no quality figures")
    sections = find_sections(card, RESULTS)
    if not sections:
        return make_item(DOCUMENTATION, name, False, "no heading of results")
    needed = [f"{manifest['parameters']:,} parameters", manifest["precision"]]
    if "val_loss" in manifest["training"]:
        needed.append(f"{manifest['training']['val_loss']:.4g}")
    faults = _list_missing(card, needed)
    table, prose = _split_results("\n\n".join(sections))
    for (text, column), figure in figures.items():
        row_name = unescape_markdown(escape_markdown(text))
        cells = [cell for row, header, cell in table if (row, header) == (row_name, column)]
        if any(cell != figure for cell in cells):
            faults.append(f"has another figure than {figure} in the row of {text}")
        elif not cells and (table or _list_missing(prose, [figure])):
            faults.append(f"lacks {text} {figure}")
    bits = ", ".join(
        f"{text} {figure}{' with n-grams' if column == MIXED_COLUMN else ''}"
        for (text, column), figure in figures.items()
    )
    found = f"{', '.join(needed[:2])}; bits per byte: {bits}"
    return make_item(DOCUMENTATION, name, not faults, "; ".join(faults) or found)


def _check_requirements(card: str, manifest: Mapping[str, Any]) -> ChecklistItem:
    """Check that the card names the target, and has the budgets under a heading of use or requirements."""
    name = f"{CARD_FILE} has the system requirements"
    sections = find_sections(card, REQUIREMENTS)
    if not sections:
        return make_item(DOCUMENTATION, name, False, "no heading of use or requirements")
    budgets = manifest["budgets"]
    needed = [
        f"{budgets['max_rss_mb']} MB",
        f"{budgets['max_peak_mb']} MB",
        f"{budgets['max_p95_ms']} ms",
    ]
    faults = _list_missing(card, [manifest["target"]]) + _list_missing("\n".join(sections), needed)
    found = ", ".join([manifest["target"], *needed])
    return make_item(DOCUMENTATION, name, not faults, "; ".join(faults) or found)


def _check_limits(card: str) -> ChecklistItem:
    """Check that there is at least one sentence under a heading of limits."""
    sections = find_sections(card, LIMITS)
    longest = max(map(len, sections), default=0)
    found = f"{longest} characters under a heading of limits" if sections else "no heading of limits"
    return make_item(DOCUMENTATION, f"{CARD_FILE} has the known limits", longest >= MIN_LIMITS, found)


def _list_missing(text: str, needed: list[str]) -> list[str]:
    """List what is missing in the text, as one fault; a line break in the text counts as a space.

    A part of a longer number, word or unit does not count, nor does a number after a minus sign.
    """
    flat = " ".join(text.split())
    missing = [
        each
        for each in needed
        if not re.search(rf"(?<![\w.,\-\u2212\u2013]){re.escape(each)}(?![\w/-]|[.,]\d)", flat)
    ]
    return [f"lacks {', '.join(missing)}"] if missing else []


def _split_results(section: str) -> tuple[list[tuple[str, str, str]], str]:
    """Separate tables from prose.

    Returns:
        Of each row of the tables that have a column for this model: the first cell, and header and cell of
        this model's columns. And the lines that belong to no table.
    """
    rows: list[tuple[str, str, str]] = []
    prose: list[str] = []
    header: list[str] = []
    for line in section.splitlines():
        if not CELL_END.search(line):
            prose.append(line)
            header = []
            continue
        cells = _split_row(line)
        if not header:
            header = cells
        elif MODEL_COLUMN in header:
            padded = cells + [""] * len(header)
            rows += [
                (cells[0], column, padded[header.index(column)])
                for column in (MODEL_COLUMN, MIXED_COLUMN)
                if column in header
            ]
    return rows, "\n".join(prose)


def _split_row(line: str) -> list[str]:
    """Cells of a table row, whose first pipe is optional; an escaped pipe is part of its cell."""
    return [unescape_markdown(cell.strip()) for cell in CELL_END.split(line.strip().removeprefix("|"))]
