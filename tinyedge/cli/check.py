"""`tinyedge check`: the guide's deployment checklist, with every line measured."""

from pathlib import Path
from typing import Annotated

import typer

from tinyedge.cli._json import JsonOutput, JsonTarget

EXIT_CODES = {"pass": 0, "fail": 3, "inconclusive": 4}


def check(
    bundle: Annotated[Path, typer.Argument(help="Folder created by `tinyedge export`.", show_default=False)],
    checkpoint: Annotated[
        Path | None, typer.Option(help="Checkpoint to check as well; needs torch.", show_default=False)
    ] = None,
    run_dir: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the training run. [default: the checkpoint's; data, if the bundle comes from it]",
            show_default=False,
        ),
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option(help="NAME=FILE: text to use instead of the run's; repeatable.", show_default=False),
    ] = None,
    max_loss: Annotated[
        float | None, typer.Option(help="Also limit the loss, in nats per token.", show_default=False)
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown, as for a release.")] = False,
    json: JsonTarget = None,
) -> None:
    """Run the deployment checklist on a bundle.

    Exits with 0 if every line that can be checked here passes, 3 if one fails, 4 if a measurement is
    inconclusive. Lines that need a training run or torch are skipped where there is none.
    """
    import importlib.util
    import math

    from tinyedge.cli._echo import page_width, print_note
    from tinyedge.cli._named_files import parse_named_files
    from tinyedge.core import files
    from tinyedge.core.errors import CheckpointError, UsageError

    texts = parse_named_files(text or ())
    read = (bundle, *texts.values(), *filter(None, [checkpoint]))
    output = JsonOutput.from_option(json, "tinyedge.check", inputs=read)
    if max_loss is not None and not (math.isfinite(max_loss) and max_loss > 0):
        raise UsageError(f"--max-loss {max_loss:g} is not a limit", "pass a number above 0")
    if run_dir is not None and not run_dir.is_dir():
        raise UsageError(f"--run-dir {run_dir} is not a folder", "pass the --output-dir of a training run")
    if checkpoint is not None:
        files.require_file(checkpoint, CheckpointError)

    from tinyedge.check.checklist import CheckOptions, run_checklist
    from tinyedge.check.render import render_markdown, render_text

    reader = _count_checkpoint_weights if importlib.util.find_spec("torch") else None
    options = CheckOptions(
        bundle, checkpoint, run_dir, texts=texts, max_loss=max_loss, read_checkpoint=reader
    )
    checklist = run_checklist(options, print_note)
    shown = render_markdown(checklist) if markdown else render_text(checklist, page_width())
    output.emit(checklist.to_dict(), shown)
    raise typer.Exit(EXIT_CODES[checklist.verdict])


def _count_checkpoint_weights(path: Path) -> int:
    """Return the number of a checkpoint's weights.

    Raises:
        CheckpointError: The checkpoint is damaged, or a weight is not finite.
    """
    from tinyedge.train.storage.checkpoint import load_model

    return load_model(path).config.parameters
