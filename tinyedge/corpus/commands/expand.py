"""Draw random sentences from templates, with the slots that each fills.

In: a template, a random stream, and a function that gives the values of names and free text. Out: a sentence
and its slots. hassil's own sampler gives sentences without slots, and all of them in order: one template has
more than 10^9. Does not know homes.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tinyedge.corpus.commands.answer import Value
from tinyedge.corpus.commands.templates import Template, TemplateSet, parse_template

Draw = Callable[[str], tuple[str, Value]]  # name of a list -> how the sentence says a value, and the value
SPOKEN_NUMBERS = 0.25  # share of numbers written as words
_FAVOURED = 0.3  # share of round numbers among those of a range


@dataclass(slots=True)
class Expansion:
    """A sentence drawn from a template."""

    text: str = ""
    """The sentence."""
    slots: dict[str, Value] = field(default_factory=dict)
    """Values of its slots."""


def expand(
    template: Template,
    templates: TemplateSet,
    language: str,
    rng: random.Random,
    draw_open: Mapping[str, Draw],
) -> Expansion:
    """Draw a sentence.

    Args:
        template: The template.
        templates: Its set, with rules and lists.
        language: Its language.
        rng: Random stream.
        draw_open: For each list that has no values of its own (`name`, `area`, `floor`, and wildcards): a
            function that draws one.
    """
    state = _Expander(templates.rules[language], templates.lists[language], language, rng, draw_open)
    text = state.render(parse_template(template.source))
    return Expansion(" ".join(text.split()), dict(template.slots) | state.slots)


class _Expander:
    def __init__(
        self,
        rules: Mapping[str, Any],
        lists: Mapping[str, Any],
        language: str,
        rng: random.Random,
        draw_open: Mapping[str, Draw],
    ) -> None:
        self.slots: dict[str, Value] = {}
        self._rules, self._lists, self._language = rules, lists, language
        self._rng, self._draw_open = rng, draw_open

    def render(self, expression: Any) -> str:
        kind = type(expression).__name__
        if kind == "TextChunk":
            return str(expression.original_text)
        if kind == "Alternative":
            return self.render(self._rng.choice(expression.items)) if expression.items else ""
        if kind == "Permutation":
            return " ".join(
                self.render(item) for item in self._rng.sample(expression.items, len(expression.items))
            )
        if kind == "Sequence":
            return "".join(map(self.render, expression.items))
        if kind == "RuleReference":
            return self.render(parse_template(self._rules[expression.rule_name]))
        said, value = self._draw(expression.list_name)
        self.slots[expression.slot_name] = value
        return said

    def _draw(self, name: str) -> tuple[str, Value]:
        if name in self._draw_open:
            return self._draw_open[name](name)
        entry = self._lists[name]
        if "values" in entry:
            return self._draw_value(self._rng.choice(entry["values"]))
        return draw_number(entry["range"], self._language, self._rng)

    def _draw_value(self, value: Any) -> tuple[str, Value]:
        said = value["in"] if isinstance(value, dict) else value
        meant = value["out"] if isinstance(value, dict) and "out" in value else said
        return self.render(parse_template(str(said))).strip(), meant


def draw_number(limits: Mapping[str, Any], language: str, rng: random.Random) -> tuple[str, int | float]:
    """Draw a number of a range: how a sentence says it, and its value."""
    low, high, step = limits["from"], limits["to"], limits.get("step", 1)
    number: int = rng.randrange(low, high + 1, step)
    if rng.random() < _FAVOURED:
        number = max(low, number // (5 * step) * (5 * step))
    if limits.get("fractions") == "halves" and rng.random() < 0.2:
        said = f"{number}.5" if language == "en" or rng.random() < 0.5 else f"{number},5"
        return said, number + 0.5
    said = str(number)
    if number <= 100 and rng.random() < SPOKEN_NUMBERS:
        said = spell_number(number, language)
    return said, number * limits.get("multiplier", 1)


def spell_number(number: int, language: str) -> str:
    """Return a number as a word, as hassil reads it."""
    from hassil.numbers import get_rbnf_engine

    return str(get_rbnf_engine(language).format_number(number).text)
