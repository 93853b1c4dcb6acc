"""Where a report goes: JSON, a table of its samples, a page. Checked before a measurement, written after it.

In: the JSON of a report. Out: files, each whole or not there.
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

MAX_NAME_BYTES = 255 - len(f".{files.TEMPORARY_SUFFIX}")  # a file is written under its temporary name first


@dataclass(frozen=True)
class ReportFiles:
    """Files to write; None is not asked for. csv: a row a sample. html: one page that needs nothing else."""

    json: Path | None = None
    csv: Path | None = None
    html: Path | None = None

    @property
    def paths_by_flag(self) -> dict[str, Path]:
        """Each by its flag."""
        named = {"--json": self.json, "--csv": self.csv, "--html": self.html}
        return {flag: path for flag, path in named.items() if path is not None}

    def require_writable(self, inputs: Iterable[Path] = ()) -> None:
        """Raises UsageError unless each can be written, and none would damage another or an input."""
        taken: dict[Path, str] = {}
        for flag, path in self.paths_by_flag.items():
            for one in inputs:
                if one.resolve() in (path.resolve(), path.resolve().parent):
                    raise UsageError(
                        f"{flag} {path} would damage {one}, which is read", "choose another place"
                    )
            if path.resolve() in taken:
                raise UsageError(f"{flag} {path} is also {taken[path.resolve()]}", "name two files")
            taken[path.resolve()] = flag
            _require_writable(flag, path)

    def require_new_in(self, folders: Iterable[Path], schema: str) -> None:
        """Raises UsageError where the JSON would replace a run's file, unless that is an earlier report."""
        if self.json is None or not self.json.is_file():
            return
        inside = any(self.json.resolve().is_relative_to(folder.resolve()) for folder in folders)
        if inside and not _is_report(self.json, schema):
            raise UsageError(
                f"--json {self.json} would replace a file of the run, which is read", "choose another name"
            )

    def write(self, report: Mapping[str, Any]) -> None:
        """Writes what was asked for: all is rendered before anything is written, and each is tried.

        Raises BenchError where the report is not whole, or one could not be written.
        """
        failures = []
        for path, text in self._render_files(report):
            try:
                files.write_text(path, text)
            except OSError as failure:
                failures.append(f"{failure.filename} cannot be written: {failure.strerror}")
        if failures:
            raise BenchError(
                "; ".join(failures), "free some space, or choose another place; then measure again"
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
        except files.NOT_WHOLE as failure:
            raise BenchError(
                f"the report is not whole ({type(failure).__name__}: {failure})",
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
        if len(os.fsencode(path.name)) > MAX_NAME_BYTES:
            raise UsageError(f"{flag} {path} has too long a name", f"at most {MAX_NAME_BYTES} bytes work")
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as failure:
        raise UsageError(
            f"{flag} {path} cannot be written: {failure.strerror}", "name a file in a folder you may write to"
        ) from None
