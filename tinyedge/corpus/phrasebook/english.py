"""English: what the slots of a template become.

Slots (X is a role or a class of the lexicon; people agree with "hero" unless "@role" says otherwise):
  {hero} {he} {him} {his} {mine} {himself}   name and pronouns
  {they} {them} {their}   the hero with others; "we" where the hero speaks
  {X} of a person: "her sister Ana", later "Ana"; {X:name} just "Ana"; {X's} "Ana's", "my"
  {X} {X+}     a word, its plural            {X.2}       the word's second field
  {V:s} {V:d} {V:n} {V:g}   present, past, participle, -ing of a verb or of a class of verb phrases
  {3-9} {#3-9}  a number in words, in digits
"""

import re

from tinyedge.corpus.phrasebook.discourse import Discourse
from tinyedge.corpus.phrasebook.english_forms import (
    gerund,
    mend_articles,
    number,
    participle,
    past,
    plural,
    present,
)
from tinyedge.corpus.phrasebook.people import Person

_RANGE = re.compile(r"(#?)(\d+)-(\d+)")
# I, we, she, he, they
_PRONOUNS = {
    "he": ("I", "we", "she", "he", "they"),
    "him": ("me", "us", "her", "him", "them"),
    "his": ("my", "our", "her", "his", "their"),
    "mine": ("mine", "ours", "hers", "his", "theirs"),
    "himself": ("myself", "ourselves", "herself", "himself", "themselves"),
}
# The hero and those around: they, or we.
_TOGETHER = {"they": ("they", "we"), "them": ("them", "us"), "their": ("their", "our")}
_FIRST_LETTER = re.compile(r"[^\W\d_]")


def _column(person: Person) -> int:
    if person.person == 1:
        return 1 if person.plural else 0
    if person.plural:
        return 4
    return 2 if person.feminine else 3


class English:
    def fill(self, slot: str, stage: Discourse) -> str:
        span = _RANGE.fullmatch(slot)
        if span:
            value = stage.rng.randrange(int(span[2]), int(span[3]) + 1)
            return str(value) if span[1] else number(value)
        slot, _, role = slot.partition("@")
        if slot in _PRONOUNS:
            return _PRONOUNS[slot][_column(stage.person(role or "hero"))]
        if slot in _TOGETHER:
            return _TOGETHER[slot][stage.person("hero").person == 1]
        if slot.endswith("'s"):
            return self._possessive(slot[:-2], stage)
        base, _, form = slot.partition(":")
        if stage.is_person(base):
            return stage.person(base).name if form == "name" else self._person(base, stage, form or "he")
        if form:
            return self._verb(base, form, stage.person(role or "hero") if form in "sd" else None, stage)
        word = base.removesuffix("+")
        if not stage.is_word(word):
            raise KeyError(f"no role or class {word!r}")
        return plural(stage.word(word)) if base.endswith("+") else stage.word(word)

    def _person(self, role: str, stage: Discourse, pronoun: str = "he") -> str:
        """A name, on its first mention with who it is; `pronoun` is the case of I and we, who have none."""
        person = stage.person(role)
        if not person.name:
            return _PRONOUNS[pronoun][_column(person)]
        if not stage.first_mention(role):
            return person.name
        if not person.relation:
            return person.introduction
        owner = _PRONOUNS["his"][_column(stage.person("hero"))]
        if person.titled:
            return f"{owner} {person.relation}, {person.name},"
        return f"{owner} {person.relation} {person.name}"

    def _possessive(self, role: str, stage: Discourse) -> str:
        person = stage.person(role)
        if not person.name:
            return _PRONOUNS["his"][_column(person)]
        name = self._person(role, stage).removesuffix(",")
        return name + ("'" if person.plural and name.endswith("s") else "'s")

    def _verb(self, base: str, form: str, subject: Person | None, stage: Discourse) -> str:
        phrase = stage.word(base) if stage.is_word(base) else base
        verb, space, rest = phrase.partition(" ")
        return self._inflect(verb, form, subject) + space + rest

    def _inflect(self, verb: str, form: str, subject: Person | None) -> str:
        if form == "g":
            return gerund(verb)
        if form == "n":
            return participle(verb)
        if subject is None:
            raise KeyError(f"no form {form!r} of {verb!r}")
        first, many = subject.person == 1, subject.plural
        if form == "s":
            if verb == "be" and first and not many:
                return "am"
            return present(verb, not first and not many)
        if verb == "be" and many:
            return "were"
        return past(verb)

    def polish(self, text: str) -> str:
        text = mend_articles(" ".join(text.split()))
        text = re.sub(r",(?=[,.;:?!])", "", text)
        text = re.sub(r" ([.,;:?!])", r"\1", text)
        return _FIRST_LETTER.sub(lambda match: match.group().upper(), text, count=1)
