"""Text for tests that need many different words; the words have no meaning."""

import random


def syllable_lines(count: int = 3000) -> list[str]:
    """Return lines of invented words, always the same, enough for a vocabulary of 1100 pieces."""
    draw = random.Random(0)
    syllables = [first + vowel + last for first in "bdlmrst" for vowel in "aeioñú" for last in ("", "n", "s")]
    words = ["".join(draw.choices(syllables, k=draw.randint(1, 4))) for _ in range(1500)]
    return [" ".join(draw.choices(words, k=8)) for _ in range(count)]
