"""Settings of a vocabulary's training. Does not know SentencePiece: commands read it for their help."""

from dataclasses import dataclass

from tinyedge.core.config import MODEL_RANGES
from tinyedge.core.settings import check_settings, setting


@dataclass(frozen=True)
class TokenizerConfig:
    """Settings of a vocabulary's training.

    Raises:
        UsageError: A value is outside its range; the message names the parameter.
    """

    vocab_size: int = setting(
        8000,
        low=MODEL_RANGES["vocab_size"][0],
        high=MODEL_RANGES["vocab_size"][1],
        section="Tokenizer",
        help="Number of pieces, special tokens included.",
    )
    """Number of pieces, special tokens included."""
    character_coverage: float = setting(
        0.9995,
        low=0.98,  # SentencePiece refuses less
        high=1.0,
        section="Tokenizer",
        help="Share of the text's characters that get a piece; the others become UNK.",
    )
    """Share of the corpus's characters that get a piece; the others become UNK."""
    byte_fallback: bool = setting(
        False, section="Tokenizer", help="Encode rare characters as bytes instead of UNK."
    )
    """Whether characters outside the vocabulary are encoded in 256 byte pieces instead of UNK."""
    separate_spaces: bool = setting(
        False,
        section="Tokenizer",
        help="Make each space a piece: a word that an answer copies has the same pieces everywhere.",
    )
    """Whether a space is a piece of its own, so that a word has the same pieces after a space, a quotation
    mark or a bracket. A model then copies names and values into JSON piece by piece; text has more tokens."""

    def __post_init__(self) -> None:
        check_settings(self)
