"""`tinyedge runs`: compare training runs, best first."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tinyedge.cli._json import JsonOutput, JsonTarget

if TYPE_CHECKING:
    from tinyedge.core.runs import TrainingRun


def runs(
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="DIR...", help="Run folders, or folders that contain them.", show_default=False
        ),
    ],
    previous: Annotated[
        bool,
        typer.Option("--previous/--no-previous", help="Include the earlier runs that run folders keep."),
    ] = True,
    plot: Annotated[
        Path | None,
        typer.Option(help="Also plot the curves to this .png, .svg or .pdf file.", show_default=False),
    ] = None,
    json: JsonTarget = None,
) -> None:
    """Compare training runs by bits per byte on held-out text.

    The table shows the result and the cost of each run, and the settings that differ.
    """
    from tinyedge.cli._argv import format_command
    from tinyedge.cli._echo import print_note
    from tinyedge.cli._extras import require_package
    from tinyedge.cli._table import print_table
    from tinyedge.core.errors import TinyEdgeError
    from tinyedge.core.run_files import BEST_FILE
    from tinyedge.core.runs import (
        ALL,
        METRICS_FILE,
        PREVIOUS_FOLDER,
        are_comparable,
        list_differing_fields,
        sort_best_first,
    )
    from tinyedge.text.evaluate import describe_unknown

    output = JsonOutput.from_option(
        json, "tinyedge.runs", inputs=[*(folder / METRICS_FILE for folder in folders), *filter(None, [plot])]
    )
    if plot is not None:
        require_package("matplotlib", "train")
        from tinyedge.train.report.plotting import require_format

        require_format(plot)
    found = sort_best_first(_read_runs(folders, previous))
    if not found:
        raise TinyEdgeError("no run could be read", "pass the --output-dir of a tinyedge train")
    names, fields = _name_runs(found), list_differing_fields(found)
    table = [_run_to_dict(run, name) for run, name in zip(found, names, strict=True)]
    value = {"comparable": are_comparable(found), "differing": fields, "runs": table}
    output.emit({"schema": "tinyedge.runs/1", **value})
    if not output.is_printed:
        print_table(_make_rows(found, names, fields), left=(0,))
    if not are_comparable(found):
        print_note(
            "warning: the runs have different held-out text, so their bits per byte are not comparable"
        )
    if len({run.unknown_bytes is None for run in found}) > 1:
        print_note(
            "warning: runs without a figure under `unknown` are of an earlier version, whose bits per byte"
            " do not charge for bytes behind UNK; compare them with `tinyedge eval`"
        )
    shares = {name: (run.unknown_bytes or {}).get(ALL, 0.0) for run, name in zip(found, names, strict=True)}
    if warning := describe_unknown(shares):
        print_note(f"warning: {warning}")
    if earlier := next((run.folder for run in found if PREVIOUS_FOLDER in run.folder.parts), None):
        command = format_command(["export", earlier / BEST_FILE, "--output-dir", "bundle"])
        print_note(f"an earlier run can still be exported: {command}")
    if plot is not None:
        from tinyedge.train.report.curve import draw_comparison

        draw_comparison(found, names, plot)


def _read_runs(folders: Iterable[Path], previous: bool) -> "list[TrainingRun]":
    """Read every valid run once; print a line about each invalid one."""
    from tinyedge.cli._echo import print_note
    from tinyedge.core.errors import TinyEdgeError
    from tinyedge.core.runs import find_runs, find_started_runs, read_run

    found: dict[Path, TrainingRun] = {}
    for folder in folders:
        for path in find_started_runs(folder, previous):
            print_note(f"{path}: no epoch is finished yet, so there is nothing to compare")
        try:
            paths = find_runs(folder, previous, print_note)
        except TinyEdgeError as failure:
            print_note(f"warning: {failure.message}")
            continue
        for path in paths:
            try:
                found.setdefault(path.resolve(), read_run(path))
            except (TinyEdgeError, OSError) as failure:
                print_note(f"warning: {failure}")
    return list(found.values())


def _name_runs(found: "Sequence[TrainingRun]") -> list[str]:
    """Return a name for each run: its path below the folder that contains all of them."""
    import os

    paths = [run.folder.resolve() for run in found]
    common = Path(os.path.commonpath([path.parent for path in paths]))
    return [str(path.relative_to(common)) for path in paths]


def _make_rows(
    found: "Sequence[TrainingRun]", names: Sequence[str], fields: Sequence[str]
) -> list[list[str]]:
    from tinyedge.core.runs import ALL

    languages = sorted({name for run in found for name in run.best.bits_per_byte} - {ALL})
    unknown = ["unknown"] if any(run.unknown_bytes is not None for run in found) else []
    model = ["model"] if any(run.best.model_id for run in found) else []
    head = [
        "run",
        "bits/byte",
        *languages,
        *unknown,
        "best",
        "done",
        "tokens",
        "minutes",
        "tokens/s",
        "parameters",
    ]
    rows = [[*head, *model, "status", *fields]]
    for run, name in zip(found, names, strict=True):
        bits = [run.best.bits_per_byte.get(language) for language in (ALL, *languages)]
        rows.append(
            [
                name,
                *("-" if value is None else f"{value:.4f}" for value in bits),
                *(_format_share(run.unknown_bytes) for _ in unknown),
                str(run.best.number),
                run.epochs,
                "-" if run.last.tokens is None else f"{run.last.tokens:,}",
                f"{run.last.elapsed_s / 60:.1f}",
                f"{run.tokens_per_second:,.0f}",
                f"{run.parameters:,}",
                *(run.best.model_id or "-" for _ in model),
                run.status,
                *(_format_cell(field, run.configuration.get(field)) for field in fields),
            ]
        )
    return rows


def _format_share(unknown_bytes: Mapping[str, float] | None) -> str:
    from tinyedge.core.runs import ALL

    return "-" if unknown_bytes is None else f"{100 * unknown_bytes[ALL]:.3f}%"


def _format_cell(field: str, value: Any) -> str:
    if value is None:
        return "-"
    return value[:12] if field.endswith("_sha256") else str(value)


def _run_to_dict(run: "TrainingRun", name: str) -> dict[str, Any]:
    return {
        "run": name,
        "folder": str(run.folder),
        "model_id": run.best.model_id,
        "bits_per_byte": run.best.bits_per_byte,
        "unknown_bytes": run.unknown_bytes,
        "best_epoch": run.best.number,
        "epochs": run.last.number,
        "tokens": run.last.tokens,
        "elapsed_s": run.last.elapsed_s,
        "tokens_per_second": run.tokens_per_second,
        "parameters": run.parameters,
        "status": run.status,
        "configuration": run.configuration,
    }
