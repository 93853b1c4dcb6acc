"""One document of a corpus: the unit that is held out for validation."""

from dataclasses import dataclass

UNKNOWN_LANGUAGE = "und"  # ISO 639-2's code for "undetermined"


@dataclass(frozen=True, slots=True)
class Document:
    """Sentences that belong together."""

    sentences: tuple[str, ...]
    """The sentences, in NFC, stripped, without line breaks; none is empty."""

    language: str
    """ISO 639-1 code ("en", "es"), or "und" if the language is unknown."""

    source: str
    """Origin: "phrasebook", "gutenberg:1342", or a path as the user gave it."""
