"""Exports a checkpoint as a bundle, in eight steps; if a step fails, nothing is written.

In: a checkpoint, its tokenizer, training tokens, held-out text. Out: a bundle whose manifest has the
measurements.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tinyedge.boards import DEFAULT_BOARD
from tinyedge.boards.load import load_board
from tinyedge.bundle.bundle import require_replaceable, write_bundle
from tinyedge.bundle.manifest import (
    MAX_OPENING_CHARACTERS,
    MAX_OPENINGS,
    MIXED_BITS,
    SPECIAL_IDS,
)
from tinyedge.core.engine import ONNXRUNTIME
from tinyedge.core.errors import CorpusError, ExportError
from tinyedge.core.printable import has_control_chars
from tinyedge.core.settings import require_choice, require_range
from tinyedge.core.source_date import read_source_date
from tinyedge.export.fused_graph import build_fused_graph
from tinyedge.export.mixed_precision import GOAL_PERCENT, quantize_to_goal
from tinyedge.export.model_card import render_model_card
from tinyedge.export.ngram_table import (
    DEFAULT_ORDER,
    MB,
    MIN_GAIN_PERCENT,
    MeasuredTable,
    build_table,
    measure_table,
    open_run_shards,
    read_training_tokens,
    require_size,
)
from tinyedge.export.onnx_model import count_nodes
from tinyedge.export.parity import check_parity
from tinyedge.export.quality import QualityComparison, choose_token_limit, compare_quality, require_quality
from tinyedge.export.quantize import Quantization
from tinyedge.export.weights import Weights
from tinyedge.ngram import DEFAULT_NGRAM_MB, MAX_NGRAM_MB
from tinyedge.ngram.counts import ORDERS
from tinyedge.runtime.bundle_model import BundleModel
from tinyedge.runtime.engine import open_session
from tinyedge.text.evaluate import LanguageModel, Passage, describe_unknown, read_passages
from tinyedge.text.openings import choose_first_prompts, choose_passage_openings
from tinyedge.text.shards import Shards
from tinyedge.text.tokenizer import Tokenizer, model_name
from tinyedge.text.window_sample import WindowSample, draw_sample
from tinyedge.train.model_id import compute_model_id
from tinyedge.train.storage.checkpoint import load_model, load_tokenizer

PRECISIONS = ("int8", "none")  # values of --quantize; "none" is fp32
STEPS = 8


@dataclass(frozen=True)
class ExportOptions:
    """What to export and how."""

    checkpoint: Path = Path("data/best_model.pt")
    """File that `tinyedge train` wrote."""
    output_dir: Path = Path("bundle")
    """Folder of the bundle; an older bundle is replaced."""
    quantize: str = "int8"
    """One of PRECISIONS."""
    target: str = DEFAULT_BOARD
    """Name or JSON file of a board."""
    max_quality_loss: float = 1.0
    """Percent of bits per byte that int8 may cost a language."""
    tokenizer: Path | None = None
    """Tokenizer file; by default the one in the checkpoint's folder."""
    text: Mapping[str, Path] = field(default_factory=dict)
    """Held-out text files by language; by default the validation passages of the training run."""
    nhead: int | None = None
    """Attention heads of a plain torch.save checkpoint that does not record them."""
    openings: bool = True
    """Whether the manifest gets a few openings of the held-out text, as prompts for the model."""
    ngram_mb: float | None = None
    """Largest size of the n-gram table in MB; 0 for none. None for DEFAULT_NGRAM_MB where the run's token
    files are there and the model is not one of pairs, else none."""
    ngram_order: int = DEFAULT_ORDER
    """Tokens in its longest n-gram."""

    def __post_init__(self) -> None:
        require_choice("quantize", self.quantize, PRECISIONS)
        load_board(self.target)
        require_range("max_quality_loss", self.max_quality_loss, 0, 100, unit="percent")
        if self.ngram_mb is not None:
            require_range("ngram_mb", self.ngram_mb, 0, MAX_NGRAM_MB, unit="MB")
        require_range("ngram_order", self.ngram_order, ORDERS[0], ORDERS[-1], whole=True)


def export_bundle(options: ExportOptions, report: Callable[[str], None], engine: str = ONNXRUNTIME) -> Path:
    """Export a bundle.

    Args:
        options: What to export and how.
        report: Called with a line of text after each step.
        engine: Computes the parity and the quality. ONNX Runtime gives every machine that exports the same
            figures, whether it has the kernels or not.

    Returns:
        The bundle's folder.

    Raises:
        CheckpointError: The checkpoint cannot be read.
        TokenizerError: The tokenizer cannot be read.
        CorpusError: A held-out text cannot be read.
        ExportError: The graph differs from the model, int8 costs too much quality, or the training tokens of
            an n-gram table that `options` ask for are missing.
        BundleError: The bundle cannot be written.
    """
    require_replaceable(options.output_dir)  # before the work, which takes most of a minute
    read_source_date()  # an invalid one is refused before the work too
    board = load_board(options.target)
    step = _number_steps(report)
    trained = load_model(options.checkpoint, options.nhead)
    config = trained.config
    tokenizer = load_tokenizer(options.checkpoint, trained, options.tokenizer)
    texts = _read_held_out(options, tokenizer, report)
    chat = trained.training.get("chat")
    training, absence = _open_training_text(options, tokenizer, is_of_pairs=bool(chat))
    model_id = compute_model_id(trained.model.state_dict(), config, tokenizer.sha256)
    step(f"checkpoint: {options.checkpoint}, model {model_id}, {config.parameters:,} parameters")

    weights = Weights.from_model(trained.model)
    graph = build_fused_graph(weights, {})
    session = open_session(graph, config, name="the fp32 graph", engine=engine)
    step(f"fused for the device: {len(graph):,} bytes, {count_nodes(graph)} nodes")

    parity = check_parity(trained.model, session.decoder(), "the fused graph", tokenizer)
    step(
        f"parity: logits within {parity.max_abs_logit_difference:.1e} of torch's over"
        f" {parity.positions:,} positions, {parity.tokens_compared:,} greedy tokens equal"
    )

    reference = BundleModel(session)
    limit = choose_token_limit(config.parameters)
    samples = _draw_samples(texts, reference.context, limit)
    quantization: Quantization | None = None
    if options.quantize == "int8":
        mixed = quantize_to_goal(
            weights, reference, samples, min(GOAL_PERCENT, options.max_quality_loss), engine
        )
        graph, quantization, quality = mixed.graph, mixed.quantization, mixed.quality
        worst = quantization.worst_matrix
        kept = f"; kept in fp32: {', '.join(quantization.kept_fp32)}" if quantization.kept_fp32 else ""
        error = 100 * quantization.relative_errors[worst]
        step(f"int8: {len(graph):,} bytes, largest weight error {error:.2f}% in {worst}{kept}")
    else:
        quality = {
            name: compare_quality(name, reference, reference, sample.measured)
            for name, sample in samples.items()
        }
        step("int8: none, the weights stay fp32")
    require_quality(quality, options.max_quality_loss)
    step(
        f"quality on up to {limit:,} tokens per language: "
        + "; ".join(f"{name} {_format_quality(result)}" for name, result in quality.items())
    )

    if warning := describe_unknown({name: result.unknown_bytes for name, result in quality.items()}):
        report(f"warning: {warning}")

    table, summary = None, absence
    if training is not None:
        exported = BundleModel(open_session(graph, config, name="the exported graph", engine=engine))
        held_out = samples  # unless other text is measured
        if options.text:
            held_out = _draw_samples(_read_validation(training), exported.context, limit)
        table, summary = _make_table(
            options, training, config.vocab_size, exported, held_out, samples, quality
        )
    step(f"n-grams: {summary}")
    mixed_bits = table.bits_per_byte if table else {}

    manifest: dict[str, Any] = {
        "model_id": model_id,
        "model": config.to_dict(),
        "parameters": config.parameters,
        "tokenizer": {"sha256": tokenizer.sha256, "vocab_size": tokenizer.vocab_size, **SPECIAL_IDS},
        "precision": "int8" if quantization else "fp32",
        "quantization": quantization.to_dict() if quantization else None,
        "target": board.name,
        "budgets": board.budgets.to_dict(),
        "parity": parity.to_dict(),
        "quality": {
            name: {**result.to_dict(), **({MIXED_BITS: mixed_bits[name]} if table else {})}
            for name, result in quality.items()
        },
        **({"openings": _choose_openings(texts, tokenizer)} if options.openings else {}),
        **({"chat": chat} if chat else {}),
        "training": {**trained.training, "checkpoint_sha256": trained.sha256},
    }
    card = render_model_card(manifest)
    step(f"model card: {len(card.splitlines())} lines")

    vocabulary = options.tokenizer or options.checkpoint.parent / model_name(config.vocab_size)
    ngrams = table.content if table else None
    path = write_bundle(options.output_dir, manifest, graph, vocabulary.read_bytes(), card, ngrams)
    step(f"bundle: {path}")
    return path


def _choose_openings(texts: Mapping[str, list[Passage]], tokenizer: Tokenizer) -> dict[str, list[str]]:
    """Choose openings of each text that the manifest accepts; a text without one is left out."""
    found = {
        name: choose_first_prompts(text, tokenizer, MAX_OPENINGS, MAX_OPENING_CHARACTERS)
        if text[0].is_conversation
        else choose_passage_openings(text, tokenizer, MAX_OPENINGS, name)
        for name, text in texts.items()
    }
    usable = {
        name: [
            text for text in openings if len(text) <= MAX_OPENING_CHARACTERS and not has_control_chars(text)
        ]
        for name, openings in found.items()
    }
    return {name: openings for name, openings in usable.items() if openings}


def _number_steps(report: Callable[[str], None]) -> Callable[[str], None]:
    number = 0

    def step(text: str) -> None:
        nonlocal number
        number += 1
        report(f"{number}/{STEPS} {text}")

    return step


def _read_held_out(
    options: ExportOptions, tokenizer: Tokenizer, report: Callable[[str], None]
) -> dict[str, list[Passage]]:
    """Read passages by language: from the files of the options, or what the training run held out."""
    if options.text:
        return {name: list(read_passages(path, tokenizer, report)) for name, path in options.text.items()}
    try:
        shards = open_run_shards(options.checkpoint, tokenizer)
    except ExportError as failure:
        raise ExportError(
            f"there is no held-out text to measure the bundle on: no --text, and {failure.message}",
            f"pass --text NAME=FILE for each language, or {failure.hint}",
        ) from None
    return _read_validation(shards)


def _read_validation(shards: Shards) -> dict[str, list[Passage]]:
    return {name: list(shards.validation_passages(name)) for name in shards.languages}


def _draw_samples(
    texts: Mapping[str, Sequence[Passage]], context: int, limit: int
) -> dict[str, WindowSample]:
    return {name: draw_sample(passages, context, limit) for name, passages in texts.items()}


def _open_training_text(
    options: ExportOptions, tokenizer: Tokenizer, *, is_of_pairs: bool
) -> tuple[Shards | None, str]:
    """Open the run's token files for the n-grams.

    Returns:
        The files, or None and why there will be no n-grams.

    Raises:
        ExportError: A size was asked for, and there are no such files.
        UsageError: The size is too small.
    """
    if options.ngram_mb == 0:
        return None, "none, as --ngram-mb 0 asks"
    if options.ngram_mb is None and is_of_pairs:  # bits fall, answers do not get better: docs/log.md
        return None, f"none, as the model is one of pairs; --ngram-mb {DEFAULT_NGRAM_MB:g} adds them"
    require_size(_get_ngram_mb(options), tokenizer.vocab_size, options.ngram_order)
    try:
        return open_run_shards(options.checkpoint, tokenizer), ""
    except (CorpusError, ExportError) as failure:
        if options.ngram_mb is None:
            return None, f"none, as {failure.message}"
        raise ExportError(
            f"the n-grams of --ngram-mb have no training tokens: {failure.message}",
            f"leave --ngram-mb out, or {failure.hint or 'train again'}",
        ) from None


def _get_ngram_mb(options: ExportOptions) -> float:
    return DEFAULT_NGRAM_MB if options.ngram_mb is None else options.ngram_mb


def _make_table(
    options: ExportOptions,
    training: Shards,
    vocab_size: int,
    model: LanguageModel,
    held_out: Mapping[str, WindowSample],
    samples: Mapping[str, WindowSample],
    quality: Mapping[str, QualityComparison],
) -> tuple[MeasuredTable | None, str]:
    """Make the n-gram table and measure it; None if it brings less than MIN_GAIN_PERCENT.

    Returns:
        The table, and a description for the report.
    """
    tokens = read_training_tokens(training.training())
    max_bytes = int(_get_ngram_mb(options) * MB)
    trie = build_table(tokens, vocab_size, options.ngram_order, max_bytes)
    table = measure_table(trie, model, held_out, samples)
    alone = {name: result.bits_per_byte for name, result in quality.items()}
    figures = "; ".join(
        f"{name} {alone[name]:.4f} to {mixed:.4f} bits per byte ({100 * (mixed / alone[name] - 1):+.2f}%)"
        for name, mixed in table.bits_per_byte.items()
    )
    gain = table.gain_percent(alone)
    if gain < MIN_GAIN_PERCENT:
        return None, f"none, as they bring {gain:.2f}%, less than {MIN_GAIN_PERCENT}%: {figures}"
    return table, (
        f"{len(table.content) / MB:.1f} MB of {sum(map(len, tokens)):,} training tokens, weights chosen on"
        f" {table.choice_tokens:,} held-out tokens; {figures}"
    )


def _format_quality(result: QualityComparison) -> str:
    return (
        f"{result.reference_bits_per_byte:.4f} to {result.bits_per_byte:.4f} bits per byte"
        f" ({result.change_percent:+.2f}%)"
    )
