"""The complete checklist of one bundle.

In: a bundle's folder, and optionally a training run and texts. Out: a Checklist. Items that need something
that is missing (the run, its text, torch) are skipped. A bundle that does not load is an error, not an item.
"""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tinyedge import __version__
from tinyedge.bundle.bundle import Bundle, bundle_digest, load_bundle
from tinyedge.bundle.manifest import CARD_FILE
from tinyedge.check import quality
from tinyedge.check.budget import check_budget
from tinyedge.check.bundle_checks import check_edge_cases, check_quantization, check_weights
from tinyedge.check.card import check_card
from tinyedge.check.content import check_filter, load_filter
from tinyedge.check.item import VALIDATION, ChecklistItem, Verdict, combine_marks, make_item
from tinyedge.check.prompts import choose_sample_prompts
from tinyedge.check.quality import TextQuality, TextSample
from tinyedge.check.samples import GeneratedText, check_samples, generate_samples
from tinyedge.check.tokenizer import check_tokenizer
from tinyedge.check.training_run import (
    FINAL_FILE,
    ReadCheckpoint,
    check_checkpoint,
    check_run_files,
    find_source_checkpoint,
)
from tinyedge.core.errors import CorpusError
from tinyedge.core.runs import METRICS_FILE
from tinyedge.runtime.generator import Generator
from tinyedge.text.shards import FOLDER as SHARDS_FOLDER

SCHEMA = "tinyedge.check/1"
CORPUS_FILE = "corpus_bilingual.txt"


@dataclass(frozen=True)
class CheckOptions:
    """What to check."""

    bundle: Path
    """Folder of the bundle."""
    checkpoint: Path | None = None
    """Checkpoint to check for NaN and Inf; by default the run's final one."""
    run_dir: Path | None = None
    """Folder of the training run; by default the checkpoint's, if it has a run, or else `default_run`."""
    default_run: Path = Path("data")
    """Folder that is used as the run if the bundle was made from a checkpoint in it."""
    texts: Mapping[str, Path] = field(default_factory=dict)
    """Text files by name, instead of the text that the run held out."""
    max_loss: float | None = None
    """Limit of the loss in nats per token."""
    read_checkpoint: ReadCheckpoint | None = None
    """Reads a checkpoint; None where torch is not installed."""


@dataclass(frozen=True)
class Checklist:
    """All items in the guide's order, and the measurements behind them."""

    bundle: Bundle
    items: tuple[ChecklistItem, ...]
    texts: tuple[TextQuality, ...]
    gates: tuple[dict[str, Any], ...]
    samples: tuple[GeneratedText, ...]

    @property
    def verdict(self) -> Verdict:
        """Verdict of all items together."""
        return combine_marks(self.items)

    def to_dict(self) -> dict[str, Any]:
        """The object that `--json` shows; docs/check.md describes its fields."""
        return {
            "schema": SCHEMA,
            "tinyedge": __version__,
            "verdict": self.verdict,
            "bundle": {
                "sha256": bundle_digest(self.bundle),
                "model_id": self.bundle.model_id,
                "precision": self.bundle.manifest["precision"],
                "parameters": self.bundle.config.parameters,
            },
            "lines": [dataclasses.asdict(item) for item in self.items],
            "quality": [dataclasses.asdict(text) for text in self.texts],
            "gates": list(self.gates),
            "samples": [dataclasses.asdict(sample) for sample in self.samples],
        }


def run_checklist(options: CheckOptions, progress: Callable[[str], None] = lambda step: None) -> Checklist:
    """Check everything; this takes up to a minute or so.

    Args:
        options: What to check.
        progress: Called with a description of each step before it starts.

    Raises:
        BundleError: The bundle does not load.
        BenchError: The bundle cannot be measured.
        CorpusError: A text of `options.texts` cannot be used.
    """
    bundle = load_bundle(options.bundle, all_hashes=True)
    generator = Generator.of(bundle)
    content_filter, filter_fault = load_filter()
    run_dir = options.run_dir or _find_run(options, bundle)
    progress("reading text")
    read, unreadable = _read_texts(options, run_dir, generator, progress)
    alone = Generator.of(bundle.without_ngrams()) if read and bundle.ngrams else None
    texts = [quality.measure_text(text, generator, alone) for text in read]
    predicted = unreadable or quality.make_quality_items(texts, options.max_loss)
    progress("writing samples")
    prompts = choose_sample_prompts(read, bundle.manifest)
    samples = generate_samples(generator, content_filter, prompts.prompts)
    progress("reading weights")
    weights = check_weights(bundle, generator)
    checkpoint = check_checkpoint(_find_checkpoint(options, run_dir), options.read_checkpoint)
    progress("measuring 100 responses")
    budget, gates = check_budget(bundle)
    progress("checking files and answers")
    corpus = run_dir / CORPUS_FILE if run_dir else None
    items = (
        *predicted,
        check_samples(samples, corpus if corpus and corpus.is_file() else None, prompts.source),
        weights,
        checkpoint,
        *budget,
        *check_run_files(bundle, run_dir),
        check_tokenizer(bundle.manifest, generator.tokenizer, read),
        check_filter(content_filter, filter_fault, generator.tokenizer, samples),
        check_quantization(bundle),
        check_edge_cases(generator),
        *check_card((bundle.path / CARD_FILE).read_text("utf-8", "replace"), bundle.manifest),
    )
    return Checklist(bundle.without_bytes(), items, tuple(texts), tuple(gates), tuple(samples))


def _read_texts(
    options: CheckOptions, run_dir: Path | None, generator: Generator, report: Callable[[str], None]
) -> tuple[list[TextSample], list[ChecklistItem]]:
    """Read the texts of the options, or those that the run held out, or else make skipped items."""
    if options.texts:
        return quality.read_texts(options.texts, report), []
    if run_dir is not None and (run_dir / SHARDS_FOLDER).is_dir():
        try:
            return quality.read_held_out(run_dir / SHARDS_FOLDER, generator.tokenizer), []
        except CorpusError as failure:
            return [], [make_item(VALIDATION, quality.NAME, False, failure.message)]
    return [], quality.quote_manifest(generator.bundle.manifest, options.max_loss)


def _find_run(options: CheckOptions, bundle: Bundle) -> Path | None:
    """Find the folder of the bundle's training run, if it is here."""
    if options.checkpoint is not None:
        beside = options.checkpoint.parent
        return beside if (beside / METRICS_FILE).is_file() else None
    return options.default_run if find_source_checkpoint(bundle, options.default_run) else None


def _find_checkpoint(options: CheckOptions, run_dir: Path | None) -> Path | None:
    """Find the checkpoint: that of the options, or else the run's final one."""
    if options.checkpoint is not None or run_dir is None:
        return options.checkpoint
    final = run_dir / FINAL_FILE
    return final if final.is_file() else None
