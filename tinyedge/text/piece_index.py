"""Search for the pieces of a vocabulary that begin with a text.

In: the bytes of a SentencePiece model. Out: pieces. SentencePiece has no such search, and asking it for each
piece takes longer than computing many tokens. Its model lists the pieces in plain text: each begins with a
line feed and the length of its entry, then a line feed, its own length and its text.
"""

import re
from collections.abc import Iterator

ENTRY = rb"\n.\n(.)"  # up to the text of the piece; the second length is that of the text
LETTER_OR_DIGIT = rb"[0-9A-Za-z\x80-\xff]"


def find_longer_texts(model: bytes, start: bytes) -> Iterator[bytes]:
    """Find texts in the model that look like pieces that begin with `start` and continue the word.

    A byte that is not ASCII counts as a letter: in a trained vocabulary, no piece has other characters after
    a letter. Something else in the model may look like a piece, so the caller checks each text.
    """
    for found in re.finditer(ENTRY + re.escape(start) + LETTER_OR_DIGIT, model, re.DOTALL):
        (length,) = found[1]
        if length > len(start):
            yield model[found.end(1) : found.end(1) + length]
