"""`tinyedge check`: the guide's deployment checklist, each line measured."""

from pathlib import Path
from typing import Annotated

import typer

EXIT_CODES = {"pass": 0, "fail": 3, "inconclusive": 4}


def check(
    bundle: Annotated[Path, typer.Argument(help="Folder created by `tinyedge export`.", show_default=False)],
    checkpoint: Annotated[
        Path | None, typer.Option(help="Checkpoint to look into; needs torch.", show_default=False)
    ] = None,
    run_dir: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the training run. [default: the checkpoint's; data, if the bundle is from there]",
            show_default=False,
        ),
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option(help="NAME=FILE, several times: text to judge by, not the run's.", show_default=False),
    ] = None,
    max_loss: Annotated[
        float | None, typer.Option(help="Also limit the loss, in nats a token.", show_default=False)
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown, for a release.")] = False,
    json: Annotated[Path | None, typer.Option(help="Also write the list here.", show_default=False)] = None,
) -> None:
    """Measure each line of the deployment checklist, and tick or cross it.

    Exits with 0 when every line that could be checked here is ticked, 3 when one is crossed, 4 when a
    measurement cannot tell. Lines that need a training run or torch are left out where there is none.
    """
    import importlib.util
    import math

    from tinyedge.bench.report_files import ReportFiles
    from tinyedge.check.checklist import SCHEMA, CheckOptions
    from tinyedge.cli._echo import print_note
    from tinyedge.cli._named_files import parse_named_files
    from tinyedge.core import files
    from tinyedge.core.errors import CheckpointError, UsageError

    texts = parse_named_files(text or ())
    outputs = ReportFiles(json)
    outputs.require_writable((bundle, *texts.values(), *filter(None, [checkpoint])))
    run_folders = [CheckOptions.default_run, *filter(None, [run_dir, checkpoint and checkpoint.parent])]
    outputs.require_new_in(run_folders, SCHEMA)
    if max_loss is not None and not (math.isfinite(max_loss) and max_loss > 0):
        raise UsageError(f"--max-loss {max_loss:g} is not a limit", "pass a number above 0")
    if run_dir is not None and not run_dir.is_dir():
        raise UsageError(f"--run-dir {run_dir} is not a folder", "name the --output-dir of a training run")
    if checkpoint is not None:
        files.require_file(checkpoint, CheckpointError)

    from tinyedge.check.checklist import run_checklist
    from tinyedge.check.render import render_markdown, render_text

    read = _read_checkpoint if importlib.util.find_spec("torch") else None
    options = CheckOptions(bundle, checkpoint, run_dir, texts=texts, max_loss=max_loss, read_checkpoint=read)
    checklist = run_checklist(options, print_note)
    typer.echo((render_markdown if markdown else render_text)(checklist))
    if json is not None:
        files.write_json(json, checklist.to_dict())
    raise typer.Exit(EXIT_CODES[checklist.verdict])


def _read_checkpoint(path: Path) -> int:
    """The number of a checkpoint's weights. Raises CheckpointError where they are not whole and finite."""
    from tinyedge.train.storage.checkpoint import load_model

    return load_model(path).config.parameters
