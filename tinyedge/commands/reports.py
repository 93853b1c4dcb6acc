"""Where a `--json` report may go."""

from collections.abc import Iterable
from pathlib import Path

from tinyedge.errors import UsageError


def require_elsewhere(report: Path | None, inputs: Iterable[Path]) -> None:
    """Raises UsageError where a report would replace an input, or become a foreign file in a bundle."""
    if report is None:
        return
    for path in inputs:
        if report.resolve() == path.resolve() or report.resolve().parent == path.resolve():
            raise UsageError(f"--json {report} would damage {path}, which is read", "choose another place")
