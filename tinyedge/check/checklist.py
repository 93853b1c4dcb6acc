"""The whole checklist of one bundle.

In: a bundle's folder and what else there is. Out: an Examination. Whatever is missing here (the run, its
text, torch) leaves its lines out, and says so; a bundle that does not load is no matter of the list but an
error.
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
    """What is looked at.

    run_dir: the run's folder; by default the checkpoint's, if it has a run, or `default_run`, if the bundle
    is from there. texts: files by name, instead of what the run held out. max_loss: nats a token.
    read_checkpoint: None where torch is not installed.
    """

    bundle: Path
    checkpoint: Path | None = None
    run_dir: Path | None = None
    default_run: Path = Path("data")
    texts: Mapping[str, Path] = field(default_factory=dict)
    max_loss: float | None = None
    read_checkpoint: ReadCheckpoint | None = None


@dataclass(frozen=True)
class Checklist:
    """Every line in the guide's order, and what they were judged by."""

    bundle: Bundle
    items: tuple[ChecklistItem, ...]
    texts: tuple[TextQuality, ...]
    gates: tuple[dict[str, Any], ...]
    samples: tuple[GeneratedText, ...]

    @property
    def verdict(self) -> Verdict:
        """What the lines together say."""
        return combine_marks(self.items)

    def to_dict(self) -> dict[str, Any]:
        """As `--json` writes it."""
        return {
            "schema": SCHEMA,
            "tinyedge": __version__,
            "verdict": self.verdict,
            "bundle": {
                "sha256": bundle_digest(self.bundle),
                "precision": self.bundle.manifest["precision"],
                "parameters": self.bundle.config.parameters,
            },
            "lines": [dataclasses.asdict(item) for item in self.items],
            "quality": [dataclasses.asdict(text) for text in self.texts],
            "gates": list(self.gates),
            "samples": [dataclasses.asdict(sample) for sample in self.samples],
        }


def run_checklist(subject: CheckOptions, progress: Callable[[str], None] = lambda step: None) -> Checklist:
    """Looks at everything; a minute or so. `progress` is told what comes next.

    Raises BundleError where the bundle doesn't load, BenchError where it can't be measured, CorpusError for
    a text that was named.
    """
    bundle = load_bundle(subject.bundle)
    generator = Generator.of(bundle)
    content_filter, filter_fault = load_filter()
    run_dir = subject.run_dir or _find_run(subject, bundle)
    progress("reading text")
    read, unreadable = _read_texts(subject, run_dir, generator)
    texts = [quality.measure_text(text, generator) for text in read]
    predicted = unreadable or quality.make_quality_items(texts, subject.max_loss)
    progress("writing samples")
    samples = generate_samples(generator, content_filter)
    progress("reading weights")
    weights = check_weights(bundle, generator)
    checkpoint = check_checkpoint(_checkpoint(subject, run_dir), subject.read_checkpoint)
    progress("measuring 100 responses")
    budget, gates = check_budget(subject.bundle)
    progress("looking at files and answers")
    corpus = run_dir / CORPUS_FILE if run_dir else None
    lines = (
        *predicted,
        check_samples(samples, corpus if corpus and corpus.is_file() else None),
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
    return Checklist(bundle.without_bytes(), lines, tuple(texts), tuple(gates), tuple(samples))


def _read_texts(
    subject: CheckOptions, run_dir: Path | None, generator: Generator
) -> tuple[list[TextSample], list[ChecklistItem]]:
    """Texts that were named, or that the run held out; or else the items that replace a measurement."""
    if subject.texts:
        return quality.read_texts(subject.texts), []
    if run_dir is not None and (run_dir / SHARDS_FOLDER).is_dir():
        try:
            return quality.read_held_out(run_dir / SHARDS_FOLDER, generator.tokenizer), []
        except CorpusError as failure:
            return [], [make_item(VALIDATION, quality.NAME, False, failure.message)]
    return [], quality.quote_manifest(generator.bundle.manifest, subject.max_loss)


def _find_run(subject: CheckOptions, bundle: Bundle) -> Path | None:
    """The folder of the run that this is about, if one is here."""
    if subject.checkpoint is not None:
        beside = subject.checkpoint.parent
        return beside if (beside / METRICS_FILE).is_file() else None
    return subject.default_run if find_source_checkpoint(bundle, subject.default_run) else None


def _checkpoint(subject: CheckOptions, run_dir: Path | None) -> Path | None:
    """The one that was named, else the run's final one."""
    if subject.checkpoint is not None or run_dir is None:
        return subject.checkpoint
    final = run_dir / FINAL_FILE
    return final if final.is_file() else None
