"""The parts of a form: which texts are answers.

A form is a graph of these nodes. `Rule` makes it recursive: lists of JSON contain lists. Does not know where
a form comes from, nor how it is matched.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

LAST_CODE_POINT = 0x10FFFF
SURROGATES = (0xD800, 0xDFFF)  # no characters, so no text has them

CATEGORIES: dict[str, Callable[[str], bool]] = {
    "d": str.isdecimal,
    "s": str.isspace,
    "w": lambda char: char.isalnum() or char == "_",
}
r"""Kinds of characters, as `\d`, `\s` and `\w` of regular expressions; upper case is the opposite."""


@dataclass(frozen=True, eq=False)  # nodes are compared by identity: each is one place in the form
class Text:
    """A literal text."""

    text: str
    """The text; may be empty."""
    is_required: bool = False
    """Whether a tokenizer that cannot spell it is an error: the user named this text."""


@dataclass(frozen=True, eq=False)
class Chars:
    """One character of a set."""

    ranges: tuple[tuple[int, int], ...]
    """First and last code point of each range."""
    categories: str = ""
    """Keys of CATEGORIES, in lower or upper case; their characters are in the set too."""
    is_negated: bool = False
    """Whether the set is all other characters."""
    excluded: tuple[tuple[int, int], ...] = ()
    """Ranges that are not in the set, whatever the other fields say."""

    def contains(self, char: str) -> bool:
        """Whether a character is in the set."""
        code = ord(char)
        if any(low <= code <= high for low, high in self.excluded):
            return False
        found = any(low <= code <= high for low, high in self.ranges) or any(
            CATEGORIES[name.lower()](char) == name.islower() for name in self.categories
        )
        return found != self.is_negated


@dataclass(frozen=True, eq=False)
class Series:
    """Parts one after another."""

    parts: tuple["Node", ...]
    """The parts."""


@dataclass(frozen=True, eq=False)
class Either:
    """One of several options."""

    options: tuple["Node", ...]
    """The options; none of them is a form without any answer."""


@dataclass(frozen=True, eq=False)
class Repeat:
    """A part several times."""

    part: "Node"
    """The part."""
    least: int = 0
    """Smallest number of times."""
    most: int | None = None
    """Largest number of times; None is no limit."""


@dataclass(eq=False)  # not frozen: its body is set when the rule can be named inside it
class Rule:
    """A node with a name, which may contain itself."""

    body: "Node | None" = None
    """The node."""


Node: TypeAlias = Text | Chars | Series | Either | Repeat | Rule

EMPTY = Text("")
ANY_CHARACTER = Chars((), is_negated=True)


def series(*parts: Node | str) -> Series:
    """Return parts one after another; a str is a literal text."""
    return Series(tuple(Text(part) if isinstance(part, str) else part for part in parts))


def optional(part: Node) -> Either:
    """Return a part that may be absent."""
    return Either((part, EMPTY))


def one_of(chars: str) -> Chars:
    """Return the set of some characters."""
    return Chars(tuple((ord(char), ord(char)) for char in chars))


def children(node: Node) -> tuple[Node, ...]:
    """Return the nodes directly inside a node."""
    if isinstance(node, Series):
        return node.parts
    if isinstance(node, Either):
        return node.options
    if isinstance(node, Repeat):
        return (node.part,)
    if isinstance(node, Rule):
        assert node.body is not None
        return (node.body,)
    return ()


def list_nodes(root: Node) -> list[Node]:
    """List all nodes of a form once, those inside a node before the node where there is no recursion."""
    found: dict[Node, None] = {}
    seen: set[Node] = set()
    stack = [(root, False)]
    while stack:
        node, is_done = stack.pop()
        if is_done:
            found[node] = None
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            stack += [(child, False) for child in children(node)]
    return list(found)
