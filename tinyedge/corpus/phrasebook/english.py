"""Grammar of English: the text of the slots in a template.

In: a slot and a Discourse. Out: its text, with agreement; finished sentences. Does not know scenes.

Slots (X is a role or a class of the lexicon; people agree with "hero" unless "@role" names another role):
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
    fix_articles,
    inflect_gerund,
    inflect_participle,
    inflect_past,
    inflect_present,
    pluralize,
    spell_number,
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
# The hero and others: they, or we.
_TOGETHER = {"they": ("they", "we"), "them": ("them", "us"), "their": ("their", "our")}
_FIRST_LETTER = re.compile(r"[^\W\d_]")


def _pronoun_column(person: Person) -> int:
    if person.person == 1:
        return 1 if person.plural else 0
    if person.plural:
        return 4
    return 2 if person.feminine else 3


class English:
    """Grammar of English."""

    def fill_slot(self, slot: str, discourse: Discourse) -> str:
        """Return the text of a slot.

        Raises:
            KeyError: The slot names an unknown role, class or form.
        """
        number_range = _RANGE.fullmatch(slot)
        if number_range:
            value = discourse.rng.randrange(int(number_range[2]), int(number_range[3]) + 1)
            return str(value) if number_range[1] else spell_number(value)
        slot, _, role = slot.partition("@")
        if slot in _PRONOUNS:
            return _PRONOUNS[slot][_pronoun_column(discourse.person(role or "hero"))]
        if slot in _TOGETHER:
            return _TOGETHER[slot][discourse.person("hero").person == 1]
        if slot.endswith("'s"):
            return self._form_possessive(slot[:-2], discourse)
        base, _, form = slot.partition(":")
        if discourse.is_person(base):
            return (
                discourse.person(base).name
                if form == "name"
                else self._name_person(base, discourse, form or "he")
            )
        if form:
            return self._inflect_phrase(
                base, form, discourse.person(role or "hero") if form in "sd" else None, discourse
            )
        word = base.removesuffix("+")
        if not discourse.is_word(word):
            raise KeyError(f"no role or class {word!r}")
        return pluralize(discourse.word(word)) if base.endswith("+") else discourse.word(word)

    def _name_person(self, role: str, discourse: Discourse, pronoun: str = "he") -> str:
        """Return a name, at its first mention with the relation; I and we get a pronoun in the given case."""
        person = discourse.person(role)
        if not person.name:
            return _PRONOUNS[pronoun][_pronoun_column(person)]
        if not discourse.introduce(role):
            return person.name
        if not person.relation:
            return person.introduction
        owner = _PRONOUNS["his"][_pronoun_column(discourse.person("hero"))]
        if person.titled:
            return f"{owner} {person.relation}, {person.name},"
        return f"{owner} {person.relation} {person.name}"

    def _form_possessive(self, role: str, discourse: Discourse) -> str:
        person = discourse.person(role)
        if not person.name:
            return _PRONOUNS["his"][_pronoun_column(person)]
        name = self._name_person(role, discourse).removesuffix(",")
        return name + ("'" if person.plural and name.endswith("s") else "'s")

    def _inflect_phrase(self, base: str, form: str, subject: Person | None, discourse: Discourse) -> str:
        phrase = discourse.word(base) if discourse.is_word(base) else base
        verb, space, rest = phrase.partition(" ")
        return self._inflect_verb(verb, form, subject) + space + rest

    def _inflect_verb(self, verb: str, form: str, subject: Person | None) -> str:
        if form == "g":
            return inflect_gerund(verb)
        if form == "n":
            return inflect_participle(verb)
        if subject is None:
            raise KeyError(f"no form {form!r} of {verb!r}")
        first, plural = subject.person == 1, subject.plural
        if form == "s":
            if verb == "be" and first and not plural:
                return "am"
            return inflect_present(verb, not first and not plural)
        if verb == "be" and plural:
            return "were"
        return inflect_past(verb)

    def polish_sentence(self, text: str) -> str:
        """Correct articles, spaces, punctuation and the first letter of a sentence."""
        text = fix_articles(" ".join(text.split()))
        text = re.sub(r",(?=[,.;:?!])", "", text)
        text = re.sub(r" ([.,;:?!])", r"\1", text)
        return _FIRST_LETTER.sub(lambda match: match.group().upper(), text, count=1)
