"""The content filter: a list of words, and text that ends before the first of them.

In: a list, and text as it comes. Out: what of the text may be shown. Compared is what a reader sees rather
than which characters spell it (`_symbols`), a character at a time, by walking a tree of the list's words with
all places at once where one may have begun: what a character costs is bounded by the longest word, and no
pattern can make it hang. Knows no model and no meaning: docs/filter.md says what that is worth.
"""

import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias

from tinyedge import files
from tinyedge.errors import FilterError

LIST_FILE = Path(__file__).parent / "data" / "blocked_words.txt"
MAX_LIST_BYTES = 1 << 20
MAX_PATTERN = 100  # characters
FEWEST_LETTERS = 2  # of a word, and of what is found: "A55" is a road
FEWEST_BEFORE_STAR = 3
PROMPT_TAIL = 128  # characters of the prompt that are looked at; longer than any phrase one would list

TILDE = "\u0303"  # combining; the only mark that tells words apart here: ano, año
JOINT, BREAK = " ", "."  # between words: what may stand inside a phrase, and what ends one
SEPARATORS = JOINT + BREAK
# Ends a word, or is a letter of one: both are tried.
LOOK_ALIKES = {"0": "o", "1": "il", "3": "e", "4": "a", "5": "s", "7": "t", "@": "a", "$": "s", "!": "i"}
STRETCHED = 3  # so many times in a row no word of the two languages has a letter: it counts as once or twice

# A node's children by letter or JOINT. WHOLE: a listed word ends here. ANY_END: whatever follows.
Node: TypeAlias = dict[str, "Node"]
WHOLE, ANY_END = "", "*"
State: TypeAlias = tuple[int, Node]  # where a word began, and how far in the tree it is

_KNOWN: dict[str, tuple[str, ...]] = {}  # symbols of the characters that were asked for


class ContentFilter:
    """Words that are not to be shown. Never changes: any number of texts may be watched at once.

    lines: of a list: a word each, several (a phrase), or the beginning of a word and a star; blank lines,
    comments (#) and headings ([en]) are passed over. patterns: what is left of them. Raises FilterError,
    naming `source` and the line that cannot work.
    """

    def __init__(self, lines: Iterable[str], source: str = "the filter") -> None:
        self._root: Node = {}
        found = []
        for number, line in enumerate(lines, 1):
            pattern = line.partition("#")[0].strip()
            if pattern and not (pattern[0] == "[" and pattern[-1] == "]"):
                self._add(pattern, f"{source}, line {number}")
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
        return ContentWatch(self._root, prompt)

    def _add(self, pattern: str, where: str) -> None:
        """Puts a pattern into the tree. Raises FilterError."""
        word = pattern.removesuffix(ANY_END)
        symbols = _spelled(word, where)
        letters = sum(symbol not in (JOINT, TILDE) for symbol in symbols)
        fewest = FEWEST_LETTERS if word == pattern else FEWEST_BEFORE_STAR
        if letters < fewest:
            raise FilterError(
                f"{where}: {pattern!r:.40} has {letters} letters, {fewest} are needed",
                "a shorter one would block what nobody means",
            )
        node = self._root
        for symbol in symbols:
            node = node.setdefault(symbol, {})
            if symbol == JOINT:
                node[JOINT] = node  # several spaces are one
        node[WHOLE if word == pattern else ANY_END] = {}


class ContentWatch:
    """Lets text through up to the first listed word, and holds back what may be the beginning of one.

    How the text is cut in pieces makes no difference. The prompt is its writer's own: a listed word in it
    is let be, one that it begins and the text completes is found, and then nothing of it is shown.
    """

    def __init__(self, root: Node, prompt: str = "") -> None:
        self.stopped = False
        self._root = root
        self._states: list[State] = []  # words that may have begun
        self._once: list[State] = []  # the second time in a row: the states after the first
        self._last = ""  # symbol
        self._times = 0  # in a row
        self._fresh = len(prompt) <= PROMPT_TAIL  # a letter would begin a word
        self._held = ""  # text that was taken and not let through; the prompt's part is never let through
        self._at = 0  # where it begins
        self._own = 0  # where the text begins, and the prompt ends
        tail = prompt[-PROMPT_TAIL:]
        self._walk(tail, keep_on=True)
        self._own = len(tail)
        # Words that are whole in the prompt are no matter of the text.
        self._states = [(start, _without_end(node)) for start, node in self._states]
        self._let_through()

    def push(self, text: str) -> str:
        """What of the text so far may be shown now."""
        if self.stopped:
            return ""
        start = self._walk(text)
        return self._let_through() if start is None else self._stop(start)

    def flush(self) -> str:
        """What was held back, once no more text comes: unless the text ends with a listed word."""
        if self.stopped:
            return ""
        end = self._at + len(self._held)
        start = self._first([start for start, node in self._states if WHOLE in node], end)
        self._states, self._once = [], []
        return self._let_through() if start is None else self._stop(start)

    def _walk(self, text: str, keep_on: bool = False) -> int | None:
        """Takes text; where the first listed word that it completes began. keep_on: look for none."""
        begin = self._at + len(self._held)
        self._held += text
        for at, char in enumerate(text, begin):
            symbols = _KNOWN.get(char)
            if symbols is None:
                symbols = _KNOWN[char] = _symbols(char)
            for symbol in symbols:
                # Most text is inside words that are on no list: there, only their end matters.
                if self._states or self._fresh or self._once or symbol[0] in SEPARATORS:
                    found = self._first(self._take(symbol, at), at + 1)
                    if found is not None and not keep_on:
                        return found
        return None

    def _take(self, symbol: str, at: int) -> list[int]:
        """Takes a symbol of the character at `at`; where the listed words that it completes began."""
        if symbol == TILDE and self._last != "n":
            return []
        self._times = self._times + 1 if symbol == self._last else 1
        self._last = symbol
        separates = symbol[0] in SEPARATORS
        letters = symbol[1:] if separates else symbol
        states, ended = self._states, []
        if letters and self._times >= STRETCHED:
            self._states, self._once = states + self._once, []
            return []
        if separates:
            ended = [start for start, node in states if WHOLE in node]
        self._once = states if letters and self._times == STRETCHED - 1 else []
        if letters:
            if self._fresh:
                states = [*states, (at, self._root)]
            states = [(start, node[each]) for start, node in states for each in letters if each in node]
            ended += [start for start, node in states if ANY_END in node]
        else:
            states = [(start, node[symbol]) for start, node in states if symbol in node]
        self._states = states
        self._fresh = separates
        return ended

    def _first(self, starts: list[int], end: int) -> int | None:
        """The first of the words that began at `starts` and end before `end`, if spelled in letters."""
        spelled = [
            start
            for start in starts
            if sum(map(str.isalpha, self._held[start - self._at : end - self._at])) >= FEWEST_LETTERS
        ]
        return min(spelled, default=None)

    def _let_through(self) -> str:
        """All that belongs to no word that may have begun."""
        end = self._at + len(self._held)
        if self._states or self._once:
            end = min(start for start, _ in self._states + self._once)
        return self._release(end)

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


def _symbols(char: str) -> tuple[str, ...]:
    """What a character looks like: letters, JOINT, BREAK, or BREAK and the letters that it resembles.

    Compatibility forms (wide, bold, ligatures) and cases are one; marks go, but for the tilde; so does what
    nobody sees (zero width, soft hyphen, controls).
    """
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


def _spelled(word: str, where: str) -> list[str]:
    """The symbols of a pattern, one JOINT between two words. Raises FilterError."""
    if len(word) > MAX_PATTERN:
        raise FilterError(f"{where}: a pattern has {len(word)} characters, at most {MAX_PATTERN} are allowed")
    symbols: list[str] = []
    for char in word:
        for symbol in _symbols(char):
            if symbol[0] == BREAK:
                raise FilterError(
                    f"{where}: {char!r} is no letter",
                    "letters, spaces between words and a star at the end make a pattern; digits and signs"
                    " that look like letters are found by themselves",
                )
            if symbol == JOINT and symbols[-1:] in ([], [JOINT]):
                continue
            if symbol == TILDE and symbols[-1:] != ["n"]:
                continue
            if symbols[-2:] == [symbol, symbol]:
                raise FilterError(
                    f"{where}: {symbol!r} three times in a row",
                    "write it once or twice: that finds three and more too",
                )
            symbols.append(symbol)
    return symbols[:-1] if symbols[-1:] == [JOINT] else symbols


def _without_end(node: Node) -> Node:
    return {key: child for key, child in node.items() if key != WHOLE}


def _lines(path: Path) -> list[str]:
    """A list's lines. Raises FilterError."""
    files.require_file(path, FilterError)
    size = path.stat().st_size
    if size > MAX_LIST_BYTES:
        raise FilterError(f"{path} has {size} bytes, at most {MAX_LIST_BYTES} are allowed")
    raw = path.read_bytes()
    try:
        return raw.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as failure:
        number = raw.count(b"\n", 0, failure.start) + 1
        raise FilterError(
            f"{path}, line {number} is not UTF-8", "convert the file with iconv -t UTF-8"
        ) from None
