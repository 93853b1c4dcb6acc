"""`tinyedge export`: convert a checkpoint to a bundle for the device."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tinyedge.boards import DEFAULT_BOARD
from tinyedge.cli._json import JsonOutput, JsonTarget
from tinyedge.cli._options import AttentionHeads
from tinyedge.ngram import DEFAULT_NGRAM_MB

if TYPE_CHECKING:
    from tinyedge.bundle.bundle import Bundle
    from tinyedge.export.pipeline import ExportOptions


def export(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint created by `tinyedge train`.")] = Path(
        "data/best_model.pt"
    ),
    output_dir: Annotated[
        Path, typer.Option(help="Folder of the bundle; an older bundle is replaced.")
    ] = Path("bundle"),
    quantize: Annotated[str, typer.Option(help="Precision: int8, or none for fp32.")] = "int8",
    target: Annotated[
        str, typer.Option(help="Board whose budgets the bundle promises: its name or its JSON file.")
    ] = DEFAULT_BOARD,
    max_quality_loss: Annotated[
        float, typer.Option(help="Maximum increase of a language's bits per byte by int8, in percent.")
    ] = 1.0,
    tokenizer: Annotated[
        Path | None, typer.Option(help="The tokenizer. [default: the one next to the checkpoint]")
    ] = None,
    nhead: AttentionHeads = None,
    text: Annotated[
        list[str] | None,
        typer.Option(help="NAME=FILE: held-out text; repeatable. [default: the training run's]"),
    ] = None,
    openings: Annotated[
        bool,
        typer.Option(
            "--openings/--no-openings",
            help="Put the first words of a few held-out lines into the bundle, as prompts.",
        ),
    ] = True,
    ngram_mb: Annotated[
        float | None,
        typer.Option(
            help="Largest size of the table of n-grams that is mixed with the model, in MB; 0: none."
            f" [default: {DEFAULT_NGRAM_MB:g}; none for pairs, or without the run's token files]"
        ),
    ] = None,
    ngram_order: Annotated[int, typer.Option(help="Tokens in the longest n-gram of that table, 2 to 4.")] = 4,
    wheels: Annotated[
        bool,
        typer.Option(
            "--wheels", help="Also build OUTPUT_DIR-kit: bundle, packages and installer for an offline board."
        ),
    ] = False,
    portable: Annotated[
        Path | None,
        typer.Option(help="Write this folder instead, for Hugging Face tools and onnxruntime-genai."),
    ] = None,
    json: JsonTarget = None,
) -> None:
    """Export a checkpoint to a bundle for the device.

    The model is converted to ONNX, compared with torch, quantized, and its quality is measured.
    """
    from tinyedge.cli._extras import require_package
    from tinyedge.cli._named_files import parse_named_files

    texts = parse_named_files(text or ())
    read = [checkpoint, *filter(None, [tokenizer]), *texts.values()]
    written = [portable or output_dir]
    output = JsonOutput.from_option(json, "tinyedge.export", "tinyedge.portable", inputs=[*read, *written])
    _require_no_folder(checkpoint)
    for package in ("torch", "onnx"):
        require_package(package, "train")

    if portable is not None:
        _require_defaults(
            output_dir=output_dir,
            quantize=quantize,
            target=target,
            max_quality_loss=max_quality_loss,
            text=text,
            openings=openings,
            ngram_mb=ngram_mb,
            ngram_order=ngram_order,
            wheels=wheels,
        )
        _export_portable(checkpoint, portable, tokenizer, nhead, output)
        return

    from tinyedge.bundle.bundle import load_bundle
    from tinyedge.cli._progress import TerminalReporter
    from tinyedge.export.pipeline import ExportOptions, export_bundle

    options = ExportOptions(
        *(checkpoint, output_dir, quantize, target, max_quality_loss, tokenizer, texts, nhead, openings),
        *(ngram_mb, ngram_order),
    )
    if wheels:
        bundle, kit = _export_kit(options)
    else:
        with TerminalReporter() as terminal:
            terminal.phase("exporting")
            bundle, kit = load_bundle(export_bundle(options, terminal.note)), None
    made = {"bundle": str(output_dir), **({"kit": str(kit)} if kit else {})}
    result = {"schema": "tinyedge.export/1", **made, "manifest": bundle.manifest}
    output.emit(result, _format_summary(bundle.manifest))


def _require_no_folder(checkpoint: Path) -> None:
    """Raise CheckpointError for a run's folder, and name the checkpoint in it."""
    from tinyedge.core.errors import CheckpointError
    from tinyedge.core.run_files import BEST_FILE

    if (checkpoint / BEST_FILE).is_file():
        raise CheckpointError(
            f"{checkpoint} is a folder, a checkpoint is needed",
            f"did you mean: tinyedge export {checkpoint / BEST_FILE}",
        )


def _export_kit(options: "ExportOptions") -> "tuple[Bundle, Path]":
    """Export the bundle and its kit. The wheels come first, so that a missing network fails early."""
    from tinyedge.boards.load import load_board
    from tinyedge.bundle.bundle import load_bundle
    from tinyedge.bundle.bundle import require_replaceable as require_bundle_replaceable
    from tinyedge.cli._echo import print_note
    from tinyedge.deploy.kit import KitBuilder, get_kit_folder, require_replaceable
    from tinyedge.export.pipeline import export_bundle

    require_bundle_replaceable(options.output_dir)
    target = get_kit_folder(options.output_dir)
    require_replaceable(target)
    with KitBuilder(load_board(options.target).wheel_platform) as builder:
        builder.download_wheels(print_note)
        bundle = load_bundle(export_bundle(options, print_note))
        builder.write(bundle, target)
    print_note(f"kit: {target}")
    return bundle, target


def _require_defaults(**bundle_flags: Any) -> None:
    """Raise UsageError if an option was given that applies to bundles only."""
    from inspect import signature

    from tinyedge.core.errors import UsageError
    from tinyedge.core.settings import flag

    defaults = signature(export).parameters
    for name, value in bundle_flags.items():
        if (value or None) != (defaults[name].default or None):  # an empty list means not given
            raise UsageError(
                f"{flag(name)} applies to a bundle, and --portable writes none", "leave one of them out"
            )


def _export_portable(
    checkpoint: Path, folder: Path, tokenizer: Path | None, nhead: int | None, output: JsonOutput
) -> None:
    from tinyedge.cli._echo import print_note
    from tinyedge.export.portable.export import export_portable

    model_id, parity = export_portable(checkpoint, folder, tokenizer, print_note, nhead)
    lines = [
        f"{file.relative_to(folder).as_posix():<24} {file.stat().st_size:>11,} bytes"
        for file in sorted(part for part in folder.rglob("*") if part.is_file())
    ]
    result = {"portable": str(folder), "model_id": model_id, "parity": parity.to_dict()}
    output.emit({"schema": "tinyedge.portable/1", **result}, "\n".join(lines))


def _format_summary(manifest: Mapping[str, Any]) -> str:
    from tinyedge.bundle.manifest import MIXED_BITS, NGRAMS_FILE
    from tinyedge.cli._echo import terminal_width
    from tinyedge.core.columns import format_columns

    lines = [
        f"{manifest['precision']} model {manifest['model_id']}, {manifest['parameters']:,} parameters,"
        f" for {manifest['target']}"
    ]
    lines += [f"{name:<16} {file['size']:>10,} bytes" for name, file in manifest["files"].items()]
    if ngrams := manifest.get("ngrams"):
        lines.append(f"{NGRAMS_FILE:<16} {ngrams['size']:>10,} bytes")
    shipped = ("model alone", "with n-grams") if ngrams else ("shipped",)
    rows = [["text", "fp32 bits/byte", shipped[0], "change", "KL nats", "same top", *shipped[1:]]]
    for name, row in manifest["quality"].items():
        bits = [f"{row['fp32_bits_per_byte']:.4f}", f"{row['bits_per_byte']:.4f}"]
        change = [f"{row['change_percent']:+.2f}%", f"{row['kl_nats']:.5f}"]
        mixed = [f"{row[MIXED_BITS]:.4f}"] if MIXED_BITS in row else []
        rows.append([name, *bits, *change, f"{100 * row['top1_agreement']:.2f}%", *mixed])
    return "\n".join([*lines, format_columns(rows, (0,), terminal_width(sys.stdout))])
