"""One line of the checklist, and what all of them together say."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Mark = Literal["pass", "fail", "unsure", "skipped"]
Verdict = Literal["pass", "fail", "inconclusive"]

# The guide's headings, in its order.
VALIDATION = "Model validation"
COMPLIANCE = "Constitutional compliance"
ARTIFACTS = "Artifact verification"
CODE = "Code quality"
DOCUMENTATION = "Documentation"


@dataclass(frozen=True)
class ChecklistItem:
    """One thing that was looked at.

    section: the guide's heading. name: what has to be so. found: what is, with its figures. mark: `unsure`
    where it was measured and proves nothing either way, `skipped` where there was nothing here to judge.
    """

    section: str
    name: str
    found: str
    mark: Mark = "pass"


def make_item(section: str, name: str, ok: bool, found: str) -> ChecklistItem:
    """A line that is ticked or crossed."""
    return ChecklistItem(section, name, found, "pass" if ok else "fail")


def combine_marks(items: Iterable[ChecklistItem]) -> Verdict:
    """A cross decides; then a line that could not be told. What was skipped decides nothing."""
    marks = {item.mark for item in items}
    if "fail" in marks:
        return "fail"
    return "inconclusive" if "unsure" in marks else "pass"
