"""Spanish nouns, adjectives, determiners and numbers by rule.

In:  a dictionary form ("lápiz", "flor/f", "pequeño", "el").
Out: gender, plural, agreement, numbers in words, contractions (al, del) and the e, u of "padre e hijo".
"""

import re
from dataclasses import dataclass

_FEMININE = ("a", "ción", "sión", "dad", "tad", "tud", "umbre", "gión")
_PLAIN = str.maketrans("áéíóú", "aeiou")
# Feminine nouns that open with a stressed a take el and un in the singular.
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
# Stress that moves or stays, and borrowed words.
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
    feminine: bool
    plural: bool

    @property
    def column(self) -> int:
        return 2 * self.plural + self.feminine


def parse_noun(entry: str, many: bool = False) -> Noun:
    """The noun of an entry: "flor/f", "gafas/fp" (always plural), or unmarked where the ending tells."""
    text, _, marks = entry.partition("/")
    head = text.split()[0]
    feminine = "f" in marks or ("m" not in marks and head.endswith(_FEMININE))
    if "p" in marks:
        return Noun(text, feminine, True)
    return Noun(_plural_phrase(text) if many else text, feminine, many)


def pluralize(word: str) -> str:
    """plural("lápiz") -> "lápices"; plural("jardín") -> "jardines"."""
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


def _plural_phrase(text: str) -> str:
    """The noun and its adjectives, up to the first preposition, go into the plural."""
    tail = _TAIL.search(text)
    end = tail.start() if tail else len(text)
    return " ".join(pluralize(word) for word in text[:end].split()) + text[end:]


def inflect_adjective(base: str, feminine: bool, many: bool) -> str:
    """adjective("español", True, True) -> "españolas"; the base is the masculine singular."""
    word = base
    if feminine:
        if base.endswith("o"):
            word = base[:-1] + "a"
        elif base.endswith(("dor", "sor", "tor", "ñol")):
            word = base + "a"
        elif base[-1] in "ns" and base[-2] in "áéó":
            word = base[:-2] + base[-2].translate(_PLAIN) + base[-1] + "a"
    return pluralize(word) if many else word


def inflect_determiner(base: str, of: Noun) -> str:
    """determiner("el", agua) -> "el"; other words agree as adjectives do."""
    head = of.text.split()[0]
    column = of.column
    if head in _STRESSED_A and base in ("el", "un", "algún", "ningún"):
        column = 0
    if base in _DETERMINERS:
        return _DETERMINERS[base][column]
    return inflect_adjective(base, of.feminine, of.plural)


def spell_number(value: int) -> str:
    """number(42) -> "cuarenta y dos", up to 99."""
    if value < 30:
        return _ONES[value]
    tens, ones = divmod(value, 10)
    return _TENS[tens] + (f" y {_ONES[ones]}" if ones else "")


def fix_contractions(text: str) -> str:
    """Contractions, and y, o before their own sound: "a el" -> "al", "y Inés" -> "e Inés"."""
    text = re.sub(r"\b([Aa]) el\b(?! [A-ZÁÉÍÓÚ])", r"\1l", text)
    text = re.sub(r"\b([Dd]e) el\b(?! [A-ZÁÉÍÓÚ])", r"\1l", text)
    text = re.sub(r"\by (?=[\"«]?(?:[IiÍí](?![aeoáéó])|[Hh][ií](?![aeoáéó])))", "e ", text)
    return re.sub(r"\bo (?=[\"«]?[Hh]?[OoÓó])", "u ", text)
