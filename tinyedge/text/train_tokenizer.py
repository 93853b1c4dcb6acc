"""Train a SentencePiece vocabulary on the training lines of a corpus.

In: a split corpus and settings. Out: `bilingual_8k.model`, `bilingual_8k.vocab` and `tokenizer.json`.
Does not know models.
"""

import dataclasses
import random
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tinyedge.core import files
from tinyedge.core.config import MODEL_RANGES
from tinyedge.core.errors import TokenizerError
from tinyedge.corpus.split import Split
from tinyedge.text.tokenizer import BOS_ID, EOS_ID, PAD_ID, UNK_ID, Tokenizer, model_name
from tinyedge.text.tokenizer_config import TokenizerConfig as TokenizerConfig
from tinyedge.text.trainer_process import TrainerDiedError, TrainerRefusedError, train_unigram

SCHEMA = "tinyedge.tokenizer/1"
REPORT_FILE = "tokenizer.json"
# These get a piece even if they are rare: a text of ten thousand sentences has few 6s and few words with Á.
REQUIRED_CHARACTERS = (
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZáéíóúüñÁÉÍÓÚÜÑ0123456789.,;:!?¡¿'\"()-—«»“”‘’…€$%&/"
)
TRAINER_THREADS = 16  # fixed, because it affects the vocabulary
MIN_VOCAB_SIZE = MODEL_RANGES["vocab_size"][0]
SAMPLE_BYTES = 10 << 20  # used of a larger text; SentencePiece needs about 20 bytes of memory for each byte
SAMPLE_SEED = 0  # fixed: the vocabulary must not change with the seed of a training run
MAX_SENTENCE_BYTES = 1 << 20  # SentencePiece drops longer lines silently; corpus lines are far shorter


@dataclass(frozen=True)
class VocabularyReport:
    """A trained vocabulary and how well it fits text that it was not trained on."""

    config: TokenizerConfig
    """Settings of the training."""

    corpus_sha256: str
    """Hash of the corpus file."""

    sha256: str
    """Hash of the `.model` file."""

    pieces: int
    """Size of the vocabulary."""

    bytes_per_token: float
    """Mean UTF-8 bytes per token on the corpus's held-out lines."""

    unknown: float
    """Share of UNK among the tokens of the held-out lines, 0-1."""


def prepare_tokenizer(
    split: Split, output_dir: Path, config: TokenizerConfig, note: Callable[[str], None]
) -> tuple[Path, VocabularyReport]:
    """Train a vocabulary, or reuse the existing one from the same corpus and settings.

    Args:
        split: The corpus and its held-out lines.
        output_dir: Folder of the `.model`, `.vocab` and report files.
        config: Settings of the training.
        note: Receives a line about what was done.

    Returns:
        The path of the `.model` file and the report.

    Raises:
        TokenizerError: The corpus is too small for the vocabulary (the message names the largest that works),
            or the training failed.
    """
    path = output_dir / model_name(config.vocab_size)
    corpus_sha256 = files.sha256_file(split.corpus)
    report = _load_existing_report(path, output_dir / REPORT_FILE)
    if report and (report.config, report.corpus_sha256) == (config, corpus_sha256):
        note(f"tokenizer: reused {path}")
        return path, report
    lines, share = split.training_lines(), SAMPLE_BYTES / split.corpus.stat().st_size
    if share < 1:
        note(f"tokenizer: training on a sample of {100 * share:.0f}% of the text")
        lines = sample_lines(lines, share)
    model = train(lines, str(split.corpus), config)
    tokenizer = Tokenizer(model)
    bytes_per_token, unknown = measure_fit(tokenizer, split.held_out_lines())
    report = VocabularyReport(
        config, corpus_sha256, tokenizer.sha256, tokenizer.vocab_size, bytes_per_token, unknown
    )
    files.write_bytes(path, model)
    files.write_text(path.with_suffix(".vocab"), tokenizer.vocabulary_table())
    files.write_json(output_dir / REPORT_FILE, {"schema": SCHEMA, **dataclasses.asdict(report)})
    note(f"tokenizer: wrote {path}")
    return path, report


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
    try:
        return train_unigram(lines, options)
    except TrainerRefusedError as failure:
        raise _convert_error(str(failure), name, config) from None
    except TrainerDiedError as failure:
        raise TokenizerError(
            f"SentencePiece's process ended with {failure} while it trained on {name}",
            "usually the system ran out of memory: stop other programs, then run the same command again",
        ) from None


def _load_existing_report(path: Path, report_path: Path) -> VocabularyReport | None:
    """Load the report of the vocabulary at `path`; None unless both files exist and match."""
    try:
        value = files.read_json(report_path, SCHEMA, TokenizerError)
        del value["schema"]
        report = VocabularyReport(**{**value, "config": TokenizerConfig(**value["config"])})
        return report if files.sha256_file(path) == report.sha256 else None
    except (TokenizerError, OSError, KeyError, TypeError):
        return None


def _convert_error(failure: str, name: str, config: TokenizerConfig) -> TokenizerError:
    """Convert SentencePiece's message to an error that tells which settings work."""
    too_high = re.search(r"Vocabulary size too high.*<= (\d+)", failure, re.DOTALL)
    if too_high and int(too_high[1]) < MIN_VOCAB_SIZE:
        return TokenizerError(
            f"{name} is too small for any vocabulary: it fills {too_high[1]} pieces, the smallest is"
            f" {MIN_VOCAB_SIZE}",
            "add text: about 100 kB are enough for --vocab-size 1000",
        )
    if too_high:
        return TokenizerError(
            f"{name} is too small for --vocab-size {config.vocab_size}:"
            f" the largest that works is {too_high[1]}",
            f"pass --vocab-size {too_high[1]} or less, or add text",
        )
    too_low = re.search(r"smaller than required_chars.*?(\d+) vs (\d+)", failure, re.DOTALL)
    if too_low:
        return TokenizerError(
            f"{name} has {too_low[2]} different characters and special tokens, more than --vocab-size"
            f" {config.vocab_size}",
            "pass a larger --vocab-size or a lower --character-coverage",
        )
    return TokenizerError(f"SentencePiece could not train on {name}: {failure.strip()}", "check the text")
