"""Where a report goes: JSON, a table of its samples, a page. Checked before a measurement, written after it.

In: the JSON of a report. Out: files, each whole or not there.
"""

import csv
import io
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyedge import files
from tinyedge.errors import BenchError, UsageError


@dataclass(frozen=True)
class Outputs:
    """Files to write; None is not asked for. csv: a row a sample. html: one page that needs nothing else."""

    json: Path | None = None
    csv: Path | None = None
    html: Path | None = None

    @property
    def flagged(self) -> dict[str, Path]:
        """Each by its flag."""
        named = {"--json": self.json, "--csv": self.csv, "--html": self.html}
        return {flag: path for flag, path in named.items() if path is not None}

    def require_writable(self, inputs: Iterable[Path] = ()) -> None:
        """Raises UsageError unless each can be written, and none would damage another or an input."""
        taken: dict[Path, str] = {}
        for flag, path in self.flagged.items():
            for one in inputs:
                if one.resolve() in (path.resolve(), path.resolve().parent):
                    raise UsageError(
                        f"{flag} {path} would damage {one}, which is read", "choose another place"
                    )
            if path.resolve() in taken:
                raise UsageError(f"{flag} {path} is also {taken[path.resolve()]}", "name two files")
            taken[path.resolve()] = flag
            _require_writable(flag, path)

    def write(self, report: Mapping[str, Any]) -> None:
        """Writes what was asked for. Raises BenchError where that fails; the report is then lost."""
        try:
            if self.json:
                files.write_json(self.json, report)
            if self.csv:
                files.write_text(self.csv, sheet(report))
            if self.html:
                from tinyedge.bench.page.html import render
                from tinyedge.bench.page.view import view_of

                files.write_text(self.html, render(view_of(report)))
        except OSError as failure:
            raise BenchError(
                f"{failure.filename} cannot be written: {failure.strerror}", "free some space, measure again"
            ) from None


def sheet(report: Mapping[str, Any]) -> str:
    """The raw samples as CSV, a head and a row each."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ("sample", "prompt", "prompt_tokens", "ttft_ms", "e2e_ms", "mean_itl_ms", "rss_bytes", "swap_bytes")
    )
    for index, sample in enumerate(report["raw_samples"]):
        gaps = sample["itl_ms"]
        mean = round(sum(gaps) / len(gaps), 6) if gaps else ""
        writer.writerow((
            index, sample["prompt"], sample["prompt_tokens"], round(sample["ttft_ms"], 6),
            round(sample["e2e_ms"], 6), mean, sample["rss"], sample["swap"],
        ))  # fmt: skip
    return text.getvalue()


def _require_writable(flag: str, path: Path) -> None:
    try:
        if path.exists() and not path.is_file():
            raise UsageError(f"{flag} {path} is not a regular file", "name a new file, or one to replace")
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as failure:
        raise UsageError(
            f"{flag} {path} cannot be written: {failure.strerror}", "name a file in a folder you may write to"
        ) from None
