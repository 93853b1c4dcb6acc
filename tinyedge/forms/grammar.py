"""The parts of a form: which texts are answers.

A form is a graph of these nodes. `Rule` makes it recursive: lists of JSON contain lists. Does not know where
a form comes from, nor how it is matched.
"""

from collections.abc import Callable, Collection
from typing import TypeAlias

LAST_CODE_POINT = 0x10FFFF
SURROGATES = (0xD800, 0xDFFF)  # no characters, so no text has them

CATEGORIES: dict[str, Callable[[str], bool]] = {
    "d": str.isdecimal,
    "s": str.isspace,
    "w": lambda char: char.isalnum() or char == "_",
}
r"""Kinds of characters, as `\d`, `\s` and `\w` of regular expressions; upper case is the opposite."""


# Plain classes, which are quick to import and to create. Nodes are never changed, except for a rule's body,
# and are compared by identity: each is one place in a form.


class Text:
    """A literal text."""

    __slots__ = ("is_required", "text")

    def __init__(self, text: str, is_required: bool = False) -> None:
        """Create the node.

        Args:
            text: The text; may be empty.
            is_required: Whether a tokenizer that cannot spell it is an error: the user named this text.
        """
        self.text = text
        self.is_required = is_required


class Chars:
    """One character of a set."""

    __slots__ = ("categories", "excluded", "is_negated", "key", "ranges")

    def __init__(
        self,
        ranges: tuple[tuple[int, int], ...],
        categories: str = "",
        is_negated: bool = False,
        excluded: tuple[tuple[int, int], ...] = (),
    ) -> None:
        """Create the node.

        Args:
            ranges: First and last code point of each range.
            categories: Keys of CATEGORIES, in lower or upper case; their characters are in the set too.
            is_negated: Whether the set is all other characters.
            excluded: Ranges that are not in the set, whatever the other arguments say.
        """
        self.ranges = ranges
        self.categories = categories
        self.is_negated = is_negated
        self.excluded = excluded
        self.key = (ranges, categories, is_negated, excluded)  # equal for equal sets

    def contains(self, char: str) -> bool:
        """Whether a character is in the set."""
        code = ord(char)
        if any(low <= code <= high for low, high in self.excluded):
            return False
        found = any(low <= code <= high for low, high in self.ranges) or any(
            CATEGORIES[name.lower()](char) == name.islower() for name in self.categories
        )
        return found != self.is_negated


class Series:
    """Parts one after another."""

    __slots__ = ("parts",)

    def __init__(self, parts: "tuple[Node, ...]") -> None:
        self.parts = parts


class Either:
    """One of several options."""

    __slots__ = ("options",)

    def __init__(self, options: "tuple[Node, ...]") -> None:
        self.options = options


class Repeat:
    """A part several times."""

    __slots__ = ("least", "most", "part")

    def __init__(self, part: "Node", least: int = 0, most: int | None = None) -> None:
        """Create the node.

        Args:
            part: The part.
            least: Smallest number of times.
            most: Largest number of times; None is no limit.
        """
        self.part = part
        self.least = least
        self.most = most


class Rule:
    """A node that may contain itself: its body is set when the rule can already be named inside it."""

    __slots__ = ("body",)

    def __init__(self) -> None:
        self.body: Node | None = None


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


CONSTANTS: list[Node] = []
"""Nodes that are the same in many forms: a vocabulary finds only once which of those inside it can spell."""


def constant(node: Node) -> Node:
    """Return a node after it was added to CONSTANTS; for nodes of modules, which are never freed."""
    CONSTANTS.append(node)
    return node


def list_nodes(root: Node, known: Collection[Node] = ()) -> list[Node]:
    """List all nodes of a form once, those inside a node before the node where there is no recursion.

    Args:
        root: The form.
        known: Nodes to leave out, with those inside them.
    """
    found: dict[Node, None] = {}
    seen: set[Node] = set(known)
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
