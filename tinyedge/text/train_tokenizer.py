"""Training a vocabulary: the training lines of a corpus to `bilingual_8k.model` and `.vocab`."""

import dataclasses
import random
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tinyedge.core import files
from tinyedge.core.config import MODEL_RANGES
from tinyedge.core.errors import TokenizerError, UsageError
from tinyedge.corpus.split import Split
from tinyedge.text.tokenizer import BOS_ID, EOS_ID, PAD_ID, UNK_ID, Tokenizer, model_name
from tinyedge.text.trainer_process import TrainerDiedError, TrainerRefusedError, train_unigram

SCHEMA = "tinyedge.tokenizer/1"
REPORT_FILE = "tokenizer.json"
# Get a piece whatever their share: a text of ten thousand sentences has few 6s and few words with Á.
REQUIRED_CHARACTERS = (
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZáéíóúüñÁÉÍÓÚÜÑ0123456789.,;:!?¡¿'\"()-—«»“”‘’…€$%&/"
)
TRAINER_THREADS = 16  # fixed, so that the number of cores does not change the vocabulary
MIN_VOCAB_SIZE = MODEL_RANGES["vocab_size"][0]
SAMPLE_BYTES = 10 << 20  # of a larger text; SentencePiece takes some 20 bytes of memory for each of it
SAMPLE_SEED = 0  # fixed: the vocabulary must not change with the seed of a training run
MAX_SENTENCE_BYTES = 1 << 20  # SentencePiece drops longer lines silently; corpus lines are far shorter


@dataclass(frozen=True)
class TokenizerConfig:
    """How a vocabulary is trained.

    vocab_size: pieces, special tokens included.
    character_coverage: share of the corpus's characters that get a piece; the rest become UNK.
    byte_fallback: spell characters outside the vocabulary in 256 byte pieces instead of UNK.
    """

    vocab_size: int = 8000
    character_coverage: float = 0.9995
    byte_fallback: bool = False

    def __post_init__(self) -> None:
        low, high = MODEL_RANGES["vocab_size"]
        if not low <= self.vocab_size <= high:
            raise UsageError(f"--vocab-size {self.vocab_size} is outside {low}-{high}")
        if not 0.9 <= self.character_coverage <= 1.0:
            raise UsageError(f"--character-coverage {self.character_coverage} is outside 0.9-1.0")


@dataclass(frozen=True)
class VocabularyReport:
    """A trained vocabulary and how it fits text that it did not see.

    pieces: its size. bytes_per_token, unknown: on the corpus's held-out lines; unknown is the share of UNK.
    """

    config: TokenizerConfig
    corpus_sha256: str
    sha256: str
    pieces: int
    bytes_per_token: float
    unknown: float


def prepare_tokenizer(
    split: Split, output_dir: Path, config: TokenizerConfig, note: Callable[[str], None]
) -> tuple[Path, VocabularyReport]:
    """Trains the vocabulary, or reuses the one that the same corpus and settings made; says which.

    Raises TokenizerError when the corpus is too small for the vocabulary, and names the largest that works.
    """
    path = output_dir / model_name(config.vocab_size)
    corpus_sha256 = files.sha256_file(split.corpus)
    report = _load_existing_report(path, output_dir / REPORT_FILE)
    if report and (report.config, report.corpus_sha256) == (config, corpus_sha256):
        note(f"tokenizer: reused {path}")
        return path, report
    lines, share = split.training_lines(), SAMPLE_BYTES / split.corpus.stat().st_size
    if share < 1:
        note(f"tokenizer: trains on a sample of the text, {100 * share:.0f} % of it")
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
    """Each line with the probability `share`, by a fixed seed: so every book gives that share of itself."""
    draw = random.Random(SAMPLE_SEED).random
    return (line for line in lines if draw() < share)


def measure_fit(tokenizer: Tokenizer, lines: Iterable[str]) -> tuple[float, float]:
    """Bytes per token and the share of UNK on some lines."""
    tokens = size = unknown = 0
    for line in lines:
        ids = tokenizer.encode(line)
        tokens += len(ids)
        unknown += ids.count(UNK_ID)
        size += len(line.encode("utf-8"))
    return (size / tokens, unknown / tokens) if tokens else (0.0, 0.0)


def train(lines: Iterable[str], name: str, config: TokenizerConfig) -> bytes:
    """Trains a unigram vocabulary and returns the bytes of its `.model`; `name` is for the errors.

    The same lines and configuration give the same bytes: SentencePiece splits its work in 16 parts whatever
    the machine has, and nothing is sampled here.
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
            "usually the kernel ran out of memory: stop other programs, then give the same command again",
        ) from None


def _load_existing_report(path: Path, report_path: Path) -> VocabularyReport | None:
    """The report of the vocabulary at `path`, if both are there and agree."""
    try:
        value = files.read_json(report_path, SCHEMA, TokenizerError)
        del value["schema"]
        report = VocabularyReport(**{**value, "config": TokenizerConfig(**value["config"])})
        return report if files.sha256_file(path) == report.sha256 else None
    except (TokenizerError, OSError, KeyError, TypeError):
        return None


def _convert_error(failure: str, name: str, config: TokenizerConfig) -> TokenizerError:
    """SentencePiece's own words, turned into the largest vocabulary that works."""
    too_high = re.search(r"Vocabulary size too high.*<= (\d+)", failure, re.DOTALL)
    if too_high and int(too_high[1]) < MIN_VOCAB_SIZE:
        return TokenizerError(
            f"{name} is too small for any vocabulary: it fills {too_high[1]} pieces, the smallest is"
            f" {MIN_VOCAB_SIZE}",
            "add text: some 100 kB are enough for --vocab-size 1000",
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
