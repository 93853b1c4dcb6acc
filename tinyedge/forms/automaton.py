"""Which characters may follow a text in a form: a pushdown automaton, computed as far as texts need it.

A state is a set of places in the form; a place is a node and what follows it, a linked list. As in
llama.cpp's grammars, there is one such list for each way to read the text so far. States and the characters
between them are computed once and kept, so most of a text costs one look-up for each character.
"""

from tinyedge.core.errors import UsageError
from tinyedge.forms.grammar import (
    CONSTANTS,
    LAST_CODE_POINT,
    SURROGATES,
    Chars,
    Either,
    Node,
    Repeat,
    Rule,
    Series,
    Text,
    children,
    list_nodes,
)
from tinyedge.forms.vocabulary import Vocabulary

MAX_PLACES = 4000  # in one state; JSON needs dozens, a list of choices as many as there are
MAX_LISTED = 8  # characters that an error names
MAX_SEARCHED = 256  # characters of a range, for one that a set has


class Place:
    """A node that a text has reached, and what follows it. Equal places are the same object."""

    __slots__ = ("node", "rest")

    def __init__(self, node: Node, rest: "Place | None") -> None:
        self.node = node
        self.rest = rest  # None: the end of the form


class FormState:
    """All places that a text has reached. Equal states are the same object."""

    __slots__ = ("accepts", "few", "following", "heads")

    def __init__(self, heads: tuple[Place, ...], accepts: bool) -> None:
        self.heads = heads
        """Places whose node is a Text or Chars: what may come next."""
        self.accepts = accepts
        """Whether the text is an answer."""
        self.following: dict[str | bytes, FormState | Partial | None] = {}
        self.few: dict[bool, tuple[int, ...] | None] = {}  # kept by `matcher`


class Partial:
    """A state, and the first bytes of a character that follows it."""

    __slots__ = ("raw", "state")

    def __init__(self, state: FormState, raw: bytes) -> None:
        self.state = state
        self.raw = raw


class Automaton:
    """A form for one vocabulary.

    Args:
        root: The form.
        vocabulary: Which characters can be spelled.
        name: Name of the parameter in errors, also in those of `step`.

    Raises:
        UsageError: The tokenizer cannot spell the form, or it is too complex.
    """

    def __init__(self, root: Node, vocabulary: Vocabulary, name: str = "form") -> None:
        self._name = name
        self._vocabulary = vocabulary
        self._between: dict[tuple[Chars, int, int], bool] = {}
        self._places: dict[tuple[Node, Place | None], Place] = {}
        self._states: dict[tuple[frozenset[Place], bool], FormState] = {}
        self._texts: dict[str, Text] = {}
        self._repeats: dict[tuple[Node, int, int | None], Repeat] = {}
        count, known = vocabulary.constants
        if count < len(CONSTANTS):  # another kind of form was imported
            constants = tuple(CONSTANTS)
            constant_nodes = [node for constant in constants for node in list_nodes(constant)]
            known = self._find_possible(constant_nodes, frozenset())
            vocabulary.constants = len(constants), known
        nodes = list_nodes(root, known)
        self._possible = self._find_possible(nodes, known)
        required = "".join(node.text for node in nodes if isinstance(node, Text) and node.is_required)
        if root not in self._possible:
            required += self._find_needed(root)
        if missing := sorted(char for char in set(required) if not vocabulary.can_spell(char)):
            listed = " ".join(map(repr, missing[:MAX_LISTED]))
            raise self._refuse(
                f"the form needs characters that the tokenizer cannot spell: {listed}",
                "train the tokenizer on texts that have such answers, or with --byte-fallback",
            )
        if root not in self._possible:
            raise self._refuse(
                "no text that the tokenizer can spell has the form",
                "check the form; train the tokenizer on texts that have such answers",
            )
        self.start = self._close([self._place(root, None)])

    @property
    def size(self) -> int:
        """Number of states computed so far."""
        return len(self._states)

    def members(self, chars: Chars) -> frozenset[str]:
        """Return the characters of a set that pieces have."""
        return self._vocabulary.find_members(chars.key, chars.contains)

    def step(self, state: FormState, char: str) -> FormState | None:
        """Return the state after one more character; None if the form does not allow it."""
        if char in state.following:
            return state.following[char]  # type: ignore[return-value]  # a Partial is kept under bytes
        reached: list[Place | None] = []
        for head in state.heads:
            node = head.node
            if isinstance(node, Text):
                if node.text[0] == char:
                    rest = node.text[1:]
                    reached.append(self._place(self._text(rest), head.rest) if rest else head.rest)
            elif self._is_in(char, node):
                reached.append(head.rest)
        found = self._close(reached) if reached else None
        state.following[char] = found
        return found

    def step_byte(self, place: FormState | Partial, byte: int) -> FormState | Partial | None:
        """Return the state after one more byte of a character without a piece; None if it is not allowed.

        A character that has a piece is never spelled in bytes, as in the tokenizer's own encoding.
        """
        state, before = (place.state, place.raw) if isinstance(place, Partial) else (place, b"")
        raw = before + bytes([byte])
        if raw not in state.following:
            state.following[raw] = self._find_after(state, raw)
        return state.following[raw]

    def _find_after(self, state: FormState, raw: bytes) -> FormState | Partial | None:
        bounds = _bound_characters(raw)
        if bounds is None:
            return None
        low, high = bounds
        if low == high:
            char = chr(low)
            return None if self._vocabulary.has_piece(char) else self.step(state, char)
        return (
            Partial(state, raw)
            if any(self._has_between(head.node, low, high) for head in state.heads)
            else None
        )

    def _has_between(self, node: Node, low: int, high: int) -> bool:
        """Whether a node may begin with a character without a piece, from `low` to `high`."""
        if isinstance(node, Text):
            return low <= ord(node.text[0]) <= high and not self._vocabulary.has_piece(node.text[0])
        assert isinstance(node, Chars)
        key = (node, low, high)
        if key not in self._between:
            self._between[key] = self._search(node, low, high)
        return self._between[key]

    def _search(self, node: Chars, low: int, high: int) -> bool:
        """As `_has_between`; looks only at the beginning of a range, so that no pattern takes seconds.

        A character that is found there is found again with each of its next bytes, so there is no dead end.
        """
        spans = [(low, high)]
        if not node.is_negated and not node.categories:
            spans = [(max(low, first), min(high, last)) for first, last in node.ranges]
        return any(
            node.contains(char) and not self._vocabulary.has_piece(char)
            for first, last in spans
            for char in map(chr, range(first, min(last + 1, first + MAX_SEARCHED)))
            if not SURROGATES[0] <= ord(char) <= SURROGATES[1]
        )

    def _is_in(self, char: str, node: Node) -> bool:
        assert isinstance(node, Chars)
        return char in self.members(node) or (char not in self._vocabulary.characters and node.contains(char))

    def _find_possible(self, nodes: list[Node], known: frozenset[Node]) -> frozenset[Node]:
        """Return the nodes that have a text which the tokenizer can spell, with those that are known."""
        possible = set(known)
        count = -1
        while count < len(possible):  # recursion may need several rounds
            count = len(possible)
            possible.update(
                node for node in nodes if node not in possible and self._is_possible(node, possible)
            )
        return frozenset(possible)

    def _refuse(self, message: str, hint: str) -> UsageError:
        return UsageError(f"{self._name}: {message}", hint, (self._name,))

    def _find_needed(self, root: Node) -> str:
        """Return the literal texts without which an impossible node stays impossible."""
        needed, seen, stack = "", set(self._possible), [root]
        while stack:
            node = stack.pop()
            if node in seen:
                continue
            seen.add(node)
            if isinstance(node, Text):
                needed += node.text
            stack += children(node)[:1] if isinstance(node, Either) else children(node)
        return needed

    def _is_possible(self, node: Node, possible: set[Node]) -> bool:
        if isinstance(node, Text):
            return all(map(self._vocabulary.can_spell, node.text))
        if isinstance(node, Chars):
            if any(map(self._vocabulary.has_piece, self.members(node))):
                return True
            return self._vocabulary.has_all_bytes and self._has_between(node, 0, LAST_CODE_POINT)
        if isinstance(node, Series):
            return all(part in possible for part in node.parts)
        if isinstance(node, Either):
            return any(option in possible for option in node.options)
        if isinstance(node, Repeat):
            return node.least == 0 or node.part in possible
        return node.body in possible

    def _close(self, reached: list[Place | None]) -> FormState:
        """Return the state of some places and of all places that nothing separates from them."""
        seen: set[Place] = set()
        heads: dict[Place, None] = {}
        accepts = False
        while reached:
            place = reached.pop()
            if place is None:
                accepts = True
                continue
            if place in seen:
                continue
            seen.add(place)
            if len(seen) > MAX_PLACES:
                raise self._refuse(
                    f"the form is too complex: a text can be read in more than {MAX_PLACES} ways",
                    "avoid repetitions of repetitions, such as (a{1,99}){1,99}; list fewer choices",
                )
            node, rest = place.node, place.rest
            if isinstance(node, Text):
                if node.text:
                    heads[place] = None
                else:
                    reached.append(rest)
            elif isinstance(node, Chars):
                heads[place] = None
            elif isinstance(node, Series):
                for part in reversed(node.parts):
                    rest = self._place(part, rest)
                reached.append(rest)
            elif isinstance(node, Either):
                reached += [self._place(one, rest) for one in node.options if one in self._possible]
            elif isinstance(node, Repeat):
                if node.least == 0:
                    reached.append(rest)
                if node.most != 0 and node.part in self._possible:
                    reached.append(self._place(node.part, self._place(self._one_fewer(node), rest)))
            else:
                assert isinstance(node, Rule)
                assert node.body is not None
                reached.append(self._place(node.body, rest))
        key = (frozenset(heads), accepts)
        return self._states.setdefault(key, FormState(tuple(heads), accepts))

    def _place(self, node: Node, rest: Place | None) -> Place:
        key = (node, rest)
        found = self._places.get(key)
        return found or self._places.setdefault(key, Place(node, rest))

    def _text(self, text: str) -> Text:
        return self._texts.get(text) or self._texts.setdefault(text, Text(text))

    def _one_fewer(self, node: Repeat) -> Repeat:
        if node.least == 0 and node.most is None:
            return node
        key = (node.part, max(0, node.least - 1), None if node.most is None else node.most - 1)
        return self._repeats.get(key) or self._repeats.setdefault(key, Repeat(*key))


def _bound_characters(raw: bytes) -> tuple[int, int] | None:
    """Return the first and the last character whose UTF-8 begins with some bytes; None if there is none."""
    lead = raw[0]
    length = 1 if lead < 0x80 else 2 if 0xC2 <= lead < 0xE0 else 3 if 0xE0 <= lead < 0xF0 else 4
    if 0x80 <= lead < 0xC2 or lead > 0xF4 or len(raw) > length:
        return None
    if any(not 0x80 <= byte < 0xC0 for byte in raw[1:]):
        return None
    mask = 0x7F if length == 1 else (1 << (7 - length)) - 1
    code = lead & mask
    for byte in raw[1:]:
        code = code << 6 | (byte & 0x3F)
    shift = 6 * (length - len(raw))
    low = max(code << shift, (0, 0, 0x80, 0x800, 0x10000)[length])
    high = min(((code + 1) << shift) - 1, LAST_CODE_POINT)
    first, last = SURROGATES
    if low >= first and high <= last:
        return None
    return (low, high) if low <= high else None
