"""Which tokens may follow a text in a form.

In: a form and a vocabulary. Out: for each text in progress, the allowed tokens. Every text that it lets grow
can still become an answer: a part of the form that the tokenizer cannot spell does not exist here.
"""

import bisect
from collections import OrderedDict
from collections.abc import Iterable, Iterator

from tinyedge.forms.automaton import Automaton, FormState, Partial
from tinyedge.forms.grammar import Node, Text
from tinyedge.forms.vocabulary import Vocabulary
from tinyedge.text.tokenizer import EOS_ID

FEW = 200  # tokens; a state with more is asked about tokens one by one
KEPT_LISTS = 16  # of all tokens that may follow: most of a string has the same one
MAX_VISITS = 1000  # beginnings of pieces that a search for few tokens looks at
MANY_CHARACTERS = 24  # where a set of more may follow, such as letters, most pieces do: no search for few
AFTER_ALL = "\U0010ffff"  # follows every character in order


class Matcher:
    """A form for one vocabulary. Any number of texts can use it at the same time.

    Args:
        root: The form.
        vocabulary: The tokens.
        name: Name of the parameter in errors.

    Raises:
        UsageError: The tokenizer cannot spell the form, or it is too complex, which a later token may show.
    """

    def __init__(self, root: Node, vocabulary: Vocabulary, name: str = "form") -> None:
        self.vocabulary = vocabulary
        self.automaton = Automaton(root, vocabulary, name)
        self._all: OrderedDict[tuple[FormState | Partial, bool], list[int]] = OrderedDict()

    def begin(self) -> "FormText":
        """Start a text."""
        return FormText(self)

    def advance(self, state: FormState, text: str, start: int = 0) -> FormState | None:
        """Return the state after the characters `text[start:]`; None if the form does not allow them."""
        step = self.automaton.step
        reached: FormState | None = state
        for char in text[start:]:
            reached = step(reached, char)  # type: ignore[arg-type]  # checked below
            if reached is None:
                return None
        return reached

    def list_all(self, place: FormState | Partial, is_first: bool) -> list[int]:
        """List all tokens that may follow, in order; arguments are those of `list_tokens`."""
        key = (place, is_first)
        found = self._all.get(key)
        if found is None:
            found = self._all[key] = self.list_tokens(place, is_first, None) or []
            if len(self._all) > KEPT_LISTS:
                self._all.popitem(last=False)
        return found

    def list_tokens(
        self, place: FormState | Partial, is_first: bool, max_visits: int | None
    ) -> list[int] | None:
        """List all tokens that may follow, in order; None if that takes more than `max_visits`.

        Args:
            place: Where the text is.
            is_first: Whether no token precedes, so that one leading space does not count.
            max_visits: Beginnings of pieces to look at; None is no limit.
        """
        if isinstance(place, Partial):
            return sorted(self._list_bytes(place))
        search = _Search(self, max_visits)
        texts = self.vocabulary.sorted_texts
        is_complete = search.run(place, 0, len(texts), 0)
        if is_first and is_complete:
            low, high = bisect.bisect_left(texts, " "), bisect.bisect_left(texts, " " + AFTER_ALL)
            search.exclude(low, high)
            is_complete = search.run(place, low, high, 1)
        if not is_complete:
            return None
        found = search.found + self._list_bytes(place)
        return sorted([*found, EOS_ID] if place.accepts else found)

    def has_many_characters(self, state: FormState) -> bool:
        """Whether a set of many characters may follow."""
        sets = (head.node for head in state.heads if not isinstance(head.node, Text))
        return any(len(self.automaton.members(one)) > MANY_CHARACTERS for one in sets)  # type: ignore[arg-type]

    def _list_bytes(self, place: FormState | Partial) -> list[int]:
        ids, step = self.vocabulary.byte_ids, self.automaton.step_byte
        candidates: Iterable[int] = ids
        if isinstance(place, FormState):
            texts = [head.node.text for head in place.heads if isinstance(head.node, Text)]
            if len(texts) == len(place.heads):
                candidates = {text[0].encode()[0] for text in texts}
        return [ids[byte] for byte in candidates if byte in ids and step(place, byte) is not None]


class _Search:
    """A search through the sorted pieces, which skips all pieces with a beginning that is not allowed."""

    def __init__(self, matcher: Matcher, max_visits: int | None) -> None:
        self.found: list[int] = []
        self._matcher = matcher
        self._texts, self._ids = matcher.vocabulary.sorted_texts, matcher.vocabulary.sorted_ids
        self._left = max_visits

    def exclude(self, low: int, high: int) -> None:
        """Forget the tokens found among the pieces `low` to `high`."""
        excluded = set(self._ids[low:high])
        self.found = [token for token in self.found if token not in excluded]

    def run(self, state: FormState, low: int, high: int, depth: int) -> bool:
        """Find the allowed ones of the pieces from `low` to `high`; whether the number of visits sufficed.

        Args:
            state: The state after their first `depth` characters, which are equal.
            low: Index of the first piece.
            high: Index after the last one.
            depth: Number of characters.
        """
        texts = self._texts
        if low < high and len(texts[low]) == depth:
            self.found.append(self._ids[low])
            low += 1
        if low >= high:
            return True
        beginning = texts[low][:depth]
        for char, start in self._find_groups(state, low, high, depth):
            if self._left is not None:
                self._left -= 1
                if self._left < 0:
                    return False
            reached = self._matcher.automaton.step(state, char)
            if reached is not None:
                end = bisect.bisect_left(texts, beginning + char + AFTER_ALL, start, high)
                if not self.run(reached, start, end, depth + 1):
                    return False
        return True

    def _find_groups(self, state: FormState, low: int, high: int, depth: int) -> Iterator[tuple[str, int]]:
        """Yield characters after the first `depth` ones, each with the first piece that has it there."""
        texts = self._texts
        beginning = texts[low][:depth]
        allowed = self._list_characters(state)
        if len(allowed) < high - low:
            for char in allowed:
                start = bisect.bisect_left(texts, beginning + char, low, high)
                if start < high and texts[start][depth] == char:
                    yield char, start
        else:
            while low < high:
                char = texts[low][depth]
                yield char, low
                low = bisect.bisect_left(texts, beginning + char + AFTER_ALL, low, high)

    def _list_characters(self, state: FormState) -> set[str]:
        chars: set[str] = set()
        for head in state.heads:
            node = head.node
            if isinstance(node, Text):
                chars.add(node.text[0])
            else:
                chars |= self._matcher.automaton.members(node)  # type: ignore[arg-type]  # heads are either
        return chars


class FormText:
    """A text in progress."""

    def __init__(self, matcher: Matcher) -> None:
        self._matcher = matcher
        self._place: FormState | Partial = matcher.automaton.start
        self._is_first = True

    @property
    def is_complete(self) -> bool:
        """Whether the text is an answer."""
        return isinstance(self._place, FormState) and self._place.accepts

    @property
    def is_final(self) -> bool:
        """Whether the text is an answer that cannot become longer."""
        return self.is_complete and isinstance(self._place, FormState) and not self._place.heads

    def allows(self, token: int) -> bool:
        """Whether a token may follow."""
        return self.is_complete if token == EOS_ID else self._find_next(token) is not None

    def list_few(self) -> tuple[int, ...] | None:
        """List all tokens that may follow, in order, if there are few."""
        place = self._place
        if isinstance(place, Partial):
            return tuple(self._matcher.list_tokens(place, False, None) or ())
        if self._is_first not in place.few:
            found = None
            if not self._matcher.has_many_characters(place):
                found = self._matcher.list_tokens(place, self._is_first, MAX_VISITS)
            place.few[self._is_first] = tuple(found) if found is not None and len(found) <= FEW else None
        return place.few[self._is_first]

    def list_all(self) -> list[int]:
        """List all tokens that may follow, in order."""
        return self._matcher.list_all(self._place, self._is_first)

    def push(self, token: int) -> None:
        """Add a token that is allowed."""
        if token != EOS_ID:
            found = self._find_next(token)
            assert found is not None
            self._place, self._is_first = found, False

    def _find_next(self, token: int) -> FormState | Partial | None:
        text, place = self._matcher.vocabulary.texts[token], self._place
        if isinstance(text, bytes):
            if self._is_first and text == b" ":
                return None  # it would be dropped
            return self._matcher.automaton.step_byte(place, text[0])
        if not text or isinstance(place, Partial):
            return None
        # The first piece of a line may begin with a space that is no part of the text.
        return self._matcher.advance(place, text, int(self._is_first and text[0] == " "))
