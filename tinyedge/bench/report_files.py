"""Output files of a report: JSON, CSV and HTML. Checked before a measurement, written after it.

In: the JSON of a report. Out: files, each written completely or not at all.
"""

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyedge.core import files, output_files
from tinyedge.core.errors import BenchError


@dataclass(frozen=True)
class ReportFiles:
    """Files to write. None is not written."""

    json: Path | None = None
    """The complete report."""
    csv: Path | None = None
    """One row per sample."""
    html: Path | None = None
    """A self-contained page."""

    @property
    def paths_by_flag(self) -> dict[str, Path]:
        """The files to write, by flag."""
        named = {"--json": self.json, "--csv": self.csv, "--html": self.html}
        return {flag: path for flag, path in named.items() if path is not None}

    def require_writable(self, inputs: Iterable[Path] = ()) -> None:
        """Raise UsageError unless all files can be written without overwriting an input or each other.

        Args:
            inputs: Files that are read, and bundles, to which no file may be added.
        """
        output_files.require_writable(self.paths_by_flag, inputs)

    def write(self, report: Mapping[str, Any]) -> None:
        """Write the files. All are rendered first; if one cannot be written, the others are written anyway.

        Raises:
            BenchError: The report is incomplete or invalid, or a file cannot be written.
        """
        failures = []
        for path, text in self._render_files(report):
            try:
                files.write_text(path, text)
            except OSError as failure:
                failures.append(f"{failure.filename} cannot be written: {failure.strerror}")
        if failures:
            raise BenchError(
                "; ".join(failures), "free some space or choose another path, then measure again"
            )

    def _render_files(self, report: Mapping[str, Any]) -> list[tuple[Path, str]]:
        rendered = []
        try:
            if self.json:
                rendered.append((self.json, files.to_json(report)))
            if self.csv:
                rendered.append((self.csv, samples_to_csv(report)))
            if self.html:
                from tinyedge.bench.page.content import page_content
                from tinyedge.bench.page.html import render

                rendered.append((self.html, render(page_content(report))))
        except files.INVALID_FIELD_ERRORS as failure:
            raise BenchError(
                f"the report is incomplete or invalid ({type(failure).__name__}: {failure})",
                "measure again, with this version of tinyedge",
            ) from None
        return rendered


def samples_to_csv(report: Mapping[str, Any]) -> str:
    """Format the samples as CSV: a header and one row per sample."""
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
