"""Spanish nouns, adjectives, determiners and numbers by rules.

In: a dictionary form ("lápiz", "flor/f", "pequeño", "el"). Out: gender, plural, agreement, numbers in words,
contractions (al, del), and e and u for y and o ("padre e hijo"). Does not know templates.
"""

import re
from dataclasses import dataclass

_FEMININE = ("a", "ción", "sión", "dad", "tad", "tud", "umbre", "gión")
_PLAIN = str.maketrans("áéíóú", "aeiou")
# Feminine nouns that begin with a stressed a have el and un in the singular.
_STRESSED_A = frozenset(
    [
        "agua",
        "águila",
        "arpa",
        "haya",
        "aula",
        "área",
        "hambre",
        "alma",
        "hacha",
        "ancla",
        "arma",
        "ave",
        "aspa",
    ]
)
# masculine, feminine, masculine plural, feminine plural
_DETERMINERS = {
    "el": ("el", "la", "los", "las"),
    "un": ("un", "una", "unos", "unas"),
    "algún": ("algún", "alguna", "algunos", "algunas"),
    "ningún": ("ningún", "ninguna", "ningunos", "ningunas"),
    "este": ("este", "esta", "estos", "estas"),
    "ese": ("ese", "esa", "esos", "esas"),
    "aquel": ("aquel", "aquella", "aquellos", "aquellas"),
    "lo": ("lo", "la", "los", "las"),
}
_ONES = [
    "cero",
    "uno",
    "dos",
    "tres",
    "cuatro",
    "cinco",
    "seis",
    "siete",
    "ocho",
    "nueve",
    "diez",
    "once",
    "doce",
    "trece",
    "catorce",
    "quince",
    "dieciséis",
    "diecisiete",
    "dieciocho",
    "diecinueve",
    "veinte",
    "veintiuno",
    "veintidós",
    "veintitrés",
    "veinticuatro",
    "veinticinco",
    "veintiséis",
    "veintisiete",
    "veintiocho",
    "veintinueve",
]
_TENS = ["-", "-", "-", "treinta", "cuarenta", "cincuenta", "sesenta", "setenta", "ochenta", "noventa"]
# Words whose accent mark does not follow the rules, and loanwords.
_IRREGULAR_PLURALS = {
    "joven": "jóvenes",
    "examen": "exámenes",
    "imagen": "imágenes",
    "jersey": "jerséis",
    "anorak": "anoraks",
    "router": "routers",
    "cómic": "cómics",
}
_TAIL = re.compile(r" (?:de|del|con|para|en|a|al|sin|por|que|sobre) ")


@dataclass(frozen=True, slots=True)
class Noun:
    """A noun phrase: "tortilla de patatas", "coche rojo"."""

    text: str
    """The phrase without a determiner."""

    feminine: bool
    """Whether the noun is feminine."""

    plural: bool
    """Whether the phrase is in the plural."""

    @property
    def column(self) -> int:
        """Column of its determiners in `_DETERMINERS`."""
        return 2 * self.plural + self.feminine


def parse_noun(entry: str, plural: bool = False) -> Noun:
    """Parse a lexicon entry: "flor/f", "gafas/fp" (always plural); without a mark, the ending decides."""
    text, _, marks = entry.partition("/")
    head = text.split()[0]
    feminine = "f" in marks or ("m" not in marks and head.endswith(_FEMININE))
    if "p" in marks:
        return Noun(text, feminine, True)
    return Noun(_pluralize_phrase(text) if plural else text, feminine, plural)


def pluralize(word: str) -> str:
    """Return the plural of a word: "lápiz" becomes "lápices", "jardín" becomes "jardines"."""
    if word in _IRREGULAR_PLURALS:
        return _IRREGULAR_PLURALS[word]
    if word.endswith("z"):
        return word[:-1] + "ces"
    if word[-1] in "aeiouáéó":
        return word + "s"
    if word[-1] in "íú":
        return word + "es"
    if word.endswith("s") and word[-2] not in "áéíóú":
        return word if len(word) > 4 else word + "es"  # el lunes, los lunes; el mes, los meses
    if word.endswith(("x", "t")):
        return word + "s" if word.endswith("t") else word
    if word[-1] in "ns" and word[-2] in "áéíóú":
        return word[:-2] + word[-2].translate(_PLAIN) + word[-1] + "es"
    return word + "es"


def _pluralize_phrase(text: str) -> str:
    """Pluralize the noun and its adjectives, up to the first preposition."""
    tail = _TAIL.search(text)
    end = tail.start() if tail else len(text)
    return " ".join(pluralize(word) for word in text[:end].split()) + text[end:]


def inflect_adjective(base: str, feminine: bool, plural: bool) -> str:
    """Return the form of an adjective: the feminine plural of "español" is "españolas".

    Args:
        base: The masculine singular.
        feminine: Whether the form is feminine.
        plural: Whether the form is plural.
    """
    word = base
    if feminine:
        if base.endswith("o"):
            word = base[:-1] + "a"
        elif base.endswith(("dor", "sor", "tor", "ñol")):
            word = base + "a"
        elif base[-1] in "ns" and base[-2] in "áéó":
            word = base[:-2] + base[-2].translate(_PLAIN) + base[-1] + "a"
    return pluralize(word) if plural else word


def inflect_determiner(base: str, noun: Noun) -> str:
    """Return the form of a determiner for a noun: "el agua", "la casa". Other words agree like adjectives."""
    head = noun.text.split()[0]
    column = noun.column
    if head in _STRESSED_A and base in ("el", "un", "algún", "ningún"):
        column = 0
    if base in _DETERMINERS:
        return _DETERMINERS[base][column]
    return inflect_adjective(base, noun.feminine, noun.plural)


def spell_number(value: int) -> str:
    """Spell a number from 0 to 99: 42 becomes "cuarenta y dos"."""
    if value < 30:
        return _ONES[value]
    tens, ones = divmod(value, 10)
    return _TENS[tens] + (f" y {_ONES[ones]}" if ones else "")


def fix_contractions(text: str) -> str:
    """Correct contractions, and y and o before their own sound: "a el" to "al", "y Inés" to "e Inés"."""
    text = re.sub(r"\b([Aa]) el\b(?! [A-ZÁÉÍÓÚ])", r"\1l", text)
    text = re.sub(r"\b([Dd]e) el\b(?! [A-ZÁÉÍÓÚ])", r"\1l", text)
    text = re.sub(r"\by (?=[\"«]?(?:[IiÍí](?![aeoáéó])|[Hh][ií](?![aeoáéó])))", "e ", text)
    return re.sub(r"\bo (?=[\"«]?[Hh]?[OoÓó])", "u ", text)
