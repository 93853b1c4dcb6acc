"""`tinyedge export`: a checkpoint becomes a bundle for the device."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from tinyedge.bundle.bundle import Bundle
    from tinyedge.export.pipeline import ExportOptions


def export(
    checkpoint: Annotated[Path, typer.Argument(help="What `tinyedge train` made.")] = Path(
        "data/best_model.pt"
    ),
    output_dir: Annotated[Path, typer.Option(help="The bundle; an older one is replaced.")] = Path("bundle"),
    quantize: Annotated[str, typer.Option(help="int8, or none for fp32.")] = "int8",
    target: Annotated[
        str, typer.Option(help="The device whose budgets the bundle promises: pi-zero-2w or x86-64.")
    ] = "pi-zero-2w",
    max_quality_loss: Annotated[
        float, typer.Option(help="Percent of a language's bits per byte that int8 may cost.")
    ] = 1.0,
    tokenizer: Annotated[
        Path | None, typer.Option(help="The tokenizer; by default the one beside the checkpoint.")
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option(help="NAME=FILE, several times: held-out text; by default the training run's."),
    ] = None,
    wheels: Annotated[
        bool,
        typer.Option(
            "--wheels", help="Also make OUTPUT_DIR-kit: bundle, packages and installer for a board offline."
        ),
    ] = False,
    portable: Annotated[
        Path | None,
        typer.Option(
            help="Instead of a bundle: this folder, for Hugging Face's tools and onnxruntime-genai."
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")] = False,
) -> None:
    """Export a checkpoint: ONNX, checked against torch, quantized, judged, and put in a folder."""
    from json import dumps

    from tinyedge.cli._echo import note
    from tinyedge.cli._extras import require
    from tinyedge.cli._named_files import named_files

    texts = named_files(text or ())
    for package in ("torch", "onnx"):
        require(package, "train")

    if portable is not None:
        _require_defaults(
            output_dir=output_dir,
            quantize=quantize,
            target=target,
            max_quality_loss=max_quality_loss,
            text=text,
            wheels=wheels,
        )
        _export_portable(checkpoint, portable, tokenizer, json)
        return

    from tinyedge.bundle.bundle import load_bundle
    from tinyedge.export.pipeline import ExportOptions, export_bundle

    options = ExportOptions(checkpoint, output_dir, quantize, target, max_quality_loss, tokenizer, texts)
    if wheels:
        bundle, kit = _export_kit(options)
    else:
        bundle, kit = load_bundle(export_bundle(options, note)), None
    if json:
        made = {"bundle": str(output_dir), **({"kit": str(kit)} if kit else {})}
        typer.echo(dumps({"schema": "tinyedge.export/1", **made, "manifest": bundle.manifest}))
    else:
        typer.echo(_summary(bundle.manifest))


def _export_kit(options: "ExportOptions") -> "tuple[Bundle, Path]":
    """The bundle and its kit; the wheels first, because what needs a network fails sooner."""
    from tinyedge.bundle.bundle import load_bundle
    from tinyedge.bundle.bundle import require_replaceable as require_bundle_replaceable
    from tinyedge.cli._echo import note
    from tinyedge.deploy.board import BOARDS
    from tinyedge.deploy.kit import Supplies, kit_folder, require_replaceable
    from tinyedge.export.pipeline import export_bundle

    require_bundle_replaceable(options.output_dir)
    target = kit_folder(options.output_dir)
    require_replaceable(target)
    with Supplies(BOARDS[options.target]) as supplies:
        supplies.fetch(note)
        bundle = load_bundle(export_bundle(options, note))
        supplies.put(bundle, target)
    note(f"kit: {target}")
    return bundle, target


def _require_defaults(**bundle_flags: Any) -> None:
    """Raises UsageError where a flag was given that only a bundle has a use for."""
    from inspect import signature

    from tinyedge.core.config import flag
    from tinyedge.core.errors import UsageError

    defaults = signature(export).parameters
    for name, value in bundle_flags.items():
        if (value or None) != (defaults[name].default or None):  # an empty list is none
            raise UsageError(f"{flag(name)} is for a bundle, and --portable writes none", "leave one out")


def _export_portable(checkpoint: Path, folder: Path, tokenizer: Path | None, json: bool) -> None:
    from json import dumps

    from tinyedge.cli._echo import note
    from tinyedge.export.portable.export import export_portable

    parity = export_portable(checkpoint, folder, tokenizer, note)
    if json:
        result = {"portable": str(folder), "parity": parity.to_dict()}
        typer.echo(dumps({"schema": "tinyedge.portable/1", **result}))
    else:
        for file in sorted(part for part in folder.rglob("*") if part.is_file()):
            typer.echo(f"{file.relative_to(folder).as_posix():<24} {file.stat().st_size:>11,} bytes")


def _summary(manifest: Mapping[str, Any]) -> str:
    lines = [
        f"{manifest['precision']} model, {manifest['parameters']:,} parameters, for {manifest['target']}"
    ]
    lines += [f"{name:<16} {file['size']:>10,} bytes" for name, file in manifest["files"].items()]
    lines.append(
        f"{'text':<12} {'fp32 bits/byte':>14} {'shipped':>8} {'change':>8} {'KL nats':>8} {'same top':>8}"
    )
    lines += [
        f"{name:<12} {row['fp32_bits_per_byte']:14.4f} {row['bits_per_byte']:8.4f}"
        f" {row['change_percent']:+7.2f}% {row['kl_nats']:8.5f} {100 * row['top1_agreement']:7.2f}%"
        for name, row in manifest["quality"].items()
    ]
    return "\n".join(lines)
