"""Regular expressions as forms, in Python's syntax.

Python's own parser reads them, so a pattern means what it means to `re`. What depends on text outside the
match, or needs to remember text, is refused: look-around, back references, word boundaries, inline flags.
"""

import re
from collections.abc import Sequence
from re import _constants, _parser  # type: ignore[attr-defined]  # in every Python from 3.11 on
from typing import Any

from tinyedge.core.errors import UsageError
from tinyedge.forms.grammar import (
    ANY_CHARACTER,
    EMPTY,
    LAST_CODE_POINT,
    Chars,
    Either,
    Node,
    Repeat,
    Series,
    Text,
)

MAX_REPEAT = 10_000
CATEGORY_NAMES = {
    _constants.CATEGORY_DIGIT: "d",
    _constants.CATEGORY_NOT_DIGIT: "D",
    _constants.CATEGORY_SPACE: "s",
    _constants.CATEGORY_NOT_SPACE: "S",
    _constants.CATEGORY_WORD: "w",
    _constants.CATEGORY_NOT_WORD: "W",
}
STARTS = (_constants.AT_BEGINNING, _constants.AT_BEGINNING_STRING)
ENDS = (_constants.AT_END, _constants.AT_END_STRING)
UNSUPPORTED = {
    _constants.ASSERT: "look-ahead and look-behind are",
    _constants.ASSERT_NOT: "look-ahead and look-behind are",
    _constants.GROUPREF: "back references are",
    _constants.GROUPREF_EXISTS: "conditional groups are",
    _constants.ATOMIC_GROUP: "atomic groups are",
    _constants.POSSESSIVE_REPEAT: "possessive repetitions are",
    _constants.AT: "^ and $ inside a pattern, \\b and \\B are",
}
HINT = "write what the whole answer looks like, with literals, sets, groups, | and repetitions"

Items = Sequence[tuple[Any, Any]]


def parse_regex(pattern: str, name: str = "regex") -> Node:
    """Return the texts that a pattern matches completely, as `re.fullmatch` does.

    Args:
        pattern: The pattern; ^ at its beginning and $ at its end change nothing.
        name: Name of the parameter in errors.

    Raises:
        UsageError: The pattern is invalid, or uses what is not supported.
    """
    return _convert_whole(_parse(pattern, name), name, EMPTY)


def parse_search(pattern: str, name: str) -> Node:
    """Return the texts in which a pattern is found, as JSON Schema's `pattern` means; errors as above."""
    return _convert_whole(_parse(pattern, name), name, Repeat(ANY_CHARACTER))


def _parse(pattern: str, name: str) -> Items:
    try:
        re.compile(pattern)
        parsed = _parser.parse(pattern)
    except (re.error, OverflowError, RecursionError) as failure:
        raise _refuse(name, f"is not a regular expression: {failure}") from None
    if parsed.state.flags & ~re.UNICODE:
        raise _refuse(name, "has inline flags, which are not supported")
    return list(parsed)


def _convert_whole(
    items: Items, name: str, around: Node, is_start: bool = False, is_end: bool = False
) -> Node:
    """Convert a pattern, or an option of it, whose anchors say whether there may be other text around it.

    Args:
        items: The parsed pattern.
        name: Name of the parameter in errors.
        around: What may stand before and after the pattern.
        is_start: Whether an anchor before it was read already.
        is_end: Whether an anchor after it was.
    """
    if items and items[0][0] is _constants.AT and items[0][1] in STARTS:
        items, is_start = items[1:], True
    if items and items[-1][0] is _constants.AT and items[-1][1] in ENDS:
        items, is_end = items[:-1], True
    if len(items) == 1 and items[0][0] is _constants.BRANCH:
        options = (_convert_whole(list(one), name, around, is_start, is_end) for one in items[0][1][1])
        return Either(tuple(options))
    return Series((EMPTY if is_start else around, _convert(items, name), EMPTY if is_end else around))


def _refuse(name: str, message: str, hint: str = HINT) -> UsageError:
    return UsageError(f"{name} {message}", hint, (name,))


def _convert(items: Items, name: str) -> Node:
    parts = [_convert_item(kind, value, name) for kind, value in items]
    return parts[0] if len(parts) == 1 else Series(tuple(parts))


def _convert_item(kind: Any, value: Any, name: str) -> Node:
    if kind is _constants.LITERAL:
        return Text(chr(value))
    if kind is _constants.NOT_LITERAL:
        return Chars(((value, value),), is_negated=True)
    if kind is _constants.ANY:
        return Chars(((ord("\n"), ord("\n")),), is_negated=True)
    if kind is _constants.IN:
        return _convert_set(value)
    if kind is _constants.BRANCH:
        return Either(tuple(_convert(option, name) for option in value[1]))
    if kind is _constants.SUBPATTERN:
        _, added, removed, inside = value
        if added or removed:
            raise _refuse(name, "has inline flags, which are not supported")
        return _convert(inside, name)
    if kind in (_constants.MAX_REPEAT, _constants.MIN_REPEAT):
        least, most, inside = value
        most = None if most is _constants.MAXREPEAT else most
        if max(least, most or 0) > MAX_REPEAT:
            raise _refuse(name, f"repeats a part more than {MAX_REPEAT} times")
        return Repeat(_convert(inside, name), least, most)
    raise _refuse(name, f"cannot be used: {UNSUPPORTED.get(kind, f'{kind} is')} not supported")


def _convert_set(members: Items) -> Chars:
    ranges: list[tuple[int, int]] = []
    categories, is_negated = "", False
    for kind, value in members:
        if kind is _constants.NEGATE:
            is_negated = True
        elif kind is _constants.LITERAL:
            ranges.append((value, value))
        elif kind is _constants.RANGE:
            ranges.append((value[0], min(value[1], LAST_CODE_POINT)))
        else:
            categories += CATEGORY_NAMES[value]
    return Chars(tuple(ranges), categories, is_negated)
