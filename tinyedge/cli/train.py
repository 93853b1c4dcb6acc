"""`tinyedge train`: every missing phase from text to a trained model."""

import contextlib
from pathlib import Path
from typing import Annotated

import typer

from tinyedge.cli._options import Values, options_from
from tinyedge.cli.corpus import Source, request_for
from tinyedge.core.config import PRESETS, ModelConfig, resolve_shape
from tinyedge.text.tokenizer_config import TokenizerConfig
from tinyedge.train.recipe import RECIPES, TrainConfig, resolve

# Of `train` and `sweep`: where the text comes from.
Inputs = Annotated[
    list[Path] | None, typer.Option("--input", metavar="PATH...", help="Your own text files or folders.")
]
Sources = Annotated[
    list[Source] | None,
    typer.Option(help="Text to get: phrasebook (default for a new folder), gutenberg."),
]

YEAR = 525_600  # minutes


def require_minutes(name: str, minutes: float | None) -> None:
    """Raises UsageError unless a limit of time is one; None is no limit."""
    from tinyedge.core.errors import UsageError

    if minutes is not None and not 0 < minutes <= YEAR:
        raise UsageError(f"{name} {minutes} is outside 0-{YEAR}", "pass minutes, or leave it out: no limit")


@options_from("training", TrainConfig, presets=RECIPES)
@options_from("model", ModelConfig, presets=PRESETS)
@options_from("vocabulary", TokenizerConfig, omit=("vocab_size",))
def train(
    *,
    inputs: Inputs = None,
    source: Sources = None,
    output_dir: Annotated[Path, typer.Option(help="Where everything goes.")] = Path("data"),
    recipe: Annotated[str, typer.Option(help="fast, or guide (the guide's own settings).")] = "fast",
    training: Values,
    preset: Annotated[str, typer.Option(help="Shape: tiny (the guide's), small or base.")] = "tiny",
    model: Values,
    vocabulary: Values,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32 or bf16.")] = "auto",
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the newest checkpoint; needs the flags of its run.")
    ] = False,
    restart: Annotated[
        bool, typer.Option("--restart", help="Begin again; the earlier run goes to previous/.")
    ] = False,
    skip_corpus: Annotated[
        bool, typer.Option("--skip-corpus", help="Take corpus_bilingual.txt as it is.")
    ] = False,
    skip_tokenizer: Annotated[
        bool, typer.Option("--skip-tokenizer", help="Take the tokenizer as it is.")
    ] = False,
    max_minutes: Annotated[
        float | None,
        typer.Option(
            help="Train, judge and save no longer; the schedule fits. Corpus and tokenizer come on top."
        ),
    ] = None,
    patience: Annotated[
        int | None, typer.Option(min=1, help="End after so many epochs without a lower held-out loss.")
    ] = None,
    checkpoint_minutes: Annotated[
        float | None, typer.Option(help="Save so often, besides after every epoch.")
    ] = None,
    keep: Annotated[int, typer.Option(min=1, help="Periodic checkpoints that stay, the newest.")] = 3,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Also write event files to OUTPUT_DIR/tensorboard.")
    ] = False,
) -> None:
    """Train a model: corpus, tokenizer and shards first, where they are missing."""
    from tinyedge.cli import _argv
    from tinyedge.cli._extras import require
    from tinyedge.core.errors import UsageError
    from tinyedge.corpus.build import CORPUS_NAME

    require_minutes("--max-minutes", max_minutes)
    require_minutes("--checkpoint-minutes", checkpoint_minutes)
    if resume and restart:
        raise UsageError("--resume and --restart contradict each other", "pass one of them")
    as_it_is = not (source or inputs or skip_corpus) and (output_dir / CORPUS_NAME).exists()
    shape = resolve_shape(preset, model)
    config = resolve(recipe, training)
    tokenizer = TokenizerConfig(shape.vocab_size, **vocabulary)
    require("torch", "train")
    require("matplotlib", "train")
    if tensorboard:
        require("tensorboard", "tensorboard")

    from tinyedge.cli._progress import TerminalReporter
    from tinyedge.train.distributed import join_process_group
    from tinyedge.train.hardware import choose_hardware
    from tinyedge.train.limits import RunLimits
    from tinyedge.train.pipeline import RunRequest, run
    from tinyedge.train.report.reporter import Reporter
    from tinyedge.train.report.tensorboard import TensorBoard

    request = RunRequest(
        output_dir=output_dir,
        corpus=request_for(source, inputs),
        tokenizer=tokenizer,
        model=shape,
        training=config,
        hardware=choose_hardware(device, precision),
        limits=RunLimits(max_minutes, checkpoint_minutes, patience, keep),
        skip_corpus=skip_corpus or as_it_is,
        skip_tokenizer=skip_tokenizer,
        resume=resume,
        restart=restart,
    )
    with (
        join_process_group(request.hardware.device) as group,
        TerminalReporter(silent=not group.is_main) as terminal,
        contextlib.ExitStack() as opened,
    ):
        reporter: Reporter = terminal
        if tensorboard and group.is_main:
            reporter = opened.enter_context(TensorBoard(output_dir, terminal))
        if as_it_is:
            terminal.note(
                f"corpus: {output_dir}/{CORPUS_NAME} is taken as it is (--source or --input make another)"
            )
        outcome = run(request, reporter, group)
    if outcome is None:
        return
    state = outcome.state
    if outcome.signal is not None:
        terminal.note(f"stopped in epoch {state.epoch + 1}, step {state.step}; saved. To go on:")
        terminal.note(f"  {_argv.resuming()}")
        raise typer.Exit(128 + outcome.signal)
    if outcome.ended_by != "epochs":
        terminal.note(f"ended by --{outcome.ended_by} in epoch {state.epoch} of {config.epochs}")
    if not group.is_main:
        return
    bits = ", ".join(f"{name} {value:.3f}" for name, value in state.history[-1]["val_bits_per_byte"].items())
    typer.echo(f"held-out bits per byte: {bits}; {state.elapsed_s:.0f} s of training")
    typer.echo(f"wrote {output_dir}/final_model.pt, best_model.pt, training_metrics.json, training_curve.png")
    export = _argv.line(["export", output_dir / "best_model.pt", "--output-dir", "bundle"])
    typer.echo(f"next: {export}")
