"""Draw the people of a document, with their names and grammatical properties.

In: a kind of role from a scene ("any", "woman", "person kin", ...), the names in the lexicon, a random
generator. Out: a Person, with the grammatical person, number and gender for verbs and pronouns. Does not know
grammar.
"""

import random
from dataclasses import dataclass

from tinyedge.corpus.phrasebook.lexicon import Lexicon

# Who can play a role, by kind. I: I, w: we, f: a woman, m: a man, t: several people. A repeated letter is
# more likely to be drawn.
_CASTS = {
    "one": "IIffmm",
    "any": "Iwfmt",
    "third": "fm",
    "group": "wt",
    "I": "I",
    "we": "w",
    "woman": "f",
    "man": "m",
    "person": "fm",
    "formal": "fm",
    "doctor": "fm",
    "child": "fm",
    "bride": "f",
    "groom": "m",
    "gran": "f",
}


@dataclass(frozen=True, slots=True)
class Person:
    """A person, or several, in a document."""

    name: str
    """Short name; empty for I and we."""

    introduction: str
    """Text of the first mention, such as "my cousin Ana"."""

    person: int
    """Grammatical person, 1 or 3."""

    plural: bool
    """Whether it is several people."""

    feminine: bool
    """Whether the grammatical gender is feminine."""

    relation: str = ""
    """Relation to the hero, such as "sister"."""

    titled: bool = False
    """Whether the name has a title, such as "Mrs Brown"."""


def is_person_kind(kind: str) -> bool:
    """Whether a kind of role is a person, not a word."""
    return kind.split()[0] in _CASTS


def draw_person(kind: str, lexicon: Lexicon, rng: random.Random, used_names: set[str]) -> Person:
    """Draw a person of a kind.

    Args:
        kind: Kind of the role, with a class of relations after a space: "person kin".
        lexicon: Words of the language.
        rng: Random generator.
        used_names: Names in the document; the new name is different and is added.
    """
    base, _, relation_class = kind.partition(" ")
    who = rng.choice(_CASTS[base])
    if who in "Iw":
        return Person("", "", 1, who == "w", rng.random() < 0.5)
    if who == "t":
        return _draw_group(lexicon, rng, used_names)
    sex = who
    name = _draw_unused_name("woman" if sex == "f" else "man", lexicon, rng, used_names)
    titled = base in ("formal", "doctor")
    if titled:
        title = _draw_word(f"{base}_{sex}", lexicon, rng)
        name = f"{title} {_draw_unused_name('surname', lexicon, rng, used_names)}"
    introduction = name
    if base in ("one", "any", "third", "woman", "man"):
        pattern = _draw_word(f"intro_{sex}", lexicon, rng)
        pattern = pattern.replace("SURNAME", _draw_word("surname", lexicon, rng))
        introduction = pattern.replace("NAME", name)
    relation = _draw_word(f"{relation_class}_{sex}", lexicon, rng) if relation_class else ""
    return Person(name, introduction, 3, False, sex == "f", relation, titled)


def _draw_group(lexicon: Lexicon, rng: random.Random, used_names: set[str]) -> Person:
    pattern = _draw_word("group", lexicon, rng)
    first = _draw_unused_name("woman", lexicon, rng, used_names)
    second = _draw_unused_name("man", lexicon, rng, used_names)
    name = pattern.replace("WOMAN", first).replace("MAN", second)
    name = name.replace("SURNAME", _draw_word("surname", lexicon, rng))
    return Person(name, name, 3, True, False)


def _draw_unused_name(word_class: str, lexicon: Lexicon, rng: random.Random, used_names: set[str]) -> str:
    while True:
        name = _draw_word(word_class, lexicon, rng)
        if name not in used_names:
            used_names.add(name)
            return name


def _draw_word(word_class: str, lexicon: Lexicon, rng: random.Random) -> str:
    return rng.choice(lexicon[word_class])[0]
