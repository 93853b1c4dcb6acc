"""The n-gram table of a bundle: counted in the training tokens, weighted and measured on held-out text.

In: a run's token files, the exported model, windows of held-out text. Out: the content of `ngrams.bin`, and
what it brings. Does not write files. The same run gives the same bytes: weights have two decimals, so that
the last digits of the model's figures, which depend on the processor, do not change them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tinyedge.core.arrays import TokenIds
from tinyedge.core.errors import ExportError, UsageError
from tinyedge.core.settings import flag
from tinyedge.ngram.counts import count_ngrams
from tinyedge.ngram.estimate import estimate
from tinyedge.ngram.layout import TableLayout
from tinyedge.ngram.mapped_file import NgramFile
from tinyedge.ngram.prune import prune
from tinyedge.ngram.scorer import TableScorer
from tinyedge.ngram.table import NgramTable
from tinyedge.ngram.trie import NgramTrie
from tinyedge.ngram.weights import choose_weights, predict_tokens
from tinyedge.ngram.write import encode_table
from tinyedge.text.evaluate import LanguageModel, Window, to_bits_per_byte
from tinyedge.text.shards import FOLDER as SHARDS_FOLDER
from tinyedge.text.shards import Shards, TokenFile
from tinyedge.text.tokenizer import Tokenizer
from tinyedge.text.window_sample import WindowSample

MB = 1 << 20
DEFAULT_ORDER = 4
MIN_GAIN_PERCENT = 0.5  # of the bits per byte; less is not worth a file and its time for each token
MAX_COUNTED_TOKENS = 20_000_000  # counting needs 45 bytes for each
COUNTED_PARTS = 200  # of a longer text, from all of its sources
MIN_CHOICE_TOKENS = 1_000  # for each language


@dataclass(frozen=True)
class MeasuredTable:
    """A table and what it brings on held-out text."""

    content: bytes
    """Content of `ngrams.bin`."""
    bits_per_byte: Mapping[str, float]
    """Bits per byte of the mixture by language, on the windows of `compare_quality`."""
    choice_tokens: int
    """Held-out tokens that the weights were chosen with."""

    def gain_percent(self, alone: Mapping[str, float]) -> float:
        """Compute by how much the mixture lowers the mean of the languages' bits per byte.

        Args:
            alone: Bits per byte of the model alone by language.
        """
        return 100 * (1 - sum(self.bits_per_byte.values()) / sum(alone.values()))


def open_run_shards(checkpoint: Path, tokenizer: Tokenizer) -> Shards:
    """Open the token files of the run that a checkpoint is in.

    Raises:
        CorpusError: The files are damaged.
        ExportError: There are none, or they were made with another tokenizer.
    """
    folder = checkpoint.parent / SHARDS_FOLDER
    if not folder.exists():
        raise ExportError(f"there is no {folder}", "keep the checkpoint in its training folder")
    shards = Shards.load(folder, tokenizer)
    if shards.tokenizer_sha256 != tokenizer.sha256:
        raise ExportError(
            f"{folder} was made with tokenizer {shards.tokenizer_sha256[:12]}..., the checkpoint has"
            f" {tokenizer.sha256[:12]}...",
            "keep the checkpoint in its training folder",
        )
    return shards


def require_size(ngram_mb: float, vocab_size: int, order: int) -> None:
    """Raise UsageError if not even the single tokens fit into a table of `ngram_mb` MB."""
    smallest = TableLayout(vocab_size, (0,) * (order - 1)).file_bytes
    if ngram_mb * MB < smallest:
        raise UsageError(
            f"ngram_mb {ngram_mb:g} is too small for {vocab_size:,} single tokens, which need"
            f" {smallest / MB:.2f} MB",
            f"allow more, or pass {flag('ngram_mb')} 0 for a bundle without n-grams",
            ("ngram_mb",),
        )


def build_table(tokens: Sequence[TokenIds], vocab_size: int, order: int, max_bytes: int) -> NgramTrie:
    """Count n-grams, estimate their probabilities, and keep the best of them.

    Args:
        tokens: The training text, each part (T,).
        vocab_size: Number of tokens of the vocabulary.
        order: Tokens in the longest n-gram.
        max_bytes: Largest size of the file.

    Raises:
        CorpusError: There is no token to count, or a token is not in the vocabulary.
    """
    return prune(estimate(count_ngrams(tokens, vocab_size, order)), max_bytes)


def read_training_tokens(tokens: TokenFile) -> list[TokenIds]:
    """Read the tokens to count: all, or of a very long text MAX_COUNTED_TOKENS in evenly spaced parts."""
    if len(tokens) <= MAX_COUNTED_TOKENS:
        return [tokens[0 : len(tokens)]]
    size = MAX_COUNTED_TOKENS // COUNTED_PARTS
    starts = (part * (len(tokens) - size) // (COUNTED_PARTS - 1) for part in range(COUNTED_PARTS))
    return [tokens[start : start + size] for start in starts]


def measure_table(
    trie: NgramTrie,
    model: LanguageModel,
    held_out: Mapping[str, WindowSample],
    samples: Mapping[str, WindowSample],
) -> MeasuredTable:
    """Choose the weights of a table, and measure the mixture.

    The weights are chosen on other windows than those that are measured, if there is enough text.

    Args:
        trie: The n-grams.
        model: The exported model.
        held_out: Windows of what the run held out, by language: the weights are chosen on them.
        samples: Windows of the text that is measured, by language.

    Raises:
        CorpusError: The held-out text has nothing to predict.
    """
    scorer = TableScorer(NgramTable(NgramFile(encode_table(trie))))
    chosen_on = [window for sample in held_out.values() for window in _select_windows(sample)]
    predicted = predict_tokens(model, scorer, chosen_on)
    weights = tuple(round(weight, 2) for weight in choose_weights(predicted, len(trie.levels)))
    mixed = {}
    for name, sample in samples.items():
        windows, sizes, unknown = zip(*sample.measured, strict=True)
        nats = predict_tokens(model, scorer, windows).mixed_nats(weights)
        mixed[name] = to_bits_per_byte(nats, sum(sizes), sum(unknown))
    return MeasuredTable(encode_table(trie, weights), mixed, len(predicted.model))


def _select_windows(sample: WindowSample) -> list[Window]:
    """Select windows to choose the weights on: those after the measured ones, or all if few are left."""
    others = [window for window, _, _ in sample.others]
    if sum(len(window.targets) for window in others) >= MIN_CHOICE_TOKENS:
        return others
    return [window for window, _, _ in sample.measured] + others
