"""The people of a document: who they are for the grammar, and how the text names them.

In:  a kind of role from a scene ("any", "woman", "person kin", ...), the lexicon's names, a random source.
Out: a Person, with the grammatical person, number and gender that verbs and pronouns agree with.
"""

import random
from dataclasses import dataclass

from tinyedge.corpus.phrasebook.lexicon import Lexicon

# Who may play a role, by kind: I, we, a woman, a man, several people. Doubled where it should be likelier.
_KINDS = {
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
    """name: short name ("" for I and we). introduction: the first mention, e.g. "my cousin Ana"."""

    name: str
    introduction: str
    person: int  # 1 or 3
    plural: bool
    feminine: bool
    relation: str = ""  # what they are to the hero: "sister"
    titled: bool = False  # named "Mrs Brown"


def is_person_kind(kind: str) -> bool:
    return kind.split()[0] in _KINDS


def draw_person(kind: str, lexicon: Lexicon, rng: random.Random, used_names: set[str]) -> Person:
    """A person of that kind whose name nobody in the document has yet; taken gains the name."""
    base, _, relation_class = kind.partition(" ")
    who = rng.choice(_KINDS[base])
    if who in "Iw":
        return Person("", "", 1, who == "w", rng.random() < 0.5)
    if who == "t":
        return _draw_group(lexicon, rng, used_names)
    sex = who
    name = _fresh_name("woman" if sex == "f" else "man", lexicon, rng, used_names)
    titled = base in ("formal", "doctor")
    if titled:
        title = _draw_word(f"{base}_{sex}", lexicon, rng)
        name = f"{title} {_fresh_name('surname', lexicon, rng, used_names)}"
    introduction = name
    if base in ("one", "any", "third", "woman", "man"):
        pattern = _draw_word(f"intro_{sex}", lexicon, rng)
        pattern = pattern.replace("SURNAME", _draw_word("surname", lexicon, rng))
        introduction = pattern.replace("NAME", name)
    relation = _draw_word(f"{relation_class}_{sex}", lexicon, rng) if relation_class else ""
    return Person(name, introduction, 3, False, sex == "f", relation, titled)


def _draw_group(lexicon: Lexicon, rng: random.Random, used_names: set[str]) -> Person:
    pattern = _draw_word("group", lexicon, rng)
    first = _fresh_name("woman", lexicon, rng, used_names)
    second = _fresh_name("man", lexicon, rng, used_names)
    name = pattern.replace("WOMAN", first).replace("MAN", second)
    name = name.replace("SURNAME", _draw_word("surname", lexicon, rng))
    return Person(name, name, 3, True, False)


def _fresh_name(word_class: str, lexicon: Lexicon, rng: random.Random, used_names: set[str]) -> str:
    while True:
        name = _draw_word(word_class, lexicon, rng)
        if name not in used_names:
            used_names.add(name)
            return name


def _draw_word(word_class: str, lexicon: Lexicon, rng: random.Random) -> str:
    return rng.choice(lexicon[word_class])[0]
