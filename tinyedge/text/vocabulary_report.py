"""The report of a trained vocabulary, `tokenizer.json`, and which files of a folder tinyedge wrote.

In: a folder. Out: the report of its vocabulary, if both are complete. Does not train.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from tinyedge.core import files
from tinyedge.core.errors import TokenizerError, UsageError
from tinyedge.core.settings import flag
from tinyedge.text.tokenizer import model_name
from tinyedge.text.tokenizer_config import TokenizerConfig

SCHEMA = "tinyedge.tokenizer/1"
REPORT_FILE = "tokenizer.json"
PENDING_FILE = f".{REPORT_FILE}.next"  # the report of a vocabulary whose files are about to be written
# These get a piece even if they are rare: a text of ten thousand sentences has few 6s and few words with Á.
# SentencePiece stores its settings in the model, so that this text in a file shows that tinyedge trained it.
REQUIRED_CHARACTERS = (
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZáéíóúüñÁÉÍÓÚÜÑ0123456789.,;:!?¡¿'\"()-—«»“”‘’…€$%&/"
)
_VOCAB_START = b"<s>\t"  # tinyedge's `.vocab` begins with BOS; SentencePiece's own default is `<unk>`


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

    requested_vocab_size: int | None = None
    """Size that was tried first, if the text was too small for it; otherwise None."""

    sentencepiece: str | None = None
    """Version of SentencePiece: others train other vocabularies. None in files of earlier versions."""

    chosen: tuple[str, ...] = ()
    """Settings that the user chose with `tinyedge tokenizer`; `train` keeps them unless its flags differ."""

    other_corpus: str | None = None
    """Path of the corpus file, if it was not the one in the vocabulary's folder."""

    def fulfills(self, config: TokenizerConfig, can_shrink: bool) -> bool:
        """Whether training with `config` on the same text would give this vocabulary.

        Args:
            config: Requested settings.
            can_shrink: Whether a size that the text cannot fill may be reduced.
        """
        if can_shrink and self.requested_vocab_size == config.vocab_size:
            config = dataclasses.replace(config, vocab_size=self.config.vocab_size)
        return self.config == config

    def describe_differences(self, config: TokenizerConfig) -> str:
        """Return the flags of this vocabulary's settings that differ from `config`."""
        return ", ".join(
            format_setting(name, value)
            for name, value in dataclasses.asdict(self.config).items()
            if value != getattr(config, name)
        )


def format_setting(name: str, value: object) -> str:
    """Return a setting as the user would type it: `--vocab-size 8000`, `--byte-fallback`."""
    if isinstance(value, bool):
        return flag(name) if value else f"no {flag(name)}"
    return f"{flag(name)} {value}"


def load_report(folder: Path) -> VocabularyReport | None:
    """Load a folder's report; None unless the report and its vocabulary exist and match."""
    try:
        value = files.read_json(folder / REPORT_FILE, SCHEMA, TokenizerError)
        del value["schema"]
        report = VocabularyReport(
            **{
                **value,
                "config": TokenizerConfig(**value["config"]),
                "chosen": tuple(value.get("chosen", ())),
            }
        )
        path = folder / model_name(report.config.vocab_size)
        return report if files.sha256_file(path) == report.sha256 else None
    except (TokenizerError, UsageError, OSError, KeyError, TypeError):
        return None


def save_pending_report(folder: Path, report: VocabularyReport) -> None:
    """Record a vocabulary before its files are written, so that those of a killed process are recognized."""
    files.write_json(folder / PENDING_FILE, {"schema": SCHEMA, **dataclasses.asdict(report)})


def publish_pending_report(folder: Path) -> None:
    """Give the pending report its name, once the files of its vocabulary are written."""
    (folder / PENDING_FILE).replace(folder / REPORT_FILE)
    files.sync_folder(folder)


def discard_pending_report(folder: Path) -> None:
    """Remove the pending report of a killed process; another program's file of that name stays."""
    path = folder / PENDING_FILE
    if path.is_file() and _is_own_report(path.read_bytes()):
        path.unlink()


def require_own_files(folder: Path, path: Path) -> None:
    """Check that a vocabulary at `path` and its report in `folder` replace files of tinyedge only.

    Raises:
        TokenizerError: A file has one of the names, and tinyedge did not write it.
    """
    required = REQUIRED_CHARACTERS.encode()
    for file, is_own in (
        (folder / REPORT_FILE, _is_own_report),
        (folder / PENDING_FILE, _is_own_report),
        (path, lambda data: required in data),
        (path.with_suffix(".vocab"), lambda data: data.startswith(_VOCAB_START)),
    ):
        if file.exists() and not (file.is_file() and is_own(file.read_bytes())):
            raise TokenizerError(
                f"{file} was not written by tinyedge and would be replaced",
                "move it away, or pass another --output-dir"
                + ("; to train on this vocabulary, pass --skip-tokenizer" if file == path else ""),
            )


def _is_own_report(data: bytes) -> bool:
    return SCHEMA.partition("/")[0].encode() in data
