"""What a document knows while it is being told: who plays which role, and who was named already.

In:  a scene's roles, a lexicon, a random source.
Out: the Person or the word behind a name that a template uses: "hero", "thing", "fruit".
"""

import random
from typing import Protocol

from tinyedge.corpus.phrasebook.lexicon import Item, Lexicon, Scene
from tinyedge.corpus.phrasebook.people import Person, draw_person, is_person_kind
from tinyedge.corpus.phrasebook.template import expand, parse

_REDRAWS = 8


class Grammar(Protocol):
    """A language: how it fills a slot and what it mends in a finished sentence."""

    def fill_slot(self, slot: str, discourse: "Discourse") -> str: ...

    def polish_sentence(self, text: str) -> str: ...


class Discourse:
    """The bindings of one document. introduced: the roles that have been named in full."""

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
                self._words[role] = tuple(map(self.render, self._fresh_item(drawn)))

    def person(self, role: str) -> Person:
        return self._people[role]

    def is_person(self, name: str) -> bool:
        return name in self._people

    def is_word(self, name: str) -> bool:
        base = name.partition(".")[0]
        return base in self._words or base in self._lexicon

    def word(self, name: str) -> str:
        """The word bound to a role, or a fresh one of a class; "job.2" is its second field."""
        base, _, field = name.partition(".")
        item = self._words.get(base) or self._fresh_item(base)
        return self.render(item[int(field) - 1 if field else 0])

    def _fresh_item(self, word_class: str) -> Item:
        """A word of the class; where the class is large enough, none that the document has used."""
        items = self._lexicon[word_class]
        item = self.rng.choice(items)
        for _ in range(_REDRAWS):
            if item not in self._used:
                break
            item = self.rng.choice(items)
        self._used.add(item)
        return item

    def render(self, template: str) -> str:
        return expand(parse(template), self.rng, lambda slot: self._grammar.fill_slot(slot, self))

    def first_mention(self, role: str) -> bool:
        """True once: the text should say who this is."""
        first = role not in self.introduced
        self.introduced |= {role}
        return first
