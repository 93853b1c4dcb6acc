"""Train a SentencePiece vocabulary on the training lines of a corpus.

In: a split corpus and settings. Out: `bilingual_8k.model`, `bilingual_8k.vocab` and `tokenizer.json`.
Does not know models.
"""

import dataclasses
import random
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path

import sentencepiece

from tinyedge.core import files
from tinyedge.core.config import MODEL_RANGES
from tinyedge.core.errors import TokenizerError
from tinyedge.corpus.build import CORPUS_NAME
from tinyedge.corpus.split import Split
from tinyedge.text.tokenizer import BOS_ID, EOS_ID, PAD_ID, UNK_ID, WORD_BOUNDARY, Tokenizer, model_name
from tinyedge.text.tokenizer_config import TokenizerConfig as TokenizerConfig
from tinyedge.text.trainer_process import TrainerDiedError, TrainerRefusedError, train_unigram
from tinyedge.text.vocabulary_report import REPORT_FILE as REPORT_FILE
from tinyedge.text.vocabulary_report import (
    REQUIRED_CHARACTERS,
    VocabularyReport,
    discard_pending_report,
    format_setting,
    load_report,
    publish_pending_report,
    require_own_files,
    save_pending_report,
)

TRAINER_THREADS = 16  # fixed, because it affects the vocabulary
MIN_VOCAB_SIZE = MODEL_RANGES["vocab_size"][0]
SAMPLE_BYTES = 10 << 20  # used of a larger text; SentencePiece needs about 20 bytes of memory for each byte
SAMPLE_SEED = 0  # fixed: the vocabulary must not change with the seed of a training run
MAX_SENTENCE_BYTES = 1 << 20  # SentencePiece drops longer lines silently; corpus lines are far shorter


class VocabularyTooLargeError(TokenizerError):
    """The text cannot fill a vocabulary of the requested size; a smaller one works."""

    def __init__(self, name: str, vocab_size: int, largest: int) -> None:
        """Create the error.

        Args:
            name: Name of the text.
            vocab_size: Requested size.
            largest: The largest size that works.
        """
        super().__init__(
            f"{name} is too small for --vocab-size {vocab_size}: the largest that works is {largest}",
            f"pass --vocab-size {largest} or less, or add text",
        )
        self.largest = largest


def prepare_tokenizer(
    split: Split,
    output_dir: Path,
    config: TokenizerConfig,
    note: Callable[[str], None],
    *,
    flexible: Collection[str] = (),
    chosen: Collection[str] | None = None,
) -> tuple[Path, VocabularyReport]:
    """Train a vocabulary, or reuse the existing one from the same corpus and settings.

    Args:
        split: The corpus and its held-out lines.
        output_dir: Folder of the `.model`, `.vocab` and report files.
        config: Settings of the training.
        note: Receives lines about what was done and what was changed.
        flexible: Settings in `config` that the user did not choose. A flexible `vocab_size` is reduced to
            what the text can fill.
        chosen: Settings that the user chose for this vocabulary, to be recorded. With None, those of the
            existing vocabulary are kept and replace flexible settings.

    Returns:
        The path of the `.model` file and the report.

    Raises:
        TokenizerError: The corpus is too small for the vocabulary (the message names the largest that works),
            the training failed, or a file would be replaced that tinyedge did not write or that the user made
            from another text.
    """
    corpus_sha256 = files.sha256_file(split.corpus)
    existing = load_report(output_dir)
    if chosen is None:
        config = _adopt_settings(existing, config, flexible, note)
    can_shrink = "vocab_size" in flexible
    if existing and existing.corpus_sha256 == corpus_sha256 and existing.fulfills(config, can_shrink):
        path = output_dir / model_name(existing.config.vocab_size)
        discard_pending_report(output_dir)
        note(f"tokenizer: reused {path}{_describe_reduction(existing)}")
        return path, existing
    if existing:
        path = output_dir / model_name(existing.config.vocab_size)
        if existing.corpus_sha256 == corpus_sha256:
            note(f"tokenizer: {path} has {existing.describe_differences(config)}: training another")
        elif existing.other_corpus and chosen is None:
            raise TokenizerError(
                f"{path} was trained on {existing.other_corpus} and would be replaced",
                "pass --skip-tokenizer to use it, or another --output-dir",
            )
        else:
            note(f"tokenizer: {path} was trained on another text: training again")
    share = SAMPLE_BYTES / split.corpus.stat().st_size
    if share < 1:
        note(f"tokenizer: training on a sample of {100 * share:.0f}% of the text")

    def train_with(config: TokenizerConfig) -> bytes:
        require_own_files(output_dir, output_dir / model_name(config.vocab_size))
        lines = split.training_lines()
        return train(sample_lines(lines, share) if share < 1 else lines, split.name, config)

    requested_vocab_size = None
    try:
        model = train_with(config)
    except VocabularyTooLargeError as failure:
        if not can_shrink:
            raise
        requested_vocab_size = config.vocab_size
        config = dataclasses.replace(config, vocab_size=failure.largest)
        model = train_with(config)
    path = output_dir / model_name(config.vocab_size)
    tokenizer = Tokenizer(model)
    bytes_per_token, unknown = measure_fit(tokenizer, split.held_out_lines())
    own_corpus = output_dir / CORPUS_NAME
    is_own_corpus = own_corpus.exists() and own_corpus.samefile(split.corpus)
    report = VocabularyReport(
        config,
        corpus_sha256,
        tokenizer.sha256,
        tokenizer.vocab_size,
        bytes_per_token,
        unknown,
        requested_vocab_size,
        sentencepiece.__version__,
        tuple(sorted(chosen)) if chosen is not None else existing.chosen if existing else (),
        None if is_own_corpus else str(split.corpus),
    )
    save_pending_report(output_dir, report)
    files.write_bytes(path, model)
    files.write_text(path.with_suffix(".vocab"), tokenizer.vocabulary_table())
    publish_pending_report(output_dir)
    note(f"tokenizer: wrote {path}{_describe_reduction(report)}")
    return path, report


def _adopt_settings(
    existing: VocabularyReport | None,
    config: TokenizerConfig,
    flexible: Collection[str],
    note: Callable[[str], None],
) -> TokenizerConfig:
    """Replace flexible settings by those that the user chose for the existing vocabulary."""
    if existing is None:
        return config
    adopted = {
        name: getattr(existing.config, name)
        for name in existing.chosen
        if name in flexible and getattr(existing.config, name) != getattr(config, name)
    }
    if adopted:
        settings = ", ".join(format_setting(name, value) for name, value in adopted.items())
        note(f"tokenizer: using {settings}, as chosen with tinyedge tokenizer")
    return dataclasses.replace(config, **adopted)


def _describe_reduction(report: VocabularyReport) -> str:
    if report.requested_vocab_size is None:
        return ""
    return f" ({report.pieces} pieces: the text is too small for {report.requested_vocab_size})"


def sample_lines(lines: Iterable[str], share: float) -> Iterator[str]:
    """Select each line with probability `share`, with a fixed seed, so that every book is represented."""
    draw = random.Random(SAMPLE_SEED).random
    return (line for line in lines if draw() < share)


def measure_fit(tokenizer: Tokenizer, lines: Iterable[str]) -> tuple[float, float]:
    """Return bytes per token and the share of UNK (0-1) on some lines."""
    tokens = size = unknown = 0
    for line in lines:
        ids = tokenizer.encode(line)
        tokens += len(ids)
        unknown += ids.count(UNK_ID)
        size += len(line.encode("utf-8"))
    return (size / tokens, unknown / tokens) if tokens else (0.0, 0.0)


def train(lines: Iterable[str], name: str, config: TokenizerConfig) -> bytes:
    """Train a unigram vocabulary.

    The same lines and settings give the same bytes: the number of threads does not depend on the machine, and
    SentencePiece does not sample.

    Args:
        lines: Sentences to train on.
        name: Name of the text in error messages.
        config: Settings of the training.

    Returns:
        Content of the `.model` file.

    Raises:
        TokenizerError: The text does not fit the settings, or SentencePiece failed.
    """
    options = {
        "model_type": "unigram",
        "vocab_size": config.vocab_size,
        "character_coverage": config.character_coverage,
        "byte_fallback": config.byte_fallback,
        "required_chars": REQUIRED_CHARACTERS,
        "bos_id": BOS_ID,
        "eos_id": EOS_ID,
        "pad_id": PAD_ID,
        "unk_id": UNK_ID,
        "normalization_rule_name": "identity",
        "max_sentence_length": MAX_SENTENCE_BYTES,
        "num_threads": TRAINER_THREADS,
        "minloglevel": 2,
    }
    if config.separate_spaces:
        options["user_defined_symbols"] = WORD_BOUNDARY
    try:
        return train_unigram(lines, options)
    except TrainerRefusedError as failure:
        raise _convert_error(str(failure), name, config) from None
    except TrainerDiedError as failure:
        raise TokenizerError(
            f"SentencePiece's process ended with {failure} while it trained on {name}",
            "usually the system ran out of memory: stop other programs, then run the same command again",
        ) from None


def _convert_error(failure: str, name: str, config: TokenizerConfig) -> TokenizerError:
    """Convert SentencePiece's message to an error that tells which settings work."""
    too_high = re.search(r"Vocabulary size too high.*<= (\d+)", failure, re.DOTALL)
    if too_high and int(too_high[1]) < MIN_VOCAB_SIZE:
        return TokenizerError(
            f"{name} is too small for any vocabulary: it fills {too_high[1]} pieces, the smallest is"
            f" {MIN_VOCAB_SIZE}",
            "add text that is less alike: about 100 kB are enough for --vocab-size 1000;"
            " for pairs, go on from a model of text: tinyedge train --init-from",
        )
    if too_high:
        return VocabularyTooLargeError(name, config.vocab_size, int(too_high[1]))
    too_low = re.search(r"smaller than required_chars.*?(\d+) vs (\d+)", failure, re.DOTALL)
    if too_low:
        return TokenizerError(
            f"{name} has {too_low[2]} different characters and special tokens, more than --vocab-size"
            f" {config.vocab_size}",
            "pass a larger --vocab-size or a lower --character-coverage",
        )
    return TokenizerError(f"SentencePiece could not train on {name}: {failure.strip()}", "check the text")
