"""Text in; "en", "es" or "und" out.

Counts function words: they are a third of any prose and hardly travel between languages. The neighbours
(French, German, Portuguese, Italian, Catalan) have lists too, only so that their text is undetermined. Knows
no other language: Galician, say, may pass for Spanish where the text is short.
"""

import functools
import importlib.resources
import re
import tomllib
from collections import Counter

from tinyedge.corpus.document import UNKNOWN_LANGUAGE

LANGUAGES = ("en", "es")
MIN_SCORE = 1.0  # below one word that only this language has, nothing is said
MIN_SHARE = 0.08  # score by word; English and Spanish prose has 0.2 to 0.4
MARGIN = 1.25  # how many times the score of the second language the first must have
_WORD = re.compile(r"[^\W\d_]+")


def detect_language(text: str) -> str:
    """The language of `text` by its share of function words, "und" where no language leads by a margin."""
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
    """By language: its function words, each worth one divided by the number of languages that list it."""
    data = importlib.resources.files("tinyedge.corpus").joinpath("data/function_words.toml")
    lists = {
        language: set(words.split()) for language, words in tomllib.loads(data.read_text("utf-8")).items()
    }
    shared = Counter(word for words in lists.values() for word in words)
    return {language: {word: 1 / shared[word] for word in words} for language, words in lists.items()}
