"""`tinyedge sweep`: search for good training settings with many runs."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tinyedge.cli._options import Values, options_from, select_given
from tinyedge.cli.corpus import make_corpus_request
from tinyedge.cli.train import Device, Inputs, Precision, Sources, train
from tinyedge.sweep.settings import SweepSettings
from tinyedge.text.tokenizer_config import TokenizerConfig
from tinyedge.train.limits import RunLimits

if TYPE_CHECKING:
    from tinyedge.sweep.study import Trial


@options_from("settings", SweepSettings)
@options_from("limits", RunLimits, omit=("checkpoint_minutes", "patience", "keep"))
@options_from("vocabulary", TokenizerConfig, omit=("character_coverage", "byte_fallback"), optional=True)
def sweep(
    *,
    inputs: Inputs = None,
    source: Sources = None,
    vocabulary: Values,
    vary: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FLAG=VALUES...",
            help="Flags of train: FLAG=a,b,c, or FLAG=low..high for tpe; a single value fixes it.",
            rich_help_panel="Search",
        ),
    ] = None,
    settings: Values,
    output_dir: Annotated[
        Path, typer.Option(help="Folder of the trials and their study.", rich_help_panel="Run")
    ] = Path("sweep"),
    data_dir: Annotated[
        Path | None,
        typer.Option(
            help="Text, tokenizer and shards of all trials. [default: OUTPUT_DIR/data]",
            rich_help_panel="Run",
        ),
    ] = None,
    limits: Values,
    device: Device = "auto",
    precision: Precision = "auto",
) -> None:
    """Search for good training settings with many runs.

    Each trial is a run folder, so `tinyedge runs` compares them. Without --vary, tpe varies recipe, learning
    rate and batch size, and grid runs the guide's grid. Limits apply to each trial. The same command
    continues a sweep that was stopped; it can also run at the same time in several processes, on this or on
    other machines.
    """
    import inspect

    from tinyedge.cli._argv import break_command
    from tinyedge.cli._echo import print_result, terminal_width
    from tinyedge.cli._extras import require_package
    from tinyedge.core.config import ModelConfig
    from tinyedge.core.errors import TrainingError
    from tinyedge.corpus.build import CORPUS_NAME
    from tinyedge.sweep.search_space import DEFAULT, GUIDE_GRID, list_grid, list_varied, parse_space
    from tinyedge.train.recipe import resolve

    plan = SweepSettings(**settings)
    space = parse_space(vary or (), inspect.signature(train).parameters)
    space = space or (GUIDE_GRID if plan.search == "grid" else DEFAULT)
    if plan.search == "grid":
        list_grid(space)  # raises for a space that is not a grid
    chosen = select_given(vocabulary)
    tokenizer = TokenizerConfig(**chosen)
    model, training = ModelConfig(tokenizer.vocab_size), resolve("fast", {"epochs": plan.epochs})
    data = data_dir or output_dir / "data"
    reuses_corpus = not (source or inputs) and (data / CORPUS_NAME).exists()
    for package, extra in (("torch", "train"), ("matplotlib", "train"), ("optuna", "sweep")):
        require_package(package, extra)

    from tinyedge.cli._progress import TerminalReporter
    from tinyedge.sweep.run import SweepRequest, format_command
    from tinyedge.sweep.run import sweep as run_sweep
    from tinyedge.train.hardware import choose_hardware
    from tinyedge.train.run_request import RunRequest

    common = RunRequest(
        output_dir=data,
        corpus=make_corpus_request(source, inputs),
        tokenizer=tokenizer,
        flexible=frozenset(vocabulary.keys() - chosen),
        model=model,
        training=training,
        hardware=choose_hardware(device, precision),
        limits=RunLimits(**limits),
        skip_corpus=reuses_corpus,
    )
    request = SweepRequest(output_dir, common, space, plan)
    with TerminalReporter() as terminal:
        if reuses_corpus:
            terminal.note(f"corpus: using {data}/{CORPUS_NAME} (pass --source or --input to replace it)")
        result = run_sweep(request, terminal)
    if result.signal is not None:
        typer.echo("stopped; the trial is saved. To continue, run the same command again", err=True)
        raise typer.Exit(128 + result.signal)
    _print_table(result.trials, list_varied(space))
    running = sum(trial.status == "running" for trial in result.trials)
    if running:
        typer.echo(f"running in other processes: {running}", err=True)
    if result.best is None:
        if running:
            return
        raise TrainingError(
            "no trial finished", "the lines above give the reasons; try other values of --vary"
        )
    command = break_command(format_command(request, result.best.point), terminal_width(sys.stdout))
    typer.echo(f"best: {result.best.name}. To train it again:\n{command}")
    print_result(f"wrote {output_dir}/sweep.json, sweep.png; tinyedge runs {output_dir} compares the runs")


def _print_table(trials: "Sequence[Trial]", names: Sequence[str]) -> None:
    """Print the trials as a table: finished (best first), pruned, failed, running in other processes."""
    from tinyedge.cli._table import print_table

    order = ("finished", "pruned", "failed", "running")
    rows = [["trial", "bits/byte", "status", *names]]
    for trial in sorted(trials, key=lambda t: (order.index(t.status), t.bits_per_byte or 0, t.number)):
        bits = "-" if trial.bits_per_byte is None else f"{trial.bits_per_byte:.4f}"
        rows.append([trial.name, bits, trial.status, *(str(trial.point.get(name, "-")) for name in names)])
    print_table(rows, left=(0, 2))
