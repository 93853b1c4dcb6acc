"""`tinyedge eval`: bits per byte of a checkpoint or a bundle."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tinyedge.cli._json import JsonOutput, JsonTarget
from tinyedge.cli._options import AttentionHeads

if TYPE_CHECKING:
    from tinyedge.text.evaluate import LanguageModel
    from tinyedge.text.tokenizer import Tokenizer


def evaluate(
    model: Annotated[Path, typer.Argument(help="Checkpoint (.pt, needs torch) or bundle (a folder).")],
    text: Annotated[
        list[str],
        typer.Option(help="NAME=FILE: text in any format that `tinyedge corpus` reads; repeatable."),
    ],
    tokenizer: Annotated[
        Path | None, typer.Option(help="Tokenizer of a checkpoint. [default: the one next to it]")
    ] = None,
    nhead: AttentionHeads = None,
    stride: Annotated[
        int | None, typer.Option(help="Tokens between the starts of two windows. [default: half the context]")
    ] = None,
    json: JsonTarget = None,
) -> None:
    """Compute bits per byte and perplexity of a model on text files."""
    import dataclasses

    from tinyedge.cli._echo import print_note, print_result
    from tinyedge.cli._named_files import parse_named_files
    from tinyedge.cli._table import print_table
    from tinyedge.core.settings import require_range
    from tinyedge.text.evaluate import default_stride, describe_unknown, read_passages
    from tinyedge.text.evaluate import evaluate as evaluate_text

    texts = parse_named_files(text)
    read = (model, *texts.values(), *filter(None, [tokenizer]))
    output = JsonOutput.from_option(json, "tinyedge.eval", inputs=read)
    subject, vocabulary = _load_model(model, tokenizer, nhead)
    stride = default_stride(subject.context) if stride is None else stride
    require_range("stride", stride, 1, subject.context, whole=True)
    results = [
        evaluate_text(name, subject, read_passages(file, vocabulary, print_note), stride)
        for name, file in texts.items()
    ]
    value = {"model": str(model), "context": subject.context, "stride": stride}
    value["results"] = [dataclasses.asdict(result) for result in results]
    output.emit({"schema": "tinyedge.eval/1", **value})
    if not output.is_printed:
        rows = [["text", "bits/byte", "perplexity", "tokens", "bytes", "unknown"]]
        for r in results:
            figures = [f"{r.bits_per_byte:.4f}", f"{r.perplexity:.2f}", str(r.tokens), str(r.bytes)]
            rows.append([r.name, *figures, f"{100 * r.unknown_bytes:.3f}%"])
        print_table(rows, left=(0,))
        print_result(f"windows of {subject.context} tokens, stride {stride}; no context across documents")
    if warning := describe_unknown({result.name: result.unknown_bytes for result in results}):
        print_note(f"warning: {warning}")


def _load_model(path: Path, tokenizer: Path | None, nhead: int | None) -> "tuple[LanguageModel, Tokenizer]":
    """Load a bundle, or a checkpoint, which needs torch."""
    if path.is_dir():
        from tinyedge.runtime.bundle_model import BundleModel
        from tinyedge.runtime.generator import Generator

        generator = Generator.load(path)
        return BundleModel(generator.session), generator.tokenizer
    from tinyedge.cli._extras import require_package

    require_package("torch", "train")
    from tinyedge.train.storage.checkpoint import load_model, load_tokenizer
    from tinyedge.train.validation import CheckpointModel

    trained = load_model(path, nhead)
    return CheckpointModel(trained.model), load_tokenizer(path, trained, tokenizer)
