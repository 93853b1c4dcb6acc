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

# Limits, so that no pattern takes seconds.
MAX_REPEAT = 1000
MAX_PATTERN = 4096  # characters
MAX_DEPTH = 64  # groups and repetitions inside each other
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
    if len(pattern) > MAX_PATTERN:
        raise _refuse(name, f"has more than {MAX_PATTERN} characters")
    try:
        re.compile(pattern)
        parsed = _parser.parse(pattern)
    except RecursionError:
        raise _make_depth_error(name) from None
    except (re.error, OverflowError) as failure:
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


def _make_depth_error(name: str) -> UsageError:
    return _refuse(name, f"has groups and repetitions nested more than {MAX_DEPTH} levels deep")


def _convert(items: Items, name: str, depth: int = 0) -> Node:
    if depth > MAX_DEPTH:
        raise _make_depth_error(name)
    parts = [_convert_item(kind, value, name, depth + 1) for kind, value in items]
    return parts[0] if len(parts) == 1 else Series(tuple(parts))


def _convert_item(kind: Any, value: Any, name: str, depth: int) -> Node:
    if kind is _constants.LITERAL:
        return Text(chr(value))
    if kind is _constants.NOT_LITERAL:
        return Chars(((value, value),), is_negated=True)
    if kind is _constants.ANY:
        return Chars(((ord("\n"), ord("\n")),), is_negated=True)
    if kind is _constants.IN:
        return _convert_set(value)
    if kind is _constants.BRANCH:
        return Either(tuple(_convert(option, name, depth) for option in value[1]))
    if kind is _constants.SUBPATTERN:
        _, added, removed, inside = value
        if added or removed:
            raise _refuse(name, "has inline flags, which are not supported")
        return _convert(inside, name, depth)
    if kind in (_constants.MAX_REPEAT, _constants.MIN_REPEAT):
        least, most, inside = value
        most = None if most is _constants.MAXREPEAT else most
        if max(least, most or 0) > MAX_REPEAT:
            raise _refuse(name, f"repeats a part more than {MAX_REPEAT} times")
        return Repeat(_convert(inside, name, depth), least, most)
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
