"""Output files of a report: JSON, CSV and HTML. Checked before a measurement, written after it.

In: the JSON of a report. Out: files, each written completely or not at all.
"""

import csv
import io
import os
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyedge.core import files
from tinyedge.core.errors import BenchError, UsageError

MAX_NAME_BYTES = 255 - len(f".{files.TEMPORARY_SUFFIX}")  # a file is first written under a temporary name


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
        taken: dict[Path, str] = {}
        for flag, path in self.paths_by_flag.items():
            for one in inputs:
                if one.resolve() in (path.resolve(), path.resolve().parent):
                    raise UsageError(
                        f"{flag} {path} would change {one}, which is an input", "choose another path"
                    )
            if path.resolve() in taken:
                raise UsageError(
                    f"{flag} {path} is the same file as {taken[path.resolve()]}", "pass two different files"
                )
            taken[path.resolve()] = flag
            _require_writable(flag, path)

    def require_new_in(self, folders: Iterable[Path], schema: str) -> None:
        """Raise UsageError if the JSON file would replace a file of a run that is not an earlier report.

        Args:
            folders: Folders of the run.
            schema: Schema of a report, which may be replaced.
        """
        if self.json is None or not self.json.is_file():
            return
        inside = any(self.json.resolve().is_relative_to(folder.resolve()) for folder in folders)
        if inside and not _is_report(self.json, schema):
            raise UsageError(
                f"--json {self.json} would replace a file of the run, which is an input",
                "choose another name",
            )

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


def _is_report(path: Path, schema: str) -> bool:
    try:
        files.read_json(path, schema, BenchError)
    except BenchError:
        return False
    return True


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


def _require_writable(flag: str, path: Path) -> None:
    try:
        if path.exists() and not path.is_file():
            raise UsageError(f"{flag} {path} is not a regular file", "pass a new file, or a file to replace")
        if len(os.fsencode(path.name)) > MAX_NAME_BYTES:
            raise UsageError(
                f"the name of {flag} {path} is too long", f"at most {MAX_NAME_BYTES} bytes are allowed"
            )
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as failure:
        raise UsageError(
            f"{flag} {path} cannot be written: {failure.strerror}", "pass a file in a writable folder"
        ) from None
