"""The content filter: a list of words, and text that ends before the first of them.

In: a list, and text as it comes. Out: what of the text may be shown. Compared is what a reader sees rather
than which characters spell it (`_symbols`), a character at a time, with all places at once where a listed
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
MAX_PATTERN = 100  # characters
FEWEST_LETTERS = 2  # of a word, and of what is found: "A55" is a road
FEWEST_BEFORE_STAR = 3
PROMPT_TAIL = 128  # symbols of the prompt that are looked at; longer than any phrase one would list
LONGEST_TAIL = 10_000  # characters of it, whatever they are

TILDE = "\u0303"  # combining; the only mark that tells words apart here: ano, año
JOINT, BREAK = " ", "."  # between words: what may stand inside a phrase, and what ends one
SEPARATORS = JOINT + BREAK
# Ends a word, or is a letter of one: both are tried.
LOOK_ALIKES = {"0": "o", "1": "il", "3": "e", "4": "a", "5": "s", "7": "t", "@": "a", "$": "s", "!": "i"}
BLANK = frozenset(
    "\u115f\u1160\u17b4\u17b5\u2065\u2800\u3164\uffa0"
)  # letters and signs by category, seen by nobody
STRETCHED = 3  # so many times in a row no word of the two languages has a letter: it counts as once or twice
KEPT_CHARACTERS = 1024  # whose symbols are remembered: a text has some hundred, a stranger's prompts any
HEAD = 3  # letters that tell most words from those of a list
NO_LETTER = re.compile(r"[\W\d_]")
THRICE = re.compile(r"(.)\1\1")

STAR = "*"  # at the end of a pattern: any end of the word
State: TypeAlias = tuple[int, str]  # where a word began, and its symbols so far

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
        self.whole: set[str] = set()
        self.starred: set[str] = set()
        self.beginnings: set[str] = set()
        found = []
        for number, line in enumerate(lines, 1):
            pattern = line.partition("#")[0].strip()
            if pattern and not (pattern[0] == "[" and pattern[-1] == "]"):
                try:
                    self._add(pattern)
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
        return cls(_lines(path), str(path))

    def watch(self, prompt: str = "") -> "ContentWatch":
        """For one text, which goes on where `prompt` ends."""
        return ContentWatch(self, prompt)

    def _add(self, pattern: str) -> None:
        """Takes a pattern in. Raises ValueError."""
        word = pattern.removesuffix(STAR)
        if len(word) > MAX_PATTERN:
            raise ValueError(f"a pattern has {len(word)} characters, at most {MAX_PATTERN} are allowed")
        plain = word.isascii() and word.isalpha()
        symbols = word.lower() if plain else _spelled(word)
        if stretched := THRICE.search(symbols):
            raise ValueError(f"{stretched[1]!r} three times in a row; once or twice finds that too")
        letters = len(symbols) if plain else sum(map(str.isalpha, symbols))
        fewest = FEWEST_LETTERS if word == pattern else FEWEST_BEFORE_STAR
        if letters < fewest:
            raise ValueError(f"{pattern!r} has {letters} letters, {fewest} are needed")
        (self.whole if word == pattern else self.starred).add(symbols)
        self.beginnings.update(itertools.accumulate(symbols))


class ContentWatch:
    """Lets text through up to the first listed word, and holds back what may be the beginning of one.

    How the text is cut in pieces makes no difference. The prompt is its writer's own: a listed word in it
    is let be, one that it begins and the text completes is found, and then nothing of it is shown.
    """

    def __init__(self, words: ContentFilter, prompt: str = "") -> None:
        self.stopped = False
        self._words = words
        self._states: list[State] = []  # words that may have begun
        self._once: list[State] = []  # the second time in a row: the states after the first
        self._last = ""  # symbol
        self._times = 0  # in a row
        self._letter_at = -1  # the last one of a word that may have begun
        tail = _tail(prompt)
        self._fresh = len(prompt) == len(tail)  # a letter would begin a word
        self._held = tail  # what was taken and not let through
        self._at = 0  # where that begins
        self._own = len(tail)  # where the text begins: nothing before it is let through
        self._walk(tail, 0)
        self._let_through()

    def push(self, text: str) -> str:
        """What of the text so far may be shown now."""
        if self.stopped:
            return ""
        at, held = self._at, self._held
        if not held:  # then no listed word may have begun
            word = text.removeprefix(JOINT)
            if word.isalpha() and not ((self._fresh or word != text) and self._may_begin(word[:HEAD])):
                self._at, self._fresh, self._last = at + len(text), False, ""
                return text  # as most tokens go: a part of a word that is on no list
        self._held += text
        start = self._walk(text, at + len(held))
        return self._let_through() if start is None else self._stop(start)

    def flush(self) -> str:
        """What was held back, once no more text comes: unless the text ends with a listed word."""
        if self.stopped:
            return ""
        start = self._first(self._ended(), self._at + len(self._held))
        self._states, self._once = [], []
        return self._let_through() if start is None else self._stop(start)

    def _walk(self, text: str, begin: int) -> int | None:
        """Takes text that stands at `begin`; where the first listed word that it completes began."""
        at, end = 0, len(text)
        while at < end:
            if not self._states and not self._once:
                # Most text is inside words that are on no list: there, only their end matters.
                if not self._fresh:
                    separator = NO_LETTER.search(text, at)
                    if separator is None:
                        return None
                    at = separator.start()
                    self._last = ""
                if text[at] == JOINT:
                    self._last, self._fresh = JOINT, True
                    at += 1
                    continue
                if self._fresh and not self._may_begin(text[at : at + HEAD]):
                    self._fresh = False
                    continue
            for symbol in _symbols(text[at]):
                if symbol in SEPARATORS and not self._states:
                    self._last, self._once, self._fresh = symbol, [], True
                elif ended := self._take(symbol, begin + at):
                    start = self._first(ended, begin + at + 1)
                    if start is not None:
                        return start
            at += 1
        return None

    def _may_begin(self, head: str) -> bool:
        """Whether a listed word may begin with these letters; they are all that there is, or HEAD of them."""
        # Of equal letters at their end there may be more to come, and those would count as fewer.
        if not (head.isascii() and head.isalpha()) or head[-1:] == head[-2:-1]:
            return True
        return head.lower() in self._words.beginnings

    def _take(self, symbol: str, at: int) -> list[int]:
        """Takes a symbol of the character at `at`; where the listed words that it completes began."""
        if symbol == TILDE and self._last != "n":
            return []
        self._times = self._times + 1 if symbol == self._last else 1
        self._last = symbol
        states = self._states
        separates = symbol[0] in SEPARATORS
        letters = symbol[1:] if separates else symbol
        if letters and self._times >= STRETCHED:
            self._states, self._once = states + self._once, []
            return []
        ended = self._ended() if separates else []
        self._once = states if letters and self._times == STRETCHED - 1 else []
        begun = [*states, (at, "")] if self._fresh and letters else states
        beginnings = self._words.beginnings
        self._states = states = [
            (start, longer)
            for start, word in begun
            for letter in letters or symbol
            if (longer := word if letter == JOINT and word[-1:] == JOINT else word + letter) in beginnings
        ]
        self._fresh = separates
        if letters:
            self._letter_at = at
            if at >= self._own:
                ended += [start for start, word in states if word in self._words.starred]
        return ended

    def _ended(self) -> list[int]:
        """Where the listed words began that end here, if nothing follows; not those of the prompt alone."""
        if self._letter_at < self._own:
            return []
        return [start for start, word in self._states if word in self._words.whole]

    def _first(self, starts: list[int], end: int) -> int | None:
        """The first of the words that began at `starts` and end before `end`, if spelled in letters."""
        spelled = [
            start
            for start in starts
            if sum(map(_is_letter, self._held[start - self._at : end - self._at])) >= FEWEST_LETTERS
        ]
        return min(spelled, default=None)

    def _let_through(self) -> str:
        """All that belongs to no word that may have begun."""
        if self._states or self._once:
            return self._release(min(start for start, _ in self._states + self._once))
        return self._release(self._at + len(self._held))

    def _stop(self, start: int) -> str:
        """What stands before the listed word that began at `start`; no more text comes."""
        self.stopped = True
        shown = self._release(start)
        self._held, self._states, self._once = "", [], []
        return shown

    def _release(self, end: int) -> str:
        count = end - self._at
        shown = self._held[max(self._own - self._at, 0) : count]
        self._held = self._held[count:]
        self._at = end
        return shown


def _tail(prompt: str) -> str:
    """Its end, as far as a word may reach back: what nobody sees, and what is said again, does not count."""
    if len(prompt) <= PROMPT_TAIL:
        return prompt
    seen, last, at = 0, None, len(prompt)
    while at > max(0, len(prompt) - LONGEST_TAIL) and seen < PROMPT_TAIL:
        at -= 1
        symbols = _symbols(prompt[at])
        if symbols and symbols != last:
            seen, last = seen + 1, symbols
    return prompt[at:]


def _is_letter(char: str) -> bool:
    """Whether it is a letter by itself, and not by what it resembles."""
    return any(symbol[0] not in SEPARATORS and symbol != TILDE for symbol in _symbols(char))


@functools.lru_cache(KEPT_CHARACTERS)
def _symbols(char: str) -> tuple[str, ...]:
    """What a character looks like: letters, JOINT, BREAK, or BREAK and the letters that it resembles.

    Compatibility forms (wide, bold, ligatures) and cases are one; marks go, but for the tilde; so does what
    nobody sees (zero width, soft hyphen, controls).
    """
    if char in BLANK:
        return ()
    if char in LOOK_ALIKES:
        return (BREAK + LOOK_ALIKES[char],)
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", char).casefold())
    if plain != char:
        return tuple(symbol for part in plain for symbol in ((part,) if part == TILDE else _symbols(part)))
    category = unicodedata.category(char)
    if char == TILDE or category[0] == "L":
        return (char,)
    if char.isspace() or category in ("Pd", "Pc"):
        return (JOINT,)
    return () if category in ("Mn", "Me", "Cf", "Cc") else (BREAK,)


def _spelled(word: str) -> str:
    """The symbols of a pattern, one JOINT between two words. Raises ValueError."""
    symbols = ""
    for char in word:
        for symbol in _symbols(char):
            if symbol[0] == BREAK:
                raise ValueError(f"{char!r} is no letter")
            doubled = symbol == JOINT and symbols[-1:] in ("", JOINT)
            if not doubled and (symbol != TILDE or symbols[-1:] == "n"):
                symbols += symbol
    return symbols.removesuffix(JOINT)


def _lines(path: Path) -> list[str]:
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
