"""What pieces have in common: stems, endings, capitals. Pieces in, the features of each out; knows no torch.

A small corpus shows most pieces a few times only. "walked", " Walked" and " walking" share most of what a
model has to learn about them, and the tokenizer keeps them apart; the features say it.
"""

import unicodedata
from collections import Counter
from collections.abc import Sequence

from tinyedge.text.tokenizer import WORD_BOUNDARY

ENDINGS = (2, 3, 4)  # letters
BEGINNINGS = (3, 4, 5)
LONGEST = 8  # longer pieces count as this long
SHARED_BY = 2  # pieces; a feature that one piece has alone says nothing

Feature = tuple[str, str]


def features_of(piece: str) -> list[Feature]:
    """The features of one piece, by SentencePiece's spelling of it ("▁Casas"); without one it has none."""
    if not piece:
        return []
    word = piece.lstrip(WORD_BOUNDARY)
    starts = "first" if piece.startswith(WORD_BOUNDARY) else "inner"
    features = [("starts", starts), ("capital", str(word[:1].isupper()))]
    lower = word.lower()
    if not lower:
        return features
    features += [("letters", _plain(lower)), ("length", str(min(len(lower), LONGEST)))]
    features += [("ending", lower[-n:]) for n in ENDINGS if len(lower) >= n]
    features += [(f"{starts} beginning", _plain(lower[:n])) for n in BEGINNINGS if len(lower) >= n]
    return features


def shared_features(pieces: Sequence[str]) -> list[list[int]]:
    """For each piece the numbers of its features, from 0 without gaps.

    Only features of at least two pieces are numbered, the most frequent first.
    """
    found = [features_of(piece) for piece in pieces]
    counts = Counter(feature for features in found for feature in features)
    kept = [feature for feature, count in counts.most_common() if count >= SHARED_BY]
    number = {feature: place for place, feature in enumerate(kept)}
    return [[number[feature] for feature in features if feature in number] for features in found]


def _plain(text: str) -> str:
    """Without accents: "canción" is "cancion"."""
    return "".join(c for c in unicodedata.normalize("NFD", text) if unicodedata.category(c) != "Mn")
