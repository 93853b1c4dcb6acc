"""One document of a corpus: the unit that is held out, never split between training and validation."""

from dataclasses import dataclass

UNKNOWN_LANGUAGE = "und"  # ISO 639-2's code for "undetermined"


@dataclass(frozen=True, slots=True)
class Document:
    """Sentences that belong together.

    sentences: one line each, NFC, stripped, none empty, no line breaks inside.
    language: ISO 639-1 code ("en", "es"), or "und" where it is not known.
    source: where it came from: "phrasebook", "gutenberg:1342", or a path as the user gave it.
    """

    sentences: tuple[str, ...]
    language: str
    source: str
