"""`tinyedge train`: every missing phase from text to a trained model."""

from pathlib import Path
from typing import Annotated

import typer

from tinyedge.commands.corpus import Source


def train(
    inputs: Annotated[
        list[Path] | None, typer.Option("--input", metavar="PATH...", help="Your own text files or folders.")
    ] = None,
    source: Annotated[
        list[Source] | None,
        typer.Option(help="Text to get: phrasebook (default for a new folder), gutenberg."),
    ] = None,
    output_dir: Annotated[Path, typer.Option(help="Where everything goes.")] = Path("data"),
    recipe: Annotated[str, typer.Option(help="fast, or guide (the guide's own settings).")] = "fast",
    epochs: Annotated[int | None, typer.Option(help="Passes over the text: fast 4, guide 20.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Windows a step.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak rate of AdamW.")] = None,
    stride: Annotated[
        int | None, typer.Option(help="Tokens between windows; 0 is max-seq-length: no overlap.")
    ] = None,
    max_seq_length: Annotated[int, typer.Option(help="Context, in tokens.")] = 128,
    vocab_size: Annotated[int, typer.Option(help="Pieces of the tokenizer.")] = 8000,
    d_model: Annotated[int, typer.Option(help="Width.")] = 128,
    nhead: Annotated[int, typer.Option(help="Attention heads.")] = 4,
    num_layers: Annotated[int, typer.Option(help="Blocks.")] = 2,
    dim_feedforward: Annotated[int, typer.Option(help="Width inside a block.")] = 256,
    character_coverage: Annotated[float, typer.Option(help="Share of characters with a piece.")] = 0.9995,
    byte_fallback: Annotated[bool, typer.Option("--byte-fallback", help="Bytes instead of UNK.")] = False,
    seed: Annotated[int, typer.Option(help="Of weights and data order.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32 or bf16.")] = "auto",
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the newest checkpoint.")] = False,
    restart: Annotated[
        bool, typer.Option("--restart", help="Begin again; the earlier run goes to previous/.")
    ] = False,
    skip_corpus: Annotated[
        bool, typer.Option("--skip-corpus", help="Take corpus_bilingual.txt as it is.")
    ] = False,
    skip_tokenizer: Annotated[
        bool, typer.Option("--skip-tokenizer", help="Take the tokenizer as it is.")
    ] = False,
    max_minutes: Annotated[float | None, typer.Option(help="Stop after so long, with a model.")] = None,
    checkpoint_minutes: Annotated[
        float | None, typer.Option(help="Save so often, besides every 5 epochs.")
    ] = None,
) -> None:
    """Train a model: corpus, tokenizer and shards first, where they are missing."""
    from tinyedge.commands.extras import require
    from tinyedge.config import ModelConfig
    from tinyedge.corpus.build import CORPUS_NAME, CorpusRequest
    from tinyedge.errors import UsageError
    from tinyedge.train.recipe import resolve
    from tinyedge.vocabulary import TokenizerConfig

    for name, minutes in (("--max-minutes", max_minutes), ("--checkpoint-minutes", checkpoint_minutes)):
        if minutes is not None and not minutes > 0:
            raise UsageError(f"{name} {minutes} is not above zero")
    if resume and restart:
        raise UsageError("--resume and --restart contradict each other", "pass one of them")
    if not (source or inputs or skip_corpus) and (output_dir / CORPUS_NAME).exists():
        typer.echo(
            f"corpus: {output_dir}/{CORPUS_NAME} is taken as it is (--source or --input make another)",
            err=True,
        )
        skip_corpus = True
    asked = source or ([] if inputs else [Source.PHRASEBOOK])
    model = ModelConfig(vocab_size, d_model, nhead, num_layers, dim_feedforward, max_seq_length)
    training = resolve(
        recipe,
        {
            "epochs": epochs,
            "batch_size": batch_size,
            "learning_rate": learning_rate,
            "stride": stride,
            "seed": seed,
        },
    )
    vocabulary = TokenizerConfig(vocab_size, character_coverage, byte_fallback)
    corpus = CorpusRequest(tuple(dict.fromkeys(asked)), tuple(inputs or ()), 0)
    require("torch", "train")
    require("matplotlib", "train")

    from tinyedge.commands.progress import Terminal
    from tinyedge.train.hardware import choose_hardware
    from tinyedge.train.pipeline import RunRequest, run
    from tinyedge.train.trainer import Limits

    request = RunRequest(
        output_dir=output_dir,
        corpus=corpus,
        tokenizer=vocabulary,
        model=model,
        training=training,
        hardware=choose_hardware(device, precision),
        limits=Limits(max_minutes, checkpoint_minutes),
        skip_corpus=skip_corpus,
        skip_tokenizer=skip_tokenizer,
        resume=resume,
        restart=restart,
    )
    with Terminal() as terminal:
        outcome = run(request, terminal)
    if outcome is None:
        return
    state = outcome.state
    if outcome.signal is not None:
        typer.echo(
            f"stopped in epoch {state.epoch + 1}, step {state.step}; saved. To go on, give the same command"
            " with --resume",
            err=True,
        )
        raise typer.Exit(128 + outcome.signal)
    if outcome.timed_out:
        terminal.note(f"stopped by --max-minutes in epoch {state.epoch} of {training.epochs}")
    bits = ", ".join(f"{name} {value:.3f}" for name, value in state.history[-1]["val_bits_per_byte"].items())
    typer.echo(f"held-out bits per byte: {bits}; {state.elapsed_s:.0f} s of training")
    typer.echo(f"wrote {output_dir}/final_model.pt, best_model.pt, training_metrics.json, training_curve.png")
