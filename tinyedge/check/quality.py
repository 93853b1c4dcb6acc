"""How well a bundle predicts text, compared with methods that need no model.

In: a loaded bundle and texts. Out: figures and checklist items. The guide's limit, a loss below 3.0 nats per
token, depends on the tokenizer and was met on text that the guide had trained on. Bits per byte compared with
baselines do not depend on the tokenizer. A limit of the loss is checked if one is passed.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyedge.bundle.manifest import MIXED_BITS
from tinyedge.check.baselines import measure_baselines, measure_table
from tinyedge.check.item import VALIDATION, ChecklistItem, make_item
from tinyedge.core.errors import CorpusError
from tinyedge.runtime.bundle_model import BundleModel
from tinyedge.runtime.generator import Generator
from tinyedge.text.evaluate import (
    MAX_UNKNOWN_SHARE,
    evaluate,
    read_lines_by_document,
    tokenize_document,
)
from tinyedge.text.shards import Shards
from tinyedge.text.tokenizer import Tokenizer

SAMPLE_BYTES = 40_000  # about 12,000 tokens: half a minute on the device, and accurate to about 1%
NAME = "text is predicted better than by simple methods"
LOSS_NAME = "validation loss under --max-loss"


@dataclass(frozen=True)
class TextQuality:
    """How well the model predicts one text."""

    name: str
    """Name of the text, usually its language."""
    bits_per_byte: float
    """Bits per byte of the bundle: of the model, mixed with the bundle's n-grams if it has any."""
    model_bits_per_byte: float
    """Bits per byte of the model alone."""
    loss: float
    """Loss of the bundle, in nats per token."""
    tokens: int
    """Number of predicted tokens."""
    bytes: int
    """UTF-8 bytes of the text."""
    unknown_bytes: float
    """Share of these bytes behind UNK, 0-1; the model's bits per byte charge 8 bits for each."""
    baselines: Mapping[str, float]
    """Bits per byte of each baseline, by the name of the method."""

    @property
    def best_baseline(self) -> tuple[str, float]:
        """Name and bits per byte of the best baseline."""
        return min(self.baselines.items(), key=lambda item: item[1])

    @property
    def summary(self) -> str:
        """The figure and the best baseline."""
        name, bits = self.best_baseline
        return (
            f"{self.name} {self.bits_per_byte:.3f} bits per byte{self._alone}, {name} {bits:.3f}"
            f" ({100 * self.unknown_bytes:.2f}% of its bytes are UNK)"
        )

    @property
    def _alone(self) -> str:
        if self.model_bits_per_byte == self.bits_per_byte:
            return ""
        return f" ({self.model_bits_per_byte:.3f} without n-grams)"


@dataclass(frozen=True)
class TextSample:
    """The beginning of a text, SAMPLE_BYTES or all of it."""

    name: str
    documents: tuple[tuple[str, ...], ...]
    """Lines of each document."""

    @property
    def lines(self) -> tuple[str, ...]:
        """Lines of all documents."""
        return tuple(line for document in self.documents for line in document)


def read_texts(
    texts: Mapping[str, Path], report: Callable[[str], None] = lambda line: None
) -> list[TextSample]:
    """Read text files by name, as `tinyedge corpus` reads them. `report` receives what was skipped.

    Raises:
        CorpusError: A file cannot be read, or contains no text.
    """
    return [
        TextSample(name, _beginning(read_lines_by_document(path, report))) for name, path in texts.items()
    ]


def read_held_out(folder: Path, tokenizer: Tokenizer) -> list[TextSample]:
    """Read what a run held out, by language. Raises CorpusError where it has none for this tokenizer."""
    shards = Shards.load(folder, tokenizer)
    if shards.tokenizer_sha256 != tokenizer.sha256:
        raise CorpusError(f"{folder} was made with another tokenizer than the bundle's")
    if shards.template:
        raise CorpusError(f"{folder} holds pairs, which tinyedge eval --pairs judges")
    return [
        TextSample(
            name,
            _beginning(
                tokenizer.decode(passage.tokens.tolist()).splitlines()
                for passage in shards.validation_passages(name)
            ),
        )
        for name in shards.languages
    ]


def measure_text(sample: TextSample, generator: Generator, alone: Generator | None = None) -> TextQuality:
    """Compare a bundle with the baselines on a text.

    Args:
        sample: The text.
        generator: The bundle.
        alone: Its model without its n-grams; None if it has none.

    Raises:
        CorpusError: The text is empty.
    """
    passages = [tokenize_document(lines, generator.tokenizer) for lines in sample.documents]
    found = evaluate(sample.name, BundleModel(generator.session), passages)
    data = "".join(f"{line}\n" for line in sample.lines).encode()
    baselines = measure_baselines(data)
    model = found
    if alone is not None and generator.bundle.ngrams is not None:
        model = evaluate(sample.name, BundleModel(alone.session), passages)
        baselines["n-grams alone"] = measure_table(generator.bundle.ngrams, generator.config, passages)
    return TextQuality(
        sample.name,
        found.bits_per_byte,
        model.bits_per_byte,
        math.log(found.perplexity),
        found.tokens,
        found.bytes,
        found.unknown_bytes,
        baselines,
    )


def make_quality_items(found: Iterable[TextQuality], max_loss: float | None) -> list[ChecklistItem]:
    """Make an item for the baselines, ticked if the model beats all on every text; one for the loss limit.

    Neither gets a verdict where more than MAX_UNKNOWN_SHARE of a text's bytes are behind UNK: the loss per
    token does not contain them, and their charge in the bits per byte is no prediction of the model.
    """
    texts = list(found)
    high = [text for text in texts if text.unknown_bytes > MAX_UNKNOWN_SHARE]
    refused = "; ".join(
        f"no verdict: {100 * text.unknown_bytes:.1f}% of the bytes of {text.name} are UNK, which no model"
        f" predicts, above {100 * MAX_UNKNOWN_SHARE:g}%"
        for text in high
    )
    summary = "; ".join(text.summary for text in texts)
    ok = all(text.bits_per_byte < text.best_baseline[1] for text in texts)
    items = [_make_text_item(NAME, ok, summary, refused)]
    if max_loss is not None:
        figures = "; ".join(f"{text.name} {text.loss:.3f} nats per token" for text in texts)
        under = all(text.loss < max_loss for text in texts)
        items.append(_make_text_item(LOSS_NAME, under, f"{figures}, limit {max_loss:g}", refused))
    return items


def _make_text_item(name: str, ok: bool, found: str, refused: str) -> ChecklistItem:
    if refused:
        return ChecklistItem(VALIDATION, name, f"{refused}; {found}", "unsure")
    return make_item(VALIDATION, name, ok, found)


def quote_manifest(manifest: Mapping[str, Any], max_loss: float | None) -> list[ChecklistItem]:
    """Make skipped items with the manifest's figures, for a bundle without text to measure."""
    figures = "; ".join(
        f"{name} {row['bits_per_byte']:.3f}"
        + (f", with n-grams {row[MIXED_BITS]:.3f}" if MIXED_BITS in row else "")
        for name, row in manifest["quality"].items()
    )
    quoted = f"not measured here; bits per byte in the manifest: {figures or 'none'}"
    items = [ChecklistItem(VALIDATION, NAME, f"{quoted} (pass --text NAME=FILE)", "skipped")]
    if max_loss is not None:
        items.append(
            ChecklistItem(VALIDATION, LOSS_NAME, "not measured here (pass --text NAME=FILE)", "skipped")
        )
    return items


def _beginning(documents: Iterable[Sequence[str]]) -> tuple[tuple[str, ...], ...]:
    """Documents until SAMPLE_BYTES are full; the last one may be cut between two lines."""
    left = SAMPLE_BYTES
    sample = []
    for lines in documents:
        taken = []
        for line in lines:
            if left <= 0:
                break
            taken.append(line)
            left -= len(line.encode()) + 1
        if taken:
            sample.append(tuple(taken))
        if left <= 0:
            break
    return tuple(sample)
