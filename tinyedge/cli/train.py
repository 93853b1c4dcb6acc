"""`tinyedge train`: every missing phase from text to a trained model."""

import contextlib
from pathlib import Path
from typing import Annotated

import typer

from tinyedge.cli.corpus import Source, request_for

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


def train(
    inputs: Inputs = None,
    source: Sources = None,
    output_dir: Annotated[Path, typer.Option(help="Where everything goes.")] = Path("data"),
    recipe: Annotated[str, typer.Option(help="fast, or guide (the guide's own settings).")] = "fast",
    epochs: Annotated[int | None, typer.Option(help="Passes over the text: fast 10, guide 20.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Windows a step: fast 16, guide 32.")] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(help="Peak rate of AdamW: fast 0.003, guide 0.0003. Muon's, in fast, stays 0.02."),
    ] = None,
    stride: Annotated[
        int | None,
        typer.Option(help="Tokens between windows; 0, the default, is max-seq-length: no overlap."),
    ] = None,
    preset: Annotated[str, typer.Option(help="Shape: tiny (the guide's), small or base.")] = "tiny",
    max_seq_length: Annotated[int | None, typer.Option(help="Context, in tokens: tiny 128.")] = None,
    vocab_size: Annotated[int | None, typer.Option(help="Pieces of the tokenizer: tiny 8000.")] = None,
    d_model: Annotated[int | None, typer.Option(help="Width: tiny 128.")] = None,
    nhead: Annotated[int | None, typer.Option(help="Attention heads: tiny 4.")] = None,
    num_layers: Annotated[int | None, typer.Option(help="Blocks: tiny 2.")] = None,
    dim_feedforward: Annotated[int | None, typer.Option(help="Width inside a block: tiny 256.")] = None,
    character_coverage: Annotated[float, typer.Option(help="Share of characters with a piece.")] = 0.9995,
    byte_fallback: Annotated[bool, typer.Option("--byte-fallback", help="Bytes instead of UNK.")] = False,
    grad_accumulation: Annotated[
        int | None, typer.Option(help="Parts that a step is computed in, for less memory: 1.")
    ] = None,
    clip_norm: Annotated[
        float | None, typer.Option(help="Cut the gradient to this norm; 0, the default, is off.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of weights and data order.")] = 0,
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
    from tinyedge.core.config import resolve_shape
    from tinyedge.core.errors import UsageError
    from tinyedge.corpus.build import CORPUS_NAME
    from tinyedge.text.train_tokenizer import TokenizerConfig
    from tinyedge.train.recipe import resolve

    require_minutes("--max-minutes", max_minutes)
    require_minutes("--checkpoint-minutes", checkpoint_minutes)
    if resume and restart:
        raise UsageError("--resume and --restart contradict each other", "pass one of them")
    as_it_is = not (source or inputs or skip_corpus) and (output_dir / CORPUS_NAME).exists()
    model = resolve_shape(
        preset,
        {
            "vocab_size": vocab_size,
            "d_model": d_model,
            "nhead": nhead,
            "num_layers": num_layers,
            "dim_feedforward": dim_feedforward,
            "max_seq_length": max_seq_length,
        },
    )
    training = resolve(
        recipe,
        {
            "epochs": epochs,
            "batch_size": batch_size,
            "learning_rate": learning_rate,
            "stride": stride,
            "grad_accumulation": grad_accumulation,
            "clip_norm": clip_norm,
            "seed": seed,
        },
    )
    vocabulary = TokenizerConfig(model.vocab_size, character_coverage, byte_fallback)
    require("torch", "train")
    require("matplotlib", "train")
    if tensorboard:
        require("tensorboard", "tensorboard")

    from tinyedge.cli._progress import TerminalReporter
    from tinyedge.train.distributed import join_process_group
    from tinyedge.train.hardware import choose_hardware
    from tinyedge.train.pipeline import RunRequest, run
    from tinyedge.train.report.reporter import Reporter
    from tinyedge.train.report.tensorboard import TensorBoard
    from tinyedge.train.trainer import RunLimits

    request = RunRequest(
        output_dir=output_dir,
        corpus=request_for(source, inputs),
        tokenizer=vocabulary,
        model=model,
        training=training,
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
        terminal.note(f"ended by --{outcome.ended_by} in epoch {state.epoch} of {training.epochs}")
    if not group.is_main:
        return
    bits = ", ".join(f"{name} {value:.3f}" for name, value in state.history[-1]["val_bits_per_byte"].items())
    typer.echo(f"held-out bits per byte: {bits}; {state.elapsed_s:.0f} s of training")
    typer.echo(f"wrote {output_dir}/final_model.pt, best_model.pt, training_metrics.json, training_curve.png")
    export = _argv.line(["export", output_dir / "best_model.pt", "--output-dir", "bundle"])
    typer.echo(f"next: {export}")
