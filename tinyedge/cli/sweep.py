"""`tinyedge sweep`: many training runs in search of the best flags."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tinyedge.cli._options import Values, options_from
from tinyedge.cli.corpus import request_for
from tinyedge.cli.train import Inputs, Sources, require_minutes, train
from tinyedge.sweep.settings import SweepSettings
from tinyedge.text.tokenizer_config import TokenizerConfig

if TYPE_CHECKING:
    from tinyedge.sweep.study import Trial


@options_from("settings", SweepSettings)
@options_from("vocabulary", TokenizerConfig, omit=("character_coverage", "byte_fallback"))
def sweep(
    *,
    inputs: Inputs = None,
    source: Sources = None,
    output_dir: Annotated[Path, typer.Option(help="Where trials and their study go.")] = Path("sweep"),
    data_dir: Annotated[
        Path | None,
        typer.Option(help="Text, tokenizer and shards of all trials; by default OUTPUT_DIR/data."),
    ] = None,
    vary: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FLAG=VALUES...",
            help="Flags of train: FLAG=a,b,c, or FLAG=low..high for tpe; one value holds it fast.",
        ),
    ] = None,
    settings: Values,
    max_minutes: Annotated[
        float | None,
        typer.Option(help="Of training, each trial; its schedule fits. Corpus and tokenizer come on top."),
    ] = None,
    vocabulary: Values,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32 or bf16.")] = "auto",
) -> None:
    """Search for the best flags: each trial is a run folder, and `tinyedge runs` compares them.

    Without --vary, tpe varies recipe, learning rate and batch size, and grid is the guide's own. The same
    command goes on with a sweep that was stopped, also beside another one on the same or another machine.
    """
    import inspect

    from tinyedge.cli._extras import require
    from tinyedge.core.config import ModelConfig
    from tinyedge.core.errors import TrainingError
    from tinyedge.corpus.build import CORPUS_NAME
    from tinyedge.sweep.search_space import DEFAULT, GUIDE_GRID, list_grid, list_varied, parse_space
    from tinyedge.train.recipe import resolve

    plan = SweepSettings(**settings)
    require_minutes("--max-minutes", max_minutes)
    space = parse_space(vary or (), inspect.signature(train).parameters)
    space = space or (GUIDE_GRID if plan.search == "grid" else DEFAULT)
    if plan.search == "grid":
        list_grid(space)  # says so now where it cannot be one
    tokenizer = TokenizerConfig(**vocabulary)
    model, training = ModelConfig(tokenizer.vocab_size), resolve("fast", {"epochs": plan.epochs})
    data = data_dir or output_dir / "data"
    taken = not (source or inputs) and (data / CORPUS_NAME).exists()
    for package, extra in (("torch", "train"), ("matplotlib", "train"), ("optuna", "sweep")):
        require(package, extra)

    from tinyedge.cli._progress import TerminalReporter
    from tinyedge.sweep.run import SweepRequest, command
    from tinyedge.sweep.run import sweep as work
    from tinyedge.train.hardware import choose_hardware
    from tinyedge.train.limits import RunLimits
    from tinyedge.train.pipeline import RunRequest

    common = RunRequest(
        output_dir=data,
        corpus=request_for(source, inputs),
        tokenizer=tokenizer,
        model=model,
        training=training,
        hardware=choose_hardware(device, precision),
        limits=RunLimits(max_minutes),
        skip_corpus=taken,
    )
    request = SweepRequest(output_dir, common, space, plan)
    with TerminalReporter() as terminal:
        if taken:
            terminal.note(
                f"corpus: {data}/{CORPUS_NAME} is taken as it is (--source or --input make another)"
            )
        result = work(request, terminal)
    if result.signal is not None:
        typer.echo("stopped; the trial is saved. To go on, give the same command again", err=True)
        raise typer.Exit(128 + result.signal)
    typer.echo(_table(result.trials, list_varied(space)))
    elsewhere = sum(trial.status == "running" for trial in result.trials)
    if elsewhere:
        typer.echo(f"under way in other processes: {elsewhere}", err=True)
    if result.best is None:
        if elsewhere:
            return
        raise TrainingError("no trial finished", "the lines above say why; try other values of --vary")
    typer.echo(f"best: {result.best.name}. To train it again:\n{command(request, result.best.point)}")
    typer.echo(f"wrote {output_dir}/sweep.json, sweep.png; tinyedge runs {output_dir} compares the runs")


def _table(trials: "Sequence[Trial]", names: Sequence[str]) -> str:
    """The best first; then the pruned, the failed, and what other processes are at."""
    from tinyedge.cli._table import aligned

    order = ("finished", "pruned", "failed", "running")
    rows = [["trial", "bits/byte", "status", *names]]
    for trial in sorted(trials, key=lambda t: (order.index(t.status), t.bits_per_byte or 0, t.number)):
        bits = "-" if trial.bits_per_byte is None else f"{trial.bits_per_byte:.4f}"
        rows.append([trial.name, bits, trial.status, *(str(trial.point.get(name, "-")) for name in names)])
    return aligned(rows, left=(0, 2))
