"""The content filter: a list of words, and text that ends before the first of them.

In: a list of patterns, and text in pieces. Out: the part of the text that may be shown. Does not know the
model and does not understand the text; docs/filter.md describes what such a filter can and cannot do.

Text is compared by its appearance, not by its code points: `_to_symbols` maps each character to symbols. The
matcher reads one character at a time and follows all positions where a listed word may have started. The cost
of a character is bounded by the length of the longest pattern, so no pattern can make it hang.
"""

import bisect
import functools
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias

from tinyedge.core import files
from tinyedge.core.errors import FilterError

LIST_FILE = Path(__file__).parent / "data" / "blocked_words.txt"
MAX_LIST_BYTES = 1 << 20
MAX_PATTERN_LENGTH = 100  # characters
MIN_LETTERS = 2  # of a pattern, and of a match in the text: "A55" has too few to be a word
MIN_STEM_LETTERS = 3  # before a star
PROMPT_TAIL_SYMBOLS = (
    128  # symbols at the end of the prompt that are compared; longer than a realistic phrase
)
MAX_TAIL_LENGTH = 10_000  # characters that are read for these symbols, even if there are fewer symbols

TILDE = "\u0303"  # combining; the only mark that distinguishes words here: ano, año
WORD_GAP, PHRASE_END = " ", "."  # symbols between words: one may stand inside a phrase, the other ends it
SEPARATORS = WORD_GAP + PHRASE_END
# Characters that can either end a word or replace one of its letters: both interpretations are tried.
LOOKALIKES = {"0": "o", "1": "il", "3": "e", "4": "a", "5": "s", "7": "t", "@": "a", "$": "s", "!": "i"}
# Letters and signs by Unicode category that are invisible on a screen.
INVISIBLE = frozenset("\u115f\u1160\u17b4\u17b5\u2065\u2800\u3164\uffa0")
STRETCH_LENGTH = 3  # no English or Spanish word repeats a letter so often: it also counts as one or two
SYMBOL_CACHE_SIZE = (
    1024  # characters; a normal text has about a hundred different ones, a prompt may have any
)
PREFIX_LENGTH = 3  # letters that distinguish most words from the listed ones
NON_LETTER = re.compile(r"[\W\d_]")
TRIPLE = re.compile(r"(.)\1\1")

STAR = "*"  # at the end of a pattern: any ending of the word
PartialMatch: TypeAlias = tuple[int, str]  # start of a word in the text, and its symbols so far

HINT = (
    "a pattern consists of letters, spaces between words, and an optional star at its end; digits that look"
    " like letters are matched automatically"
)


class ContentFilter:
    """Words that must not be shown. It is immutable: any number of texts can be filtered at the same time."""

    patterns: tuple[str, ...]
    """Patterns of the list, in its order, without comments and headings."""

    def __init__(self, lines: Iterable[str], source: str = "the filter") -> None:
        """Parse the lines of a list.

        Args:
            lines: One pattern a line: a word, a phrase, or the beginning of a word and a star. Blank lines,
                comments (#) and headings ([en]) are skipped.
            source: Name of the list in error messages.

        Raises:
            FilterError: A line is not a valid pattern, or there is no pattern; names `source` and the line.
        """
        # In symbols: complete words, and stems with any ending.
        self.words: set[str] = set()
        self.stems: set[str] = set()
        found = []
        for number, line in enumerate(lines, 1):
            pattern = line.partition("#")[0].strip()
            if pattern and not (pattern[0] == "[" and pattern[-1] == "]"):
                try:
                    self._add_pattern(pattern)
                except ValueError as failure:
                    raise FilterError(f"{source}, line {number}: {failure}", HINT) from None
                found.append(pattern)
        if not found:
            raise FilterError(f"{source} has no words", "list one word per line, or pass --no-filter")
        self.patterns = tuple(found)
        self._sorted = sorted(self.words | self.stems)
        self._heads = {word[:length] for length in range(1, PREFIX_LENGTH + 1) for word in self._sorted}

    @classmethod
    def load(cls, path: Path | None = None) -> "ContentFilter":
        """Read a list from a UTF-8 file.

        Args:
            path: The file; None reads the English and Spanish list that comes with tinyedge.

        Raises:
            FilterError: The file cannot be read or a line of it is invalid; names both.
        """
        path = path or LIST_FILE
        return cls(_read_lines(path), str(path))

    def watch(self, prompt: str = "") -> "ContentMatcher":
        """Create a matcher for one text, which continues `prompt`."""
        return ContentMatcher(self, prompt)

    def _add_pattern(self, pattern: str) -> None:
        """Add a pattern to the sets; ValueError explains why it is invalid."""
        word = pattern.removesuffix(STAR)
        if len(word) > MAX_PATTERN_LENGTH:
            raise ValueError(
                f"the pattern has {len(word)} characters, at most {MAX_PATTERN_LENGTH} are allowed"
            )
        is_plain = word.isascii() and word.isalpha()
        symbols = word.lower() if is_plain else _normalize_pattern(word)
        if repeated := TRIPLE.search(symbols):
            raise ValueError(
                f"{repeated[1]!r} is repeated three times; write it once or twice, which matches that too"
            )
        letters = len(symbols) if is_plain else sum(map(str.isalpha, symbols))
        minimum = MIN_LETTERS if word == pattern else MIN_STEM_LETTERS
        if letters < minimum:
            raise ValueError(f"{pattern!r} has {letters} letters, at least {minimum} are required")
        (self.words if word == pattern else self.stems).add(symbols)

    def is_prefix(self, symbols: str) -> bool:
        """Return whether a pattern is or begins with `symbols`."""
        if len(symbols) <= PREFIX_LENGTH:
            return symbols in self._heads
        # A set of all prefixes needs 137 MB for 1 MB of words of 100 letters; the sorted patterns need 3 MB.
        at = bisect.bisect_left(self._sorted, symbols)
        return at < len(self._sorted) and self._sorted[at].startswith(symbols)


class ContentMatcher:
    """Passes text through up to the first listed word, and holds back what may be the beginning of one.

    The result does not depend on how the text is split into pieces. The prompt is the user's own text: a
    listed word inside it is ignored. A word that starts in the prompt and ends in the text is a match, and no
    part of it is shown.
    """

    stopped: bool
    """Whether a listed word was found; no more text is passed through then."""

    def __init__(self, content_filter: ContentFilter, prompt: str = "") -> None:
        self.stopped = False
        self._content_filter = content_filter
        self._partial_matches: list[PartialMatch] = []  # listed words that may have started
        self._unrepeated_matches: list[PartialMatch] = []  # after a double letter: those without its second
        self._last_symbol = ""
        self._repeat_count = 0  # of the last symbol, in a row
        self._last_letter_at = -1  # position of the last letter of a partial match
        tail = _find_tail(prompt)
        self._at_word_start = len(prompt) == len(tail)  # whether a letter would start a word
        self._pending = tail  # text that was read and not passed through
        self._pending_start = 0  # position of its first character
        self._text_start = len(tail)  # position of the text: nothing before it is passed through
        self._scan(tail, 0)
        self._release_safe_text()

    def push(self, text: str) -> str:
        """Read the next piece of text and return what may be shown now."""
        if self.stopped:
            return ""
        start, pending = self._pending_start, self._pending
        if not pending:  # so there is no partial match
            word = text.removeprefix(WORD_GAP)
            starts_word = self._at_word_start or word != text
            if word.isalpha() and not (starts_word and self._may_begin(word[:PREFIX_LENGTH])):
                self._pending_start, self._at_word_start, self._last_symbol = start + len(text), False, ""
                return text  # the usual case: a part of a word that is not listed
        self._pending += text
        match = self._scan(text, start + len(pending))
        return self._release_safe_text() if match is None else self._stop_at(match)

    def flush(self) -> str:
        """Return the text held back, at the end of the text, without a listed word at its end."""
        if self.stopped:
            return ""
        end = self._pending_start + len(self._pending)
        match = self._select_first(self._find_complete_words(), end)
        self._partial_matches, self._unrepeated_matches = [], []
        return self._release_safe_text() if match is None else self._stop_at(match)

    def _scan(self, text: str, offset: int) -> int | None:
        """Read text at position `offset`; return the start of the first listed word that it completes."""
        at, end = 0, len(text)
        while at < end:
            if not self._partial_matches and not self._unrepeated_matches:
                # Most text is inside words that are not listed: only the end of such a word matters.
                if not self._at_word_start:
                    separator = NON_LETTER.search(text, at)
                    if separator is None:
                        return None
                    at = separator.start()
                    self._last_symbol = ""
                if text[at] == WORD_GAP:
                    self._last_symbol, self._at_word_start = WORD_GAP, True
                    at += 1
                    continue
                if self._at_word_start and not self._may_begin(text[at : at + PREFIX_LENGTH]):
                    self._at_word_start = False
                    continue
            for symbol in _to_symbols(text[at]):
                if symbol in SEPARATORS and not self._partial_matches:
                    self._last_symbol, self._unrepeated_matches, self._at_word_start = symbol, [], True
                elif starts := self._advance(symbol, offset + at):
                    first = self._select_first(starts, offset + at + 1)
                    if first is not None:
                        return first
            at += 1
        return None

    def _may_begin(self, head: str) -> bool:
        """Check whether a listed word may begin with `head`: PREFIX_LENGTH letters, or all there are."""
        # After two equal letters at the end, a third may follow, and three would count as one or two.
        if not (head.isascii() and head.isalpha()) or head[-1:] == head[-2:-1]:
            return True
        return self._content_filter.is_prefix(head.lower())

    def _advance(self, symbol: str, at: int) -> list[int]:
        """Extend all partial matches by a symbol of the character at position `at`.

        Returns:
            Start positions of the listed words that the symbol completes.
        """
        if symbol == TILDE and self._last_symbol != "n":
            return []
        self._repeat_count = self._repeat_count + 1 if symbol == self._last_symbol else 1
        self._last_symbol = symbol
        matches = self._partial_matches
        is_separator = symbol[0] in SEPARATORS
        letters = symbol[1:] if is_separator else symbol
        if letters and self._repeat_count >= STRETCH_LENGTH:
            self._partial_matches, self._unrepeated_matches = matches + self._unrepeated_matches, []
            return []
        completed = self._find_complete_words() if is_separator else []
        self._unrepeated_matches = matches if letters and self._repeat_count == STRETCH_LENGTH - 1 else []
        started = [*matches, (at, "")] if self._at_word_start and letters else matches
        is_prefix = self._content_filter.is_prefix
        self._partial_matches = matches = [
            (start, longer)
            for start, word in started
            for letter in letters or symbol
            if is_prefix(longer := word if letter == WORD_GAP and word[-1:] == WORD_GAP else word + letter)
        ]
        self._at_word_start = is_separator
        if letters:
            self._last_letter_at = at
            if at >= self._text_start:
                completed += [start for start, word in matches if word in self._content_filter.stems]
        return completed

    def _find_complete_words(self) -> list[int]:
        """Find the starts of the listed words that end here if no letter follows; ignore the prompt's own."""
        if self._last_letter_at < self._text_start:
            return []
        return [start for start, word in self._partial_matches if word in self._content_filter.words]

    def _select_first(self, starts: list[int], end: int) -> int | None:
        """Return the first of `starts` whose word, which ends before `end`, is spelled with letters."""
        base, pending = self._pending_start, self._pending
        spelled = [
            start
            for start in starts
            if sum(map(_is_letter, pending[start - base : end - base])) >= MIN_LETTERS
        ]
        return min(spelled, default=None)

    def _release_safe_text(self) -> str:
        """Pass through everything before the first partial match."""
        if self._partial_matches or self._unrepeated_matches:
            return self._release(min(start for start, _ in self._partial_matches + self._unrepeated_matches))
        return self._release(self._pending_start + len(self._pending))

    def _stop_at(self, start: int) -> str:
        """Pass through the text before the listed word at `start`, and nothing after it."""
        self.stopped = True
        shown = self._release(start)
        self._pending, self._partial_matches, self._unrepeated_matches = "", [], []
        return shown

    def _release(self, end: int) -> str:
        count = end - self._pending_start
        shown = self._pending[max(self._text_start - self._pending_start, 0) : count]
        self._pending = self._pending[count:]
        self._pending_start = end
        return shown


def _find_tail(prompt: str) -> str:
    """Return the end of a prompt in which a word may start; invisible and repeated symbols do not count."""
    if len(prompt) <= PROMPT_TAIL_SYMBOLS:
        return prompt
    seen, last, at = 0, None, len(prompt)
    while at > max(0, len(prompt) - MAX_TAIL_LENGTH) and seen < PROMPT_TAIL_SYMBOLS:
        at -= 1
        symbols = _to_symbols(prompt[at])
        if symbols and symbols != last:
            seen, last = seen + 1, symbols
    return prompt[at:]


def _is_letter(char: str) -> bool:
    """Check whether a character is a letter itself, not only similar to one."""
    return any(symbol[0] not in SEPARATORS and symbol != TILDE for symbol in _to_symbols(char))


@functools.lru_cache(SYMBOL_CACHE_SIZE)
def _to_symbols(char: str) -> tuple[str, ...]:
    """Map a character to what it looks like.

    Compatibility forms (wide, bold, ligatures) and upper and lower case are the same. Marks other than the
    tilde are dropped, as are invisible characters (zero width, soft hyphen, controls).

    Returns:
        Symbols: each a letter, WORD_GAP, PHRASE_END, or PHRASE_END followed by the letters it resembles.
    """
    if char in INVISIBLE:
        return ()
    if char in LOOKALIKES:
        return (PHRASE_END + LOOKALIKES[char],)
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", char).casefold())
    if plain != char:
        return tuple(symbol for part in plain for symbol in ((part,) if part == TILDE else _to_symbols(part)))
    category = unicodedata.category(char)
    if char == TILDE or category[0] == "L":
        return (char,)
    if char.isspace() or category in ("Pd", "Pc"):
        return (WORD_GAP,)
    return () if category in ("Mn", "Me", "Cf", "Cc") else (PHRASE_END,)


def _normalize_pattern(word: str) -> str:
    """Convert a pattern to symbols, one WORD_GAP between words; ValueError if it has a non-letter."""
    symbols = ""
    for char in word:
        for symbol in _to_symbols(char):
            if symbol[0] == PHRASE_END:
                raise ValueError(f"{char!r} is not a letter")
            is_doubled = symbol == WORD_GAP and symbols[-1:] in ("", WORD_GAP)
            if not is_doubled and (symbol != TILDE or symbols[-1:] == "n"):
                symbols += symbol
    return symbols.removesuffix(WORD_GAP)


def _read_lines(path: Path) -> list[str]:
    """Read the lines of a list; FilterError if the file is too large or not UTF-8."""
    files.require_file(path, FilterError)
    size = path.stat().st_size
    if size > MAX_LIST_BYTES:
        raise FilterError(f"{path} has {size} bytes, at most {MAX_LIST_BYTES} are allowed")
    raw = path.read_bytes()
    try:
        return raw.decode("utf-8").removeprefix("\ufeff").splitlines()
    except UnicodeDecodeError as failure:
        number = raw.count(b"\n", 0, failure.start) + 1
        raise FilterError(
            f"{path}, line {number} is not UTF-8", "convert the file with iconv -t UTF-8"
        ) from None
