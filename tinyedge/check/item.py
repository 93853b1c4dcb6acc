"""An item of the checklist, and the verdict of all items together."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Mark = Literal["pass", "fail", "unsure", "skipped"]
Verdict = Literal["pass", "fail", "inconclusive"]

# The guide's headings, in its order.
VALIDATION = "Model validation"
BUDGETS = "Budgets"
ARTIFACTS = "Artifact verification"
CODE = "Code quality"
DOCUMENTATION = "Documentation"


@dataclass(frozen=True)
class ChecklistItem:
    """One requirement of the checklist and the result of its check."""

    section: str
    """The guide's heading."""
    name: str
    """The requirement."""
    found: str
    """What was found, with its figures."""
    mark: Mark = "pass"
    """`unsure`: the measurement is inconclusive. `skipped`: what it needs is missing."""


def make_item(section: str, name: str, ok: bool, found: str) -> ChecklistItem:
    """Make an item that is ticked if `ok`, else crossed."""
    return ChecklistItem(section, name, found, "pass" if ok else "fail")


def combine_marks(items: Iterable[ChecklistItem]) -> Verdict:
    """Combine the marks: `fail` first, then `unsure`. Skipped items do not count."""
    marks = {item.mark for item in items}
    if "fail" in marks:
        return "fail"
    return "inconclusive" if "unsure" in marks else "pass"
