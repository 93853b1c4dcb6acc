"""Detect English and Spanish by counting function words.

In: a text. Out: "en", "es" or "und". Function words are a third of all prose, and languages rarely share
them. Related languages (French, German, Portuguese, Italian, Catalan) have word lists too, so that their text
becomes "und". Does not know other languages: a short Galician text, for example, may be detected as Spanish.
"""

import functools
import importlib.resources
import re
import tomllib
from collections import Counter

from tinyedge.corpus.document import UNKNOWN_LANGUAGE

LANGUAGES = ("en", "es")
MIN_SCORE = 1.0  # one word that only this language has; a lower score is too weak
MIN_SHARE = 0.08  # score per word; English and Spanish prose has 0.2 to 0.4
MARGIN = 1.25  # smallest ratio between the best and the second-best score
_WORD = re.compile(r"[^\W\d_]+")


def detect_language(text: str) -> str:
    """Return "en" or "es" by the share of function words, or "und" if no language leads by a margin."""
    words = _WORD.findall(text.lower())
    scores = {
        language: sum(weights.get(word, 0.0) for word in words)
        for language, weights in _load_word_weights().items()
    }
    best, second = sorted(scores, key=lambda language: scores[language], reverse=True)[:2]
    is_confident = (
        scores[best] >= max(MIN_SCORE, MIN_SHARE * len(words)) and scores[best] >= MARGIN * scores[second]
    )
    return best if is_confident and best in LANGUAGES else UNKNOWN_LANGUAGE


@functools.cache
def _load_word_weights() -> dict[str, dict[str, float]]:
    """Load the function words of each language; a word's weight is 1 / (number of languages that list it)."""
    data = importlib.resources.files("tinyedge.corpus").joinpath("data/function_words.toml")
    lists = {
        language: set(words.split()) for language, words in tomllib.loads(data.read_text("utf-8")).items()
    }
    shared = Counter(word for words in lists.values() for word in words)
    return {language: {word: 1 / shared[word] for word in words} for language, words in lists.items()}
