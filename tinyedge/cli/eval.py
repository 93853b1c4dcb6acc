"""`tinyedge eval`: bits per byte of a checkpoint or a bundle, and its answers to prompts."""

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
        list[str] | None,
        typer.Option(help="NAME=FILE: text in any format that `tinyedge corpus` reads; repeatable."),
    ] = None,
    pairs: Annotated[
        list[str] | None,
        typer.Option(help="FILE or NAME=FILE: pairs of prompt and completion to judge; repeatable."),
    ] = None,
    tokenizer: Annotated[
        Path | None, typer.Option(help="Tokenizer of a checkpoint. [default: the one next to it]")
    ] = None,
    nhead: AttentionHeads = None,
    stride: Annotated[
        int | None, typer.Option(help="Tokens between the starts of two windows. [default: half the context]")
    ] = None,
    ngrams: Annotated[
        bool, typer.Option("--ngrams/--no-ngrams", help="Mix a bundle's n-grams with its model.")
    ] = True,
    json: JsonTarget = None,
) -> None:
    """Judge a model: bits per byte of texts, answers to prompts."""
    import dataclasses

    from tinyedge.cli._count_line import CountLine
    from tinyedge.cli._echo import print_note, print_result
    from tinyedge.cli._named_files import parse_named_files
    from tinyedge.cli._table import print_table
    from tinyedge.core.errors import UsageError
    from tinyedge.core.settings import require_range
    from tinyedge.corpus.pairs import read_conversations
    from tinyedge.text.evaluate import default_stride, describe_unknown, read_passages
    from tinyedge.text.evaluate import evaluate as evaluate_text
    from tinyedge.text.pair_quality import evaluate_pairs

    if not (text or pairs):
        raise UsageError(
            "--text and --pairs are missing, so there is nothing to evaluate on",
            "pass --text NAME=FILE or --pairs FILE",
        )
    texts = parse_named_files(text or ())
    pair_files = parse_named_files(map(_name_file, pairs or ()), "--pairs")
    read = (model, *texts.values(), *pair_files.values(), *filter(None, [tokenizer]))
    output = JsonOutput.from_option(json, "tinyedge.eval", inputs=read)
    subject, vocabulary, is_mixed = _load_model(model, tokenizer, nhead, ngrams)
    stride = default_stride(subject.context) if stride is None else stride
    require_range("stride", stride, 1, subject.context, whole=True)
    results = [
        evaluate_text(name, subject, read_passages(file, vocabulary, print_note), stride)
        for name, file in texts.items()
    ]
    value = {"model": str(model), "ngrams": is_mixed, "context": subject.context, "stride": stride}
    value["results"] = [dataclasses.asdict(result) for result in results]
    answered = []
    for name, file in pair_files.items():
        total = sum(1 for _ in read_conversations(file, print_note))  # all lines are checked first
        with CountLine(f"judged {{}} of {total:,} conversations", total) as line:
            conversations = line.count(read_conversations(file))
            answered.append(evaluate_pairs(name, subject, vocabulary, conversations))
    if pair_files:
        value["pairs"] = [dataclasses.asdict(result) for result in answered]
    output.emit({"schema": "tinyedge.eval/1", **value})
    if not output.is_printed and results:
        rows = [["text", "bits/byte", "perplexity", "tokens", "bytes", "unknown"]]
        for r in results:
            figures = [f"{r.bits_per_byte:.4f}", f"{r.perplexity:.2f}", str(r.tokens), str(r.bytes)]
            rows.append([r.name, *figures, f"{100 * r.unknown_bytes:.3f}%"])
        print_table(rows, left=(0,))
        print_result(f"windows of {subject.context} tokens, stride {stride}; no context across documents")
    if not output.is_printed and answered:
        rows = [["pairs", "exact", "n", "tokens right", "bits/completion"]]
        for p in answered:
            shares = [f"{100 * p.exact:.2f}%", str(p.n), f"{100 * p.token_accuracy:.2f}%"]
            rows.append([p.name, *shares, f"{p.bits_per_completion:.2f}"])
        print_table(rows, left=(0,))
    if not output.is_printed and is_mixed:
        print_result("the model is mixed with the bundle's n-grams; --no-ngrams measures it alone")
    for p in answered:
        if p.too_long:
            print_note(
                f"warning: {p.too_long} conversations of {p.name} are longer than the context of"
                f" {subject.context} tokens and are not judged"
            )
    if warning := describe_unknown({result.name: result.unknown_bytes for result in results}):
        print_note(f"warning: {warning}")


def _name_file(value: str) -> str:
    """Return NAME=FILE for a value that may be a file alone."""
    if "=" in value and not Path(value).exists():
        return value
    return f"{Path(value).name.partition('.')[0]}={value}"


def _load_model(
    path: Path, tokenizer: Path | None, nhead: int | None, ngrams: bool
) -> "tuple[LanguageModel, Tokenizer, bool]":
    """Load a bundle, with its n-grams if wanted, or a checkpoint, which needs torch.

    Returns:
        The model, its tokenizer, and whether it is mixed with n-grams.
    """
    if path.is_dir():
        from tinyedge.bundle.bundle import load_bundle
        from tinyedge.runtime.bundle_model import BundleModel
        from tinyedge.runtime.generator import Generator

        bundle = load_bundle(path)
        generator = Generator.of(bundle if ngrams else bundle.without_ngrams())
        return BundleModel(generator.session), generator.tokenizer, generator.bundle.ngrams is not None
    from tinyedge.cli._extras import require_package

    require_package("torch", "train")
    from tinyedge.train.storage.checkpoint import load_model, load_tokenizer
    from tinyedge.train.validation import CheckpointModel

    trained = load_model(path, nhead)
    return CheckpointModel(trained.model), load_tokenizer(path, trained, tokenizer), False
