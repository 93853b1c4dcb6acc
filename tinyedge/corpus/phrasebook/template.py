"""Templates: text with choices and slots.

In: a line such as "{hero} bought [a|the last] {fruit} [at the market|]." Out: the line with one alternative
of every [a|b], and with every {slot} replaced by the caller's text. Choices can be nested, slots cannot: the
text between braces is passed to the caller unchanged. Does not know words or grammar.
"""

import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

_TOKEN = re.compile(r"\{[^{}]*\}|[\[\]|]|[^\[\]|{}]+")


@dataclass(frozen=True, slots=True)
class Slot:
    """A place that the caller fills."""

    name: str
    """Text between the braces."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A place with several alternatives."""

    alternatives: tuple["Sequence", ...]
    """The alternatives, one of which is drawn."""


Sequence = tuple[str | Slot | Choice, ...]


@cache
def parse(text: str) -> Sequence:
    """Parse a template.

    Raises:
        ValueError: Brackets or braces are not paired.
    """
    if "".join(_TOKEN.findall(text)) != text:
        raise ValueError(f"unpaired brace in template: {text!r}")
    stack: list[list[list[str | Slot | Choice]]] = [[[]]]
    for token in _TOKEN.findall(text):
        if token == "[":
            stack.append([[]])
        elif token == "|" and len(stack) > 1:
            stack[-1].append([])
        elif token == "]" and len(stack) > 1:
            choice = Choice(tuple(tuple(alternative) for alternative in stack.pop()))
            stack[-1][-1].append(choice)
        elif token in "[]|":
            raise ValueError(f"unpaired {token!r} in template: {text!r}")
        else:
            stack[-1][-1].append(Slot(token[1:-1]) if token.startswith("{") else token)
    if len(stack) != 1:
        raise ValueError(f"unclosed '[' in template: {text!r}")
    return tuple(stack[0][0])


def expand(sequence: Sequence, rng: random.Random, fill_slot: Callable[[str], str]) -> str:
    """Expand a parsed template.

    Args:
        sequence: The template.
        rng: Random generator of the choices.
        fill_slot: Returns the text of a slot by its name.
    """
    pieces: list[str] = []
    for part in sequence:
        if isinstance(part, str):
            pieces.append(part)
        elif isinstance(part, Slot):
            pieces.append(fill_slot(part.name))
        else:
            pieces.append(expand(rng.choice(part.alternatives), rng, fill_slot))
    return "".join(pieces)
