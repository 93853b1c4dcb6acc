"""Templates: text with choices and slots.

In:  a line such as "{hero} bought [a|the last] {fruit} [at the market|]."
Out: the line with one alternative of every [a|b] taken, and every {slot} replaced by what the caller says.

Choices nest. Slots do not: what stands between braces is handed to the caller as it is.
"""

import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

_TOKEN = re.compile(r"\{[^{}]*\}|[\[\]|]|[^\[\]|{}]+")


@dataclass(frozen=True, slots=True)
class Slot:
    name: str


@dataclass(frozen=True, slots=True)
class Choice:
    alternatives: tuple["Sequence", ...]


Sequence = tuple[str | Slot | Choice, ...]


@cache
def parse(text: str) -> Sequence:
    """The template's tree. ValueError where brackets or braces do not pair."""
    if "".join(_TOKEN.findall(text)) != text:
        raise ValueError(f"stray brace in template: {text!r}")
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
            raise ValueError(f"stray {token!r} in template: {text!r}")
        else:
            stack[-1][-1].append(Slot(token[1:-1]) if token.startswith("{") else token)
    if len(stack) != 1:
        raise ValueError(f"unclosed '[' in template: {text!r}")
    return tuple(stack[0][0])


def expand(sequence: Sequence, rng: random.Random, fill_slot: Callable[[str], str]) -> str:
    """One text of the template, chosen by rng; fill gives each slot's text."""
    pieces: list[str] = []
    for part in sequence:
        if isinstance(part, str):
            pieces.append(part)
        elif isinstance(part, Slot):
            pieces.append(fill_slot(part.name))
        else:
            pieces.append(expand(rng.choice(part.alternatives), rng, fill_slot))
    return "".join(pieces)
