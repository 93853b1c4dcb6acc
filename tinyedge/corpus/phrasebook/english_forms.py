"""English inflection by rules, with exceptions in data/phrasebook/en/verbs.txt and plurals.txt.

In: a dictionary form ("buy", "knife"). Out: its forms ("bought", "knives"), numbers in words, and texts with
correct articles. Does not know templates.
"""

import re
from functools import cache

from tinyedge.corpus.phrasebook.lexicon import find_data_folder

_VOWELS = "aeiou"
_ONES = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
_TENS = ["-", "-", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]

# The sound decides, not the letter: "an hour", but "a university", "a European", "a one-way ticket".
_ARTICLE = re.compile(r"\b([Aa]) (?=([\"']?)(\w+))")
_VOWEL_SOUND = re.compile(r"(?:hour|hono|honest|heir)", re.I)
_CONSONANT_SOUND = re.compile(r"(?:uni(?!n|m)|use|usual|euro|one\b|once|ut[ei]|ukulele|u-)", re.I)


@cache
def _load_irregular_verbs() -> dict[str, tuple[str, str]]:
    """Load the past and the participle of irregular verbs, by dictionary form."""
    lines = find_data_folder("en").joinpath("verbs.txt").read_text(encoding="utf-8").splitlines()
    rows = [line.split() for line in lines if line and not line.startswith(("#", "double:"))]
    return {base: (past, participle) for base, past, participle in rows}


@cache
def _load_doubling_verbs() -> frozenset[str]:
    """Load verbs of several syllables that double their last consonant: prefer, preferred."""
    lines = find_data_folder("en").joinpath("verbs.txt").read_text(encoding="utf-8").splitlines()
    return frozenset(word for line in lines if line.startswith("double:") for word in line.split()[1:])


@cache
def _load_irregular_plurals() -> dict[str, str]:
    lines = find_data_folder("en").joinpath("plurals.txt").read_text(encoding="utf-8").splitlines()
    rows = [line.split() for line in lines if line and not line.startswith("#")]
    return {row[0]: row[1] for row in rows}


def _doubles_consonant(verb: str) -> bool:
    if verb in _load_doubling_verbs():
        return True
    closed = re.fullmatch(r"[^aeiou]*(?:qu)?[aeiou][^aeiouwxy]", verb)
    return closed is not None


def inflect_present(verb: str, third_singular: bool) -> str:
    """Return the present tense: "carry" becomes "carries" in the third person singular."""
    if not third_singular:
        return "are" if verb == "be" else verb
    special = {"be": "is", "have": "has", "do": "does", "go": "goes"}
    if verb in special:
        return special[verb]
    return _add_s(verb)


def inflect_past(verb: str) -> str:
    """Return the past tense: "stop" becomes "stopped". The caller handles "were"."""
    if verb in _load_irregular_verbs():
        return _load_irregular_verbs()[verb][0]
    return _add_ed(verb)


def inflect_participle(verb: str) -> str:
    """Return the past participle: "write" becomes "written"."""
    if verb in _load_irregular_verbs():
        return _load_irregular_verbs()[verb][1]
    return _add_ed(verb)


def inflect_gerund(verb: str) -> str:
    """Return the -ing form: "stop" becomes "stopping"."""
    if verb.endswith("ie"):
        return verb[:-2] + "ying"
    if verb.endswith("e") and not verb.endswith(("ee", "oe", "ye")) and verb != "be":
        return verb[:-1] + "ing"
    return verb + (verb[-1] if _doubles_consonant(verb) else "") + "ing"


def _add_ed(verb: str) -> str:
    if verb.endswith("e"):
        return verb + "d"
    if verb.endswith("y") and verb[-2] not in _VOWELS:
        return verb[:-1] + "ied"
    return verb + (verb[-1] if _doubles_consonant(verb) else "") + "ed"


def _add_s(word: str) -> str:
    if word.endswith("y") and word[-2] not in _VOWELS:
        return word[:-1] + "ies"
    if word.endswith(("s", "x", "z", "ch", "sh")):
        return word + "es"
    return word + "s"


def pluralize(noun: str) -> str:
    """Return the plural of a noun phrase: "cup of tea" becomes "cups of tea".

    The inflected word is the one before the first preposition.
    """
    head, preposition, rest = noun, "", ""
    match = re.search(r" (?:of|with|for|from|in|on|to|at) ", noun)
    if match:
        head, preposition, rest = noun[: match.start()], match.group(), noun[match.end() :]
    before, space, last = head.rpartition(" ")
    return before + space + _load_irregular_plurals().get(last, _add_s(last)) + preposition + rest


def spell_number(value: int) -> str:
    """Spell a number from 0 to 99: 42 becomes "forty-two"."""
    if value < 20:
        return _ONES[value]
    tens, ones = divmod(value, 10)
    return _TENS[tens] + (f"-{_ONES[ones]}" if ones else "")


def fix_articles(text: str) -> str:
    """Correct "a apple" to "an apple", by the sound of the next word."""

    def correct_article(match: re.Match[str]) -> str:
        word = match.group(3)
        vowel = word[0].lower() in _VOWELS and not _CONSONANT_SOUND.match(word)
        if vowel or _VOWEL_SOUND.match(word) or re.match(r"(?:8|11\b|18\b)", word):
            return match.group(1) + "n "
        return match.group()

    return _ARTICLE.sub(correct_article, text)
