"""Grammar of Spanish: the text of the slots in a template.

In: a slot and a Discourse. Out: its text, with agreement; finished sentences. Does not know scenes.

Slots (X is a role or a class of the lexicon; people agree with "hero" unless "@role" names another role):
  {hero} {X}                    "su hermana Ana", later "Ana" (nothing for yo, nosotros); {X:name} just "Ana"
  {a hero}                      "a Ana", and nothing for yo, because "me" is enough
  {él} {se} {le} {lo} {su} {sus}  pronouns; {su X} agrees with the noun: "nuestra casa"
  {X} {X+} {X.2}                a word, its plural, its second field
  {el X} {un X+} {otro X}       a determiner that agrees; {bonito~X} an adjective that does
  {V:p} {V:t} ...               a verb or a class of verb phrases in a tense of conjugator.py; {V:inf}
                                is the infinitive with the right pronoun: "lavarme las manos"
  {3-9} {#3-9}                  a number in words, in digits
"""

import re

from tinyedge.corpus.phrasebook.conjugator import conjugate
from tinyedge.corpus.phrasebook.discourse import Discourse
from tinyedge.corpus.phrasebook.people import Person
from tinyedge.corpus.phrasebook.spanish_forms import (
    Noun,
    fix_contractions,
    inflect_adjective,
    inflect_determiner,
    parse_noun,
    spell_number,
)

_RANGE = re.compile(r"(#?)(\d+)-(\d+)")
# yo, nosotros, ella, él, ellos
_PRONOUNS = {
    "él": ("yo", "nosotros", "ella", "él", "ellos"),
    "se": ("me", "nos", "se", "se", "se"),
    "le": ("me", "nos", "le", "le", "les"),
    "lo": ("me", "nos", "la", "lo", "los"),
    "su": ("mi", "nuestro", "su", "su", "su"),
    "sus": ("mis", "nuestros", "sus", "sus", "sus"),
}
# "{llover:t@3}", "{decir:p@6}": an impersonal subject; "{ir:t@ambos}": the hero with others.
_IMPERSONAL = {"3": Person("", "", 3, False, False), "6": Person("", "", 3, True, False)}
_WE = Person("", "", 1, True, False)
_NOBODY = (*_IMPERSONAL, "ambos")
_FIRST_LETTER = re.compile(r"[^\W\d_]")
_REFLEXIVE = re.compile(r"(?P<verb>\w*(?:ar|er|ir|ír))se")
_ACCENTED_GERUND = str.maketrans({"a": "á", "e": "é"})


def _pronoun_column(person: Person) -> int:
    if person.person == 1:
        return 1 if person.plural else 0
    if person.plural:
        return 4
    return 2 if person.feminine else 3


def _find_subject(role: str, discourse: Discourse) -> Person:
    if role == "ambos":
        return _WE if discourse.person("hero").person == 1 else _IMPERSONAL["6"]
    return _IMPERSONAL.get(role) or discourse.person(role or "hero")


class Spanish:
    """Grammar of Spanish."""

    def fill_slot(self, slot: str, discourse: Discourse) -> str:
        """Return the text of a slot.

        Raises:
            KeyError: The slot names an unknown role, class or form.
        """
        number_range = _RANGE.fullmatch(slot)
        if number_range:
            return self._draw_number(
                int(number_range[2]), int(number_range[3]), bool(number_range[1]), discourse
            )
        if "~" in slot:
            base, _, role = slot.partition("~")
            return self._inflect_agreeing(base, role or "hero", discourse)
        slot, _, role = slot.partition("@")
        if slot in _PRONOUNS:
            return _PRONOUNS[slot][_pronoun_column(_find_subject(role, discourse))]
        left, _, right = slot.rpartition(" ")
        if left == "a" and discourse.is_person(right):
            name = self._name_person(right, discourse)
            return f"a {name}" if name else ""
        base, _, form = slot.partition(":")
        if discourse.is_person(base):
            return discourse.person(base).name if form == "name" else self._name_person(base, discourse)
        if form:
            return self._inflect_phrase(base, form, _find_subject(role, discourse), discourse)
        return self._render_noun_phrase(left, right, discourse)

    def _draw_number(self, low: int, high: int, digits: bool, discourse: Discourse) -> str:
        """Draw a number; in words never one that ends in uno, which would need agreement in gender."""
        value = discourse.rng.randrange(low, high + 1)
        while not digits and value % 10 == 1:
            value = discourse.rng.randrange(low, high + 1)
        return str(value) if digits else spell_number(value)

    def _inflect_agreeing(self, base: str, role: str, discourse: Discourse) -> str:
        if discourse.is_person(role) or role in _NOBODY:
            person = _find_subject(role, discourse)
            base = discourse.word(base) if discourse.is_word(base) else base
            return inflect_adjective(base, person.feminine, person.plural)
        noun = parse_noun(discourse.word(role.removesuffix("+")), role.endswith("+"))
        return inflect_adjective(base, noun.feminine, noun.plural)

    def _name_person(self, role: str, discourse: Discourse) -> str:
        person = discourse.person(role)
        if not person.name or not discourse.introduce(role):
            return person.name
        if not person.relation:
            return person.introduction
        owner = inflect_adjective(
            _PRONOUNS["su"][_pronoun_column(discourse.person("hero"))], person.feminine, False
        )
        if person.titled:
            return f"{owner} {person.relation}, {person.name},"
        return f"{owner} {person.relation} {person.name}"

    def _render_noun_phrase(self, left: str, right: str, discourse: Discourse) -> str:
        name = right.removesuffix("+")
        if not discourse.is_word(name):
            raise KeyError(f"no role or class {name!r}")
        noun = parse_noun(discourse.word(name), right.endswith("+"))
        if not left:
            return noun.text
        words = [self._render_determiner(word, noun, discourse) for word in left.split()]
        return " ".join([*words, noun.text])

    def _render_determiner(self, word: str, noun: Noun, discourse: Discourse) -> str:
        if word == "su":
            owner = _PRONOUNS["su"][_pronoun_column(discourse.person("hero"))]
            return inflect_adjective(owner, noun.feminine, noun.plural)
        return inflect_determiner(word, noun)

    def _inflect_phrase(self, base: str, form: str, subject: Person, discourse: Discourse) -> str:
        phrase = discourse.word(base) if discourse.is_word(base) else base
        verb, space, rest = phrase.partition(" ")
        reflexive = _REFLEXIVE.fullmatch(verb)
        pronoun = _PRONOUNS["se"][_pronoun_column(subject)] if reflexive else ""
        infinitive = reflexive["verb"] if reflexive else verb
        if form == "inf":
            return infinitive + pronoun + space + rest
        person = {0: 0, 1: 3, 2: 2, 3: 2, 4: 5}[_pronoun_column(subject)]
        inflected = conjugate(infinitive, form, person)
        if not reflexive or form == "n":
            return inflected + space + rest
        if form == "g":  # lavándome
            inflected = inflected[:-4] + inflected[-4].translate(_ACCENTED_GERUND) + inflected[-3:] + pronoun
            return inflected + space + rest
        return f"{pronoun} {inflected}{space}{rest}"

    def polish_sentence(self, text: str) -> str:
        """Correct contractions, spaces, punctuation and the first letter of a sentence."""
        text = fix_contractions(" ".join(text.split()))
        text = re.sub(r",(?=[,.;:?!])|,(?= ?—)", "", text)
        text = re.sub(r" (—?[.,;:?!])", r"\1", text)
        text = re.sub(r"([¿¡]) ", r"\1", text)
        return _FIRST_LETTER.sub(lambda match: match.group().upper(), text, count=1)
