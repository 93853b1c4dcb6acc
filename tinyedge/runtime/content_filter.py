"""The content filter: a list of words, and text that ends before the first of them.

In: a list, and text as it comes. Out: what of the text may be shown. Compared is what a reader sees rather
than which characters spell it (`_to_symbols`), a character at a time, with all places at once where a listed
word may have begun: what a character costs is bounded by the longest word, and no pattern can make it hang.
Knows no model and no meaning: docs/filter.md says what that is worth.
"""

import functools
import itertools
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
MIN_LETTERS = 2  # of a word, and of what is found: "A55" is a road
MIN_STEM_LETTERS = 3
PROMPT_TAIL_SYMBOLS = 128  # symbols of the prompt that are looked at; longer than any phrase one would list
MAX_TAIL_LENGTH = 10_000  # characters of it, whatever they are

TILDE = "\u0303"  # combining; the only mark that tells words apart here: ano, año
WORD_GAP, PHRASE_END = " ", "."  # between words: what may stand inside a phrase, and what ends one
SEPARATORS = WORD_GAP + PHRASE_END
# Ends a word, or is a letter of one: both are tried.
LOOKALIKES = {"0": "o", "1": "il", "3": "e", "4": "a", "5": "s", "7": "t", "@": "a", "$": "s", "!": "i"}
INVISIBLE = frozenset(
    "\u115f\u1160\u17b4\u17b5\u2065\u2800\u3164\uffa0"
)  # letters and signs by category, seen by nobody
STRETCH_LENGTH = (
    3  # so many times in a row no word of the two languages has a letter: it counts as once or twice
)
SYMBOL_CACHE_SIZE = 1024  # whose symbols are remembered: a text has some hundred, a stranger's prompts any
PREFIX_LENGTH = 3  # letters that tell most words from those of a list
NON_LETTER = re.compile(r"[\W\d_]")
TRIPLE = re.compile(r"(.)\1\1")

STAR = "*"  # at the end of a pattern: any end of the word
PartialMatch: TypeAlias = tuple[int, str]  # where a word began, and its symbols so far

HINT = (
    "a pattern is letters, spaces between words, and a star at its end; digits that look like letters are"
    " found by themselves"
)


class ContentFilter:
    """Words that are not to be shown. Never changes: any number of texts may be watched at once.

    lines: of a list: a word each, several (a phrase), or the beginning of a word and a star; blank lines,
    comments (#) and headings ([en]) are passed over. patterns: what is left of them. Raises FilterError,
    naming `source` and the line that cannot work.
    """

    def __init__(self, lines: Iterable[str], source: str = "the filter") -> None:
        # In symbols: listed words, those that stand for any end, and every beginning of both.
        self.words: set[str] = set()
        self.stems: set[str] = set()
        self.prefixes: set[str] = set()
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
            raise FilterError(f"{source} has no words", "list some, a word a line, or pass --no-filter")
        self.patterns = tuple(found)

    @classmethod
    def load(cls, path: Path | None = None) -> "ContentFilter":
        """Reads a list, by default the one that comes with tinyedge, English and Spanish.

        Raises FilterError, naming the file and the line that cannot work.
        """
        path = path or LIST_FILE
        return cls(_read_lines(path), str(path))

    def watch(self, prompt: str = "") -> "ContentMatcher":
        """For one text, which goes on where `prompt` ends."""
        return ContentMatcher(self, prompt)

    def _add_pattern(self, pattern: str) -> None:
        """Takes a pattern in. Raises ValueError."""
        word = pattern.removesuffix(STAR)
        if len(word) > MAX_PATTERN_LENGTH:
            raise ValueError(
                f"a pattern has {len(word)} characters, at most {MAX_PATTERN_LENGTH} are allowed"
            )
        plain = word.isascii() and word.isalpha()
        symbols = word.lower() if plain else _normalize_pattern(word)
        if repeated := TRIPLE.search(symbols):
            raise ValueError(f"{repeated[1]!r} three times in a row; once or twice finds that too")
        letters = len(symbols) if plain else sum(map(str.isalpha, symbols))
        minimum = MIN_LETTERS if word == pattern else MIN_STEM_LETTERS
        if letters < minimum:
            raise ValueError(f"{pattern!r} has {letters} letters, {minimum} are needed")
        (self.words if word == pattern else self.stems).add(symbols)
        self.prefixes.update(itertools.accumulate(symbols))


class ContentMatcher:
    """Lets text through up to the first listed word, and holds back what may be the beginning of one.

    How the text is cut in pieces makes no difference. The prompt is its writer's own: a listed word in it
    is let be, one that it begins and the text completes is found, and then nothing of it is shown.
    """

    def __init__(self, content_filter: ContentFilter, prompt: str = "") -> None:
        self.stopped = False
        self._content_filter = content_filter
        self._partial_matches: list[PartialMatch] = []  # words that may have begun
        self._unrepeated_matches: list[
            PartialMatch
        ] = []  # the second time in a row: the states after the first
        self._last_symbol = ""  # symbol
        self._repeat_count = 0  # in a row
        self._last_letter_at = -1  # the last one of a word that may have begun
        tail = _find_tail(prompt)
        self._at_word_start = len(prompt) == len(tail)  # a letter would begin a word
        self._pending = tail  # what was taken and not let through
        self._pending_start = 0  # where that begins
        self._text_start = len(tail)  # where the text begins: nothing before it is let through
        self._scan(tail, 0)
        self._release_safe_text()

    def push(self, text: str) -> str:
        """What of the text so far may be shown now."""
        if self.stopped:
            return ""
        at, held = self._pending_start, self._pending
        if not held:  # then no listed word may have begun
            word = text.removeprefix(WORD_GAP)
            if word.isalpha() and not (
                (self._at_word_start or word != text) and self._may_begin(word[:PREFIX_LENGTH])
            ):
                self._pending_start, self._at_word_start, self._last_symbol = at + len(text), False, ""
                return text  # as most tokens go: a part of a word that is on no list
        self._pending += text
        start = self._scan(text, at + len(held))
        return self._release_safe_text() if start is None else self._stop_at(start)

    def flush(self) -> str:
        """What was held back, once no more text comes: unless the text ends with a listed word."""
        if self.stopped:
            return ""
        start = self._select_first(self._find_complete_words(), self._pending_start + len(self._pending))
        self._partial_matches, self._unrepeated_matches = [], []
        return self._release_safe_text() if start is None else self._stop_at(start)

    def _scan(self, text: str, begin: int) -> int | None:
        """Takes text that stands at `begin`; where the first listed word that it completes began."""
        at, end = 0, len(text)
        while at < end:
            if not self._partial_matches and not self._unrepeated_matches:
                # Most text is inside words that are on no list: there, only their end matters.
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
                elif ended := self._advance(symbol, begin + at):
                    start = self._select_first(ended, begin + at + 1)
                    if start is not None:
                        return start
            at += 1
        return None

    def _may_begin(self, head: str) -> bool:
        """Whether a listed word may begin with these letters; they are all that there is, or PREFIX_LENGTH of them."""
        # Of equal letters at their end there may be more to come, and those would count as fewer.
        if not (head.isascii() and head.isalpha()) or head[-1:] == head[-2:-1]:
            return True
        return head.lower() in self._content_filter.prefixes

    def _advance(self, symbol: str, at: int) -> list[int]:
        """Takes a symbol of the character at `at`; where the listed words that it completes began."""
        if symbol == TILDE and self._last_symbol != "n":
            return []
        self._repeat_count = self._repeat_count + 1 if symbol == self._last_symbol else 1
        self._last_symbol = symbol
        states = self._partial_matches
        separates = symbol[0] in SEPARATORS
        letters = symbol[1:] if separates else symbol
        if letters and self._repeat_count >= STRETCH_LENGTH:
            self._partial_matches, self._unrepeated_matches = states + self._unrepeated_matches, []
            return []
        ended = self._find_complete_words() if separates else []
        self._unrepeated_matches = states if letters and self._repeat_count == STRETCH_LENGTH - 1 else []
        begun = [*states, (at, "")] if self._at_word_start and letters else states
        prefixes = self._content_filter.prefixes
        self._partial_matches = states = [
            (start, longer)
            for start, word in begun
            for letter in letters or symbol
            if (longer := word if letter == WORD_GAP and word[-1:] == WORD_GAP else word + letter) in prefixes
        ]
        self._at_word_start = separates
        if letters:
            self._last_letter_at = at
            if at >= self._text_start:
                ended += [start for start, word in states if word in self._content_filter.stems]
        return ended

    def _find_complete_words(self) -> list[int]:
        """Where the listed words began that end here, if nothing follows; not those of the prompt alone."""
        if self._last_letter_at < self._text_start:
            return []
        return [start for start, word in self._partial_matches if word in self._content_filter.words]

    def _select_first(self, starts: list[int], end: int) -> int | None:
        """The first of the words that began at `starts` and end before `end`, if spelled in letters."""
        spelled = [
            start
            for start in starts
            if sum(map(_is_letter, self._pending[start - self._pending_start : end - self._pending_start]))
            >= MIN_LETTERS
        ]
        return min(spelled, default=None)

    def _release_safe_text(self) -> str:
        """All that belongs to no word that may have begun."""
        if self._partial_matches or self._unrepeated_matches:
            return self._release(min(start for start, _ in self._partial_matches + self._unrepeated_matches))
        return self._release(self._pending_start + len(self._pending))

    def _stop_at(self, start: int) -> str:
        """What stands before the listed word that began at `start`; no more text comes."""
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
    """Its end, as far as a word may reach back: what nobody sees, and what is said again, does not count."""
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
    """Whether it is a letter by itself, and not by what it resembles."""
    return any(symbol[0] not in SEPARATORS and symbol != TILDE for symbol in _to_symbols(char))


@functools.lru_cache(SYMBOL_CACHE_SIZE)
def _to_symbols(char: str) -> tuple[str, ...]:
    """What a character looks like: letters, WORD_GAP, PHRASE_END, or PHRASE_END and the letters that it resembles.

    Compatibility forms (wide, bold, ligatures) and cases are one; marks go, but for the tilde; so does what
    nobody sees (zero width, soft hyphen, controls).
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
    """The symbols of a pattern, one WORD_GAP between two words. Raises ValueError."""
    symbols = ""
    for char in word:
        for symbol in _to_symbols(char):
            if symbol[0] == PHRASE_END:
                raise ValueError(f"{char!r} is no letter")
            doubled = symbol == WORD_GAP and symbols[-1:] in ("", WORD_GAP)
            if not doubled and (symbol != TILDE or symbols[-1:] == "n"):
                symbols += symbol
    return symbols.removesuffix(WORD_GAP)


def _read_lines(path: Path) -> list[str]:
    """A list's lines. Raises FilterError."""
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
