"""JSON as forms: strings, numbers, and any value.

White space is bounded, so that a model cannot write it for ever: one space may follow a comma or a colon, as
Python writes JSON, and there is no other. Numbers have a bounded number of digits. A string has no half of a
surrogate pair, which many readers refuse.
"""

import functools
import json

from tinyedge.forms.grammar import (
    EMPTY,
    Chars,
    Either,
    Node,
    Repeat,
    Rule,
    Series,
    Text,
    children,
    one_of,
    optional,
    series,
)

MAX_DIGITS = 15  # of the whole part and of the fraction: a double holds as many
SPACE = optional(Text(" "))
COMMA, COLON = series(",", SPACE), series(":", SPACE)
DIGIT = Chars(((ord("0"), ord("9")),))
NONZERO_DIGIT = Chars(((ord("1"), ord("9")),))
HEX = one_of("0123456789abcdefABCDEF")
SPECIAL = ((0, 0x1F), (ord('"'), ord('"')), (ord("\\"), ord("\\")))  # characters that a string must escape
# Any \u escape but that of a surrogate.
UNICODE_ESCAPE = series(
    "\\u",
    Either(
        (
            series(one_of("0123456789abcefABCEF"), HEX, HEX, HEX),
            series(one_of("dD"), one_of("01234567"), HEX, HEX),
        )
    ),
)
CHARACTER = Either((Chars(SPECIAL, is_negated=True), series("\\", one_of('"\\/bfnrt')), UNICODE_ESCAPE))

INTEGER = Either(
    (
        Text("0"),
        series(optional(Text("-")), NONZERO_DIGIT, Repeat(DIGIT, 0, MAX_DIGITS - 1)),
    )
)
NUMBER = series(
    optional(Text("-")),
    Either((Text("0"), series(NONZERO_DIGIT, Repeat(DIGIT, 0, MAX_DIGITS - 1)))),
    optional(series(".", Repeat(DIGIT, 1, MAX_DIGITS))),
    optional(series(one_of("eE"), optional(one_of("+-")), Repeat(DIGIT, 1, 2))),
)
BOOLEAN = Either((Text("true"), Text("false")))
NULL = Text("null")


def string(least: int = 0, most: int | None = None) -> Node:
    """Return the strings of `least` to `most` characters."""
    return series('"', Repeat(CHARACTER, least, most), '"')


STRING = string()


def array(item: Node, least: int = 0, most: int | None = None, first: tuple[Node, ...] = ()) -> Node:
    """Return the arrays of `least` to `most` items, of which the first ones have forms of their own."""
    least = max(0, least - len(first))
    most = None if most is None else most - len(first)
    beginning = [part for number, one in enumerate(first) for part in ((COMMA, one) if number else (one,))]
    if first:
        rest: Node = Repeat(series(COMMA, item), least, most)
    else:
        more = None if most is None else max(0, most - 1)
        rest = series(item, Repeat(series(COMMA, item), max(0, least - 1), more))
        rest = EMPTY if most == 0 else rest if least else optional(rest)
    return series("[", *beginning, rest, "]")


def mapping(value: Node) -> Node:
    """Return the objects with any names whose values have a form."""
    member = series(STRING, COLON, value)
    return series("{", optional(series(member, Repeat(series(COMMA, member)))), "}")


def record(members: list[tuple[str, Node, bool]]) -> Node:
    """Return the objects with these members in this order.

    Args:
        members: Name, form of the value, and whether it must be present.
    """
    # After the last member; with and without a member before it.
    after: Node = EMPTY
    first: Node = EMPTY
    for name, value, is_required in reversed(members):
        member = series(literal(name), COLON, value, after)
        later: Node = series(COMMA, member)
        first, after = (member, later) if is_required else (Either((member, first)), Either((later, after)))
    return series("{", first, "}")


def literal(value: object) -> Node:
    """Return one value of JSON."""
    if isinstance(value, list):
        return array(EMPTY, most=len(value), first=tuple(map(literal, value))) if value else Text("[]")
    if isinstance(value, dict):
        return record([(name, literal(one), True) for name, one in value.items()])
    return Text(json.dumps(value, ensure_ascii=False), is_required=True)


@functools.cache
def any_value() -> Node:
    """Return all values."""
    value = Rule()
    value.body = Either((STRING, NUMBER, BOOLEAN, NULL, array(value), mapping(value)))
    return value


def any_object() -> Node:
    """Return all objects."""
    return mapping(any_value())


def escape(node: Node) -> Node:
    """Return a form of texts as the content of strings: quotation marks and the like are escaped."""
    if isinstance(node, Text):
        return Text(json.dumps(node.text, ensure_ascii=False)[1:-1])
    if isinstance(node, Chars):
        special = [chr(code) for low, high in SPECIAL for code in range(low, high + 1)]
        escapes = [Text(json.dumps(char)[1:-1]) for char in special if node.contains(char)]
        plain = Chars(node.ranges, node.categories, node.is_negated, excluded=SPECIAL)
        return Either((plain, *escapes))
    if isinstance(node, Series):
        return Series(tuple(map(escape, children(node))))
    if isinstance(node, Either):
        return Either(tuple(map(escape, children(node))))
    assert isinstance(node, Repeat)  # a regular expression has no rules
    return Repeat(escape(node.part), node.least, node.most)
