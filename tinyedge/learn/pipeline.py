"""`tinyedge learn`: a bundle whose n-grams have read a text of the user.

In: a bundle and texts. Out: another bundle, if it predicts the text's end better, and figures. The model
stays as it is. Needs numpy, and no torch: it runs on the board.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinyedge.bundle.bundle import Bundle, load_bundle, require_replaceable, write_bundle
from tinyedge.core.arrays import Doubles
from tinyedge.core.errors import LearnError
from tinyedge.learn.held_out import MAX_TOKENS, SplitText, read_text, split_text
from tinyedge.ngram.adapt import TableAdapter
from tinyedge.ngram.counts import count_ngrams
from tinyedge.ngram.estimate import estimate
from tinyedge.ngram.mapped_file import NgramFile
from tinyedge.ngram.scorer import TableScorer
from tinyedge.ngram.table import NgramTable
from tinyedge.ngram.weights import PredictedTokens, choose_weights, predict_with_model, predict_with_table
from tinyedge.runtime.bundle_model import BundleModel
from tinyedge.runtime.generator import Generator
from tinyedge.text.evaluate import LanguageModel, Passage, Window, to_bits_per_byte
from tinyedge.text.window_sample import sample_windows

ORDER = 4
STRENGTHS = (0.25, 1.0, 4.0)  # of the table against the text, see ngram.adapt; docs/log.md has more
MIN_GAIN_PERCENT = 0.1  # less may be chance
# Fields of the manifest: those that are made anew, and those of Learned that it records.
MADE_ANEW = frozenset({"schema", "created", "tinyedge", "files", "ngrams", "learned"})
RECORDED = ("bytes", "tokens", "judged_tokens", "before", "after")


@dataclass(frozen=True)
class Learned:
    """What a text has taught."""

    bytes: int
    """Bytes of the text, held-out parts included."""
    tokens: int
    """Tokens that were counted."""
    judged_tokens: int
    """Tokens of its last tenth that were judged."""
    before: float
    """Bits per byte of these, by the bundle."""
    after: float
    """The same, by the new bundle."""
    ngrams_bytes: int
    """Size of the new table."""

    @property
    def change_percent(self) -> float:
        """Change of the bits per byte in percent; below 0 is better."""
        return 100 * (self.after / self.before - 1)


@dataclass(frozen=True)
class _ScoredPart:
    """A part of the text, and what the model alone predicted for it."""

    windows: list[Window]
    model: Doubles  # probability of each target, (T,)
    bytes: float
    unknown_bytes: float

    @classmethod
    def score(cls, model: LanguageModel, passages: Sequence[Passage]) -> "_ScoredPart":
        windows, sizes, unknown = zip(*sample_windows(passages, model.context, MAX_TOKENS), strict=True)
        return cls([*windows], predict_with_model(model, windows), sum(sizes), sum(unknown))

    def predict(self, file: NgramFile) -> PredictedTokens:
        return PredictedTokens(self.model, *predict_with_table(TableScorer(NgramTable(file)), self.windows))

    def bits_per_byte(self, nats: float) -> float:
        return to_bits_per_byte(nats, self.bytes, self.unknown_bytes)


def learn(
    bundle_path: Path,
    inputs: Sequence[Path],
    output_dir: Path,
    report: Callable[[str], None] = lambda line: None,
) -> Learned:
    """Write a bundle whose n-grams have read a text. The bundle that it is made from stays as it is.

    Args:
        bundle_path: Folder of a bundle, with or without n-grams; it may have learned before.
        inputs: Files and folders of the text.
        output_dir: Folder of the new bundle; one that is there is replaced.
        report: Receives lines about progress, and about what was skipped.

    Raises:
        BundleError: The bundle is damaged, or the new one cannot be written.
        CorpusError: The text cannot be read, or is too short or too long.
        LearnError: The bundle would not predict the end of the text better.
    """
    require_replaceable(output_dir)
    bundle = load_bundle(bundle_path)
    if bundle.template:
        raise LearnError(
            f"the model of {bundle_path} was trained on pairs, and learns only from pairs",
            "train it further: tinyedge train --init-from",
        )
    text, choice, judge = _read_and_score(bundle, inputs, report)
    report(f"read {text.bytes:,} bytes; judging on {len(judge.model):,} tokens of the last tenth")

    table = _choose_table(bundle, text, choice)
    file = NgramFile(table)
    before = judge.model if bundle.ngrams is None else judge.predict(bundle.ngrams).mix(bundle.ngrams.weights)
    result = Learned(
        text.bytes,
        sum(len(passage.tokens) for passage in text.learned),
        len(judge.model),
        judge.bits_per_byte(-float(np.log(before).sum())),
        judge.bits_per_byte(judge.predict(file).mixed_nats(file.weights)),
        len(table),
    )
    if result.change_percent > -MIN_GAIN_PERCENT:
        raise LearnError(
            f"nothing was learned: the end of the text has {result.before:.4f} bits per byte before and"
            f" {result.after:.4f} after, so {output_dir} was not written",
            "pass more text of this kind",
        )
    manifest = {name: value for name, value in bundle.manifest.items() if name not in MADE_ANEW}
    learned = bundle.manifest.get("learned", [])
    manifest["learned"] = [*learned, {name: getattr(result, name) for name in RECORDED}]
    card = bundle.card.decode("utf-8")
    write_bundle(output_dir, manifest, bundle.model, bundle.tokenizer, card, table)
    return result


def _read_and_score(
    bundle: Bundle, inputs: Sequence[Path], report: Callable[[str], None]
) -> tuple[SplitText, _ScoredPart, _ScoredPart]:
    """Return the text, and its second and third part as the model alone predicts them.

    The model is loaded here only: its memory is free before the tables need theirs.
    """
    alone = Generator.of(bundle.without_ngrams())
    text = split_text(read_text(inputs, report), alone.tokenizer)
    model = BundleModel(alone.session)
    choice, judge = (_ScoredPart.score(model, part) for part in (text.choice, text.judge))
    return text, choice, judge


def _choose_table(bundle: Bundle, text: SplitText, choice: _ScoredPart) -> bytearray:
    """Return the table of the strength, with the weights, that predict the text's second part best."""
    tokens = [passage.tokens for passage in text.learned]
    own = estimate(count_ngrams(tokens, bundle.config.vocab_size, ORDER))
    adapter = TableAdapter(NgramTable(bundle.ngrams) if bundle.ngrams else None, own)
    found = []
    for strength in STRENGTHS:  # one new table is in memory at a time
        predicted = choice.predict(NgramFile(adapter.encode(strength)))
        weights = choose_weights(predicted, ORDER)
        found.append((predicted.mixed_nats(weights), strength, weights))
    _, strength, weights = min(found)
    return adapter.encode(strength, weights)
