"""Features of a piece's spelling: stem, ending, capital, length.

In: the spelling of each piece. Out: the features of each. Does not know torch.

A small corpus contains most pieces only a few times. "walked", " Walked" and " walking" share most of what a
model has to learn about them, but they are separate pieces. Features make the relation explicit, as
morphemes do in Botha and Blunsom (2014) and character n-grams in fastText (Bojanowski et al., 2017).
"""

import unicodedata
from collections import Counter
from collections.abc import Sequence

from tinyedge.text.tokenizer import WORD_BOUNDARY

ENDINGS = (2, 3, 4)  # letters
BEGINNINGS = (3, 4, 5)  # letters
LONGEST = 8  # longer pieces count as this long
MIN_PIECES = 2  # a feature that only one piece has does not relate it to other pieces

Feature = tuple[str, str]


def extract_features(piece: str) -> list[Feature]:
    """Return the features of a piece.

    Args:
        piece: SentencePiece's spelling, such as "▁Casas". Special pieces have "", and no features.
    """
    if not piece:
        return []
    word = piece.lstrip(WORD_BOUNDARY)
    starts = "first" if piece.startswith(WORD_BOUNDARY) else "inner"
    features = [("starts", starts), ("capital", str(word[:1].isupper()))]
    lower = word.lower()
    if not lower:
        return features
    features += [("letters", _strip_accents(lower)), ("length", str(min(len(lower), LONGEST)))]
    features += [("ending", lower[-n:]) for n in ENDINGS if len(lower) >= n]
    features += [(f"{starts} beginning", _strip_accents(lower[:n])) for n in BEGINNINGS if len(lower) >= n]
    return features


def number_shared_features(pieces: Sequence[str]) -> list[list[int]]:
    """Number the features that several pieces share, from 0, the most frequent first.

    Args:
        pieces: Spelling of each piece.

    Returns:
        Feature numbers of each piece.
    """
    found = [extract_features(piece) for piece in pieces]
    counts = Counter(feature for features in found for feature in features)
    shared = [feature for feature, count in counts.most_common() if count >= MIN_PIECES]
    number = {feature: place for place, feature in enumerate(shared)}
    return [[number[feature] for feature in features if feature in number] for features in found]


def _strip_accents(text: str) -> str:
    """Remove accents: "canción" becomes "cancion"."""
    return "".join(c for c in unicodedata.normalize("NFD", text) if unicodedata.category(c) != "Mn")
