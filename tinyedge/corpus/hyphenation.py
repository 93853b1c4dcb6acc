"""Join a word that a line break cut, and the lines around the break.

In: two lines of a paragraph, and the lines around them. Out: their text as one. Does not decide whether lines
belong together.

A soft hyphen at the end of a line is removed, and the word joined. A hyphen is ambiguous: "exam-/ple" is
one word, but "well-/known" keeps its hyphen. The form that the lines around contain decides. If they
contain neither form, the other cases in the same text decide. Without any, the hyphen stays, because then
nothing is lost. No space is inserted in any of these cases, nor in scripts without spaces between words.
"""

import itertools
import re
from collections import deque
from collections.abc import Iterable

from tinyedge.corpus.characters import SOFT_HYPHEN, UNSPACED

BEHIND_LINES = 200  # lines that are kept to look for words in
# Languages write "two- and three-year-old" with the space.
_CONJUNCTIONS = frozenset(
    ("and", "or", "to", "und", "oder", "bis", "bzw", "noch", "sowie", "y", "o", "e", "u", "et", "ou", "i")
)
_CUT_WORD = re.compile(r"([^\W\d_]+)-$")
_REST = re.compile(r"[^\W\d_]+")
_DIGITS = re.compile(r"\d[-–]$")


class WordJoiner:
    """Joins lines of one text, and counts the cut words that it writes with and without hyphen."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque()
        self._behind = 0
        self._removed = 0
        self._retained = 0

    def look_ahead(self, lines: Iterable[str]) -> None:
        """Add the next lines to those that are searched for a word."""
        self._lines.extend(lines)

    def forget(self, number: int) -> None:
        """Move on by a number of lines; only the last BEHIND_LINES before this position are kept."""
        self._behind += number
        while self._behind > BEHIND_LINES:
            self._lines.popleft()
            self._behind -= 1

    def join(self, first: str, second: str) -> tuple[str, str, bool]:
        """Return the two lines so that one follows the other directly, and whether a word was joined."""
        first, second = first.rstrip(), second.lstrip()
        if UNSPACED.match(first[-1:]) and UNSPACED.match(second):
            return first, second, False
        if first.endswith(SOFT_HYPHEN):
            return first.rstrip(SOFT_HYPHEN), second, True
        if _DIGITS.search(first) and second[:1].isdigit():
            return first, second, True
        cut, rest = _CUT_WORD.search(first), _REST.match(second)
        if not cut or not rest or not rest[0][0].islower() or rest[0] in _CONJUNCTIONS:
            return f"{first} ", second, False
        return (first[:-1] if self._is_one_word(cut[1], rest[0]) else first), second, True

    def _is_one_word(self, start: str, rest: str) -> bool:
        known = self._compare_forms(start, rest)
        if known == 0 and self._removed == self._retained:  # nothing before decides: look at the next cases
            for first, second in itertools.pairwise(self._lines):
                cut, end = _CUT_WORD.search(first.rstrip()), _REST.match(second.lstrip())
                if cut and end:
                    self._compare_forms(cut[1], end[0])
        return known > 0 if known else self._removed > self._retained

    def _compare_forms(self, start: str, rest: str) -> int:
        """Return how much more often the lines around contain a word without its hyphen than with it."""
        text = "\n".join(self._lines)
        one = len(re.findall(rf"\b{start}{rest}\b", text, re.IGNORECASE))
        two = len(re.findall(rf"\b{start}-{rest}\b", text, re.IGNORECASE))
        self._removed += one > two
        self._retained += two > one
        return one - two
