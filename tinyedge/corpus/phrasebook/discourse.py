"""State of a document while it is generated: who plays which role, and who was introduced already.

In: the roles of a scene, a lexicon, a random generator. Out: the Person or the word for a name in a template:
"hero", "thing", "fruit". Does not know a language's grammar.
"""

import random
from typing import Protocol

from tinyedge.corpus.phrasebook.lexicon import Item, Lexicon, Scene
from tinyedge.corpus.phrasebook.people import Person, draw_person, is_person_kind
from tinyedge.corpus.phrasebook.template import expand, parse

_MAX_REDRAWS = 8


class Grammar(Protocol):
    """Grammar of a language."""

    def fill_slot(self, slot: str, discourse: "Discourse") -> str:
        """Return the text of a slot."""

    def polish_sentence(self, text: str) -> str:
        """Correct articles, contractions, spaces, punctuation and the first letter of a sentence."""


class Discourse:
    """The people and words of one document.

    Args:
        scene: The scene, with its roles.
        lexicon: Words of the language.
        grammar: Grammar of the language.
        rng: Random generator of all choices.

    Attributes:
        introduced: Roles that have been named in full.
    """

    def __init__(self, scene: Scene, lexicon: Lexicon, grammar: Grammar, rng: random.Random) -> None:
        self.rng = rng
        self.introduced: frozenset[str] = frozenset()
        self._lexicon = lexicon
        self._grammar = grammar
        self._people: dict[str, Person] = {}
        self._words: dict[str, Item] = {}
        self._used: set[Item] = set()
        used_names: set[str] = set()
        for role, drawn in scene.roles.items():
            if is_person_kind(drawn):
                self._people[role] = draw_person(drawn, lexicon, rng, used_names)
            elif drawn.startswith("["):
                self._words[role] = (self.render(drawn),)
            else:
                self._words[role] = tuple(map(self.render, self._draw_unused_item(drawn)))

    def person(self, role: str) -> Person:
        """Return the person who plays a role."""
        return self._people[role]

    def is_person(self, name: str) -> bool:
        """Whether a name in a template is the role of a person."""
        return name in self._people

    def is_word(self, name: str) -> bool:
        """Whether a name in a template is the role of a word, or a class of the lexicon."""
        base = name.partition(".")[0]
        return base in self._words or base in self._lexicon

    def word(self, name: str) -> str:
        """Return the word of a role, or a new word of a class; "job.2" is its second field."""
        base, _, field = name.partition(".")
        item = self._words.get(base) or self._draw_unused_item(base)
        return self.render(item[int(field) - 1 if field else 0])

    def _draw_unused_item(self, word_class: str) -> Item:
        """Draw a word of a class, if possible one that the document has not used."""
        items = self._lexicon[word_class]
        item = self.rng.choice(items)
        for _ in range(_MAX_REDRAWS):
            if item not in self._used:
                break
            item = self.rng.choice(items)
        self._used.add(item)
        return item

    def render(self, template: str) -> str:
        """Expand a template."""
        return expand(parse(template), self.rng, lambda slot: self._grammar.fill_slot(slot, self))

    def introduce(self, role: str) -> bool:
        """Mark a role as introduced; return whether this is its first mention."""
        first = role not in self.introduced
        self.introduced |= {role}
        return first
