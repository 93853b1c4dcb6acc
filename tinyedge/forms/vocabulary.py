"""The texts of a tokenizer's tokens, sorted, so that those which begin with a text are next to each other.

In: a tokenizer. Out: texts and ids, and what is found once for all forms. Does not know how they are matched.
"""

from collections.abc import Callable, Hashable

from tinyedge.forms.grammar import SURROGATES, Node
from tinyedge.text.tokenizer import Tokenizer

BYTES = 256
KEPT_SETS = 1000  # of characters: forms repeat the same few, and one form has hundreds at most


class Vocabulary:
    """What the tokens of a tokenizer spell. Built once for a tokenizer: it asks for every piece."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        texts = tokenizer.list_texts()
        self.texts: list[str | bytes] = texts
        """By token: its text, one byte, or "" for a token without text."""
        by_text = {text: token for token, text in enumerate(texts) if text and isinstance(text, str)}
        self.sorted_texts = sorted(by_text)
        """The texts in order, without bytes."""
        self.sorted_ids = [by_text[text] for text in self.sorted_texts]
        """The token of each of them."""
        byte_ids = {text[0]: token for token, text in enumerate(texts) if isinstance(text, bytes)}
        self.has_all_bytes = len(byte_ids) == BYTES
        """Whether any character can be spelled in bytes."""
        self.byte_ids = byte_ids if self.has_all_bytes else {}
        """The token of each byte."""
        self.characters = frozenset("".join(self.sorted_texts))
        """All characters that pieces have."""
        self.constants = 0, frozenset[Node]()
        """How many of `grammar.CONSTANTS` were looked at, and which nodes in them can be spelled; one value,
        so that threads replace both at once."""
        self._members: dict[Hashable, frozenset[str]] = {}
        self._single = frozenset(text for text in self.sorted_texts if len(text) == 1)

    def has_piece(self, char: str) -> bool:
        """Whether a character is a piece of its own."""
        return char in self._single

    def find_members(self, key: Hashable, contains: Callable[[str], bool]) -> frozenset[str]:
        """Return the characters of pieces that are in a set; kept, since most forms have the same sets.

        Args:
            key: Equal for equal sets.
            contains: Whether a character is in the set.
        """
        found = self._members.get(key)
        if found is None:
            if len(self._members) == KEPT_SETS:
                self._members.clear()
            found = self._members[key] = frozenset(filter(contains, self.characters))
        return found

    def can_spell(self, char: str) -> bool:
        """Whether a character can be spelled wherever it stands."""
        return char in self._single or (
            self.has_all_bytes and not SURROGATES[0] <= ord(char) <= SURROGATES[1]
        )
