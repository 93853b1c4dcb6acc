"""`tinyedge train`: run every missing phase from text to a trained model."""

import contextlib
import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tinyedge.cli._options import Values, options_from, select_given
from tinyedge.cli.corpus import Source, make_corpus_request
from tinyedge.core.config import PRESETS, ModelConfig, resolve_shape
from tinyedge.corpus.commands.settings import CommandSettings
from tinyedge.corpus.read_settings import ReadSettings
from tinyedge.text.tokenizer_config import TokenizerConfig
from tinyedge.train.limits import RunLimits
from tinyedge.train.recipe import RECIPES, TrainConfig, list_unset, resolve

if TYPE_CHECKING:
    from tinyedge.fit.training_shapes import BoardShapes

BUNDLE_FOLDER = "bundle"  # in the run folder, of --budget

# Options of both `train` and `sweep`.
Inputs = Annotated[
    list[Path] | None,
    typer.Option(
        "--input", metavar="PATH...", help="Your own text files or folders.", rich_help_panel="Text"
    ),
]
Sources = Annotated[
    list[Source] | None,
    typer.Option(
        help="Built-in text: phrasebook (default for a new folder) or gutenberg; or pairs: commands.",
        rich_help_panel="Text",
    ),
]
Device = Annotated[
    str, typer.Option(help="Processor to train on: auto, cpu or cuda.", rich_help_panel="Hardware")
]
Precision = Annotated[
    str, typer.Option(help="Precision to train in: auto, fp32 or bf16.", rich_help_panel="Hardware")
]


@options_from("model", ModelConfig, presets=PRESETS)
@options_from("vocabulary", TokenizerConfig, omit=("vocab_size",), optional=True)
@options_from("reading", ReadSettings)
@options_from("commands", CommandSettings)
@options_from("training", TrainConfig, presets=RECIPES)
@options_from("limits", RunLimits)
def train(
    *,
    inputs: Inputs = None,
    source: Sources = None,
    reading: Values,
    commands: Values,
    skip_corpus: Annotated[
        bool,
        typer.Option("--skip-corpus", help="Use the existing corpus_bilingual.txt.", rich_help_panel="Text"),
    ] = False,
    skip_tokenizer: Annotated[
        bool,
        typer.Option("--skip-tokenizer", help="Use the existing tokenizer.", rich_help_panel="Tokenizer"),
    ] = False,
    vocabulary: Values,
    init_from: Annotated[
        Path | None,
        typer.Option(
            metavar="CHECKPOINT",
            help="Go on from this trained model (a .pt file, or a run folder), with its shape and tokenizer.",
            rich_help_panel="Model",
            show_default=False,
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            help="Shape: tiny (the guide's), small or base.", rich_help_panel="Model", show_default="tiny"
        ),
    ] = None,
    model: Values,
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="BOARD",
            help="Instead of a shape: train the largest that BOARD (its name or JSON file) runs within its"
            " budgets and that this run can train, and export it to OUTPUT_DIR/bundle.",
            rich_help_panel="Model",
            show_default=False,
        ),
    ] = None,
    recipe: Annotated[
        str,
        typer.Option(
            help="Training settings: fast, best (several models that teach one: for a night), or guide (the"
            " guide's own).",
            rich_help_panel="Training",
        ),
    ] = "fast",
    training: Values,
    output_dir: Annotated[
        Path, typer.Option(help="Folder of the run: text, checkpoints and metrics.", rich_help_panel="Run")
    ] = Path("data"),
    limits: Values,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Continue from the newest checkpoint; needs the options of its run.",
            rich_help_panel="Run",
        ),
    ] = False,
    restart: Annotated[
        bool,
        typer.Option(
            "--restart",
            help="Train a new model without asking; the run in OUTPUT_DIR is moved to previous/.",
            rich_help_panel="Run",
        ),
    ] = False,
    tensorboard: Annotated[
        bool,
        typer.Option(
            "--tensorboard",
            help="Also write event files to OUTPUT_DIR/tensorboard.",
            rich_help_panel="Run",
        ),
    ] = False,
    device: Device = "auto",
    precision: Precision = "auto",
) -> None:
    """Train a model, from text to checkpoint.

    Corpus, tokenizer and shards are made first, where they are missing.
    """
    from tinyedge.bundle.bundle import require_replaceable
    from tinyedge.cli import _argv
    from tinyedge.cli._echo import print_next, print_result, terminal_width
    from tinyedge.cli._extras import require_package
    from tinyedge.core.errors import UsageError
    from tinyedge.corpus.build import CORPUS_NAME
    from tinyedge.fit.training_shapes import BoardShapes

    if resume and restart:
        raise UsageError("--resume and --restart are mutually exclusive", "pass one of them")
    reuses_corpus = not (source or inputs or skip_corpus) and (output_dir / CORPUS_NAME).exists()
    shape = resolve_shape(preset or "tiny", model)
    board_shapes = None
    if budget is not None:
        fixed = {name: value for name, value in model.items() if name not in ("vocab_size", "max_seq_length")}
        _require_free_shape({"preset": preset, **fixed, "init_from": init_from})
        board_shapes = BoardShapes.from_board(budget, model["max_seq_length"])
        board_shapes.list_shapes(shape.vocab_size)  # errors come before the work
        shape = dataclasses.replace(shape, max_seq_length=board_shapes.context)
        require_replaceable(output_dir / BUNDLE_FOLDER)
    config = resolve(recipe, training, context=shape.max_seq_length)
    if Source.COMMANDS in (source or ()) and vocabulary["separate_spaces"] is None:
        vocabulary["separate_spaces"] = True  # answers copy names from the prompt
    chosen = select_given(vocabulary)
    if training["replay"] and not init_from:
        raise UsageError("--replay repeats the text of --init-from", "pass --init-from too, or omit it")
    if init_from:
        _check_initial(
            skip_tokenizer, chosen, has_text=bool(source or inputs or skip_corpus or reuses_corpus)
        )
    tokenizer = TokenizerConfig(shape.vocab_size, **chosen)
    flexible = vocabulary.keys() - chosen | ({"vocab_size"} if model["vocab_size"] is None else set())
    run_limits = RunLimits(**limits)
    require_package("torch", "train")
    require_package("matplotlib", "train")
    if tensorboard:
        require_package("tensorboard", "tensorboard")

    from tinyedge.cli._progress import TerminalReporter
    from tinyedge.cli._samples import format_samples
    from tinyedge.train.distributed import join_process_group
    from tinyedge.train.hardware import choose_hardware
    from tinyedge.train.pipeline import run
    from tinyedge.train.report.reporter import Reporter
    from tinyedge.train.report.tensorboard import TensorBoard
    from tinyedge.train.run_request import RunRequest

    hardware = choose_hardware(device, precision)
    # The model is loaded in the group, where one process alone reports an error.
    with join_process_group(hardware.device) as group, contextlib.ExitStack() as opened:
        initial = None
        if init_from:
            from tinyedge.train.storage.initial import adopt_shape, load_initial_model

            initial = load_initial_model(init_from, output_dir, model["nhead"])
            given = dataclasses.asdict(PRESETS[preset]) if preset else {}
            given.pop("vocab_size", None)
            shape = adopt_shape(initial, given | select_given(model))
            if initial.held_out is None:
                if training["replay"]:
                    raise UsageError(
                        f"--replay: the token files of the run of {initial.path} are not next to it",
                        "omit --replay, or pass the checkpoint in its run folder",
                    )
                training["replay"] = 0.0
            config = resolve(recipe, training, initial.model_id, shape.max_seq_length)
        terminal = opened.enter_context(TerminalReporter(silent=not group.is_main))
        request = RunRequest(
            output_dir=output_dir,
            corpus=make_corpus_request(source, inputs, reading=reading, commands=commands),
            tokenizer=tokenizer,
            flexible=list_unset(training) | flexible,
            model=shape,
            initial=initial,
            list_shapes=board_shapes.list_shapes if board_shapes else None,
            training=config,
            hardware=hardware,
            limits=run_limits,
            skip_corpus=skip_corpus or reuses_corpus,
            skip_tokenizer=skip_tokenizer,
            resume=resume,
            restart=restart,
        )
        reporter: Reporter = terminal
        if tensorboard and group.is_main:
            reporter = opened.enter_context(TensorBoard(output_dir, terminal))
        if reuses_corpus:
            terminal.note(
                f"corpus: using {output_dir}/{CORPUS_NAME} (pass --source or --input to replace it)"
            )
        if group.size == 1:  # under torchrun, several processes share one terminal
            request = dataclasses.replace(request, confirm=terminal.confirm)
        outcome = run(request, reporter, group)
    if outcome is None:
        if board_shapes and group.is_main:
            _export_for(board_shapes, output_dir)
        return
    state = outcome.state
    if outcome.signal is not None:
        terminal.note(f"stopped in epoch {state.epoch + 1}, step {state.step}; saved. To continue:")
        command = _argv.break_command(_argv.format_resume_command(), terminal_width(sys.stderr), "  ")
        terminal.note(f"  {command}")
        raise typer.Exit(128 + outcome.signal)
    if outcome.ended_by != "epochs":
        terminal.note(f"stopped by --{outcome.ended_by} in epoch {state.epoch} of {config.epochs}")
    if not group.is_main:
        return
    for line in format_samples(state.samples, terminal_width(sys.stdout), bool(initial)):
        typer.echo(line)
    bits = ", ".join(f"{name} {value:.3f}" for name, value in state.history[-1]["val_bits_per_byte"].items())
    print_result(f"held-out bits per byte: {bits}; {state.elapsed_s:.0f} s of training")
    print_result(
        f"wrote {output_dir}/final_model.pt, best_model.pt, training_metrics.json, training_curve.png"
    )
    if board_shapes:
        _export_for(board_shapes, output_dir)
        print_next(_argv.format_command(["generate", output_dir / BUNDLE_FOLDER]))
    else:
        print_next(_argv.format_command(["export", output_dir / "best_model.pt", "--output-dir", "bundle"]))


def _require_free_shape(given: Values) -> None:
    """Raise UsageError if one of these options, None where not given, contradicts --budget."""
    from tinyedge.core.errors import UsageError
    from tinyedge.core.settings import flag

    if unwanted := [flag(name) for name, value in given.items() if value is not None]:
        raise UsageError(
            f"--budget chooses the model's shape, so {unwanted[0]} contradicts it",
            f"omit --budget, or {', '.join(unwanted)}",
        )


def _export_for(shapes: "BoardShapes", output_dir: Path) -> None:
    """Export the run's best model for a board, and print what it costs there.

    Raises:
        ExportError: The bundle costs too much quality, or more than the board's budgets.
    """
    from tinyedge.bundle.bundle import load_bundle
    from tinyedge.cli._echo import print_note, print_result
    from tinyedge.core.errors import ExportError
    from tinyedge.export.pipeline import ExportOptions, export_bundle
    from tinyedge.fit.search import MB

    options = ExportOptions(output_dir / "best_model.pt", output_dir / BUNDLE_FOLDER, target=shapes.board)
    bundle = load_bundle(export_bundle(options, print_note))
    sized = shapes.size(bundle.config, len(bundle.ngrams.data) / MB if bundle.ngrams else 0.0)
    budget, margin = shapes.budget, shapes.model.latency.margin
    cost = (
        f"{shapes.model.board}, modelled: {budget.max_tokens} tokens in {sized.p95_ms:.0f} ms at p95;"
        f" {margin:g} times that is {sized.bound_ms:.0f} of {budget.max_p95_ms:g} ms;"
        f" peak {sized.peak_rss / MB:.0f} of {budget.max_rss_mb:g} MB"
    )
    if not sized.fits:
        raise ExportError(f"{options.output_dir} exceeds a budget of {cost}", "train a smaller --preset")
    print_result(cost)


def _check_initial(skip_tokenizer: bool, chosen: Values, has_text: bool) -> None:
    """Raise UsageError for options that contradict --init-from, which keeps shape and tokenizer."""
    from tinyedge.core.errors import UsageError
    from tinyedge.core.settings import flag

    if not has_text:
        raise UsageError("--init-from has no text to go on with", "pass --input PATH")
    if unwanted := ["--skip-tokenizer"] * skip_tokenizer + [flag(name) for name in chosen]:
        raise UsageError(
            f"--init-from keeps the tokenizer of its model, so {unwanted[0]} has no effect",
            f"omit {', '.join(unwanted)}",
        )
