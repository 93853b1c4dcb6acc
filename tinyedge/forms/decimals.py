"""Numbers between two bounds, as a form of their digits.

A number is a whole multiple of a power of ten, so its digits are compared with those of the bounds from the
left: as long as they are equal, the next digit is bounded; after that, it is free.
"""

import functools
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from tinyedge.forms.grammar import EMPTY, Chars, Either, Node, series
from tinyedge.forms.json_text import MAX_DIGITS

FRACTION_DIGITS = 6  # of a number with a bound, unless the bound has more
LIMIT = Decimal(10**MAX_DIGITS - 1)


def between(low: Decimal | None, high: Decimal | None, is_integer: bool) -> Node | None:
    """Return the numbers from `low` to `high`; None if there are none with this many digits.

    Args:
        low: Smallest number; None is no bound.
        high: Largest number; None is no bound.
        is_integer: Whether only whole numbers are allowed.
    """
    low, high = max(-LIMIT, -LIMIT if low is None else low), min(LIMIT, LIMIT if high is None else high)
    places = 0
    if not is_integer:
        places = min(MAX_DIGITS, max(FRACTION_DIGITS, *(_count_places(bound) for bound in (low, high))))
    first = int((low.scaleb(places)).to_integral_value(ROUND_CEILING))
    last = int((high.scaleb(places)).to_integral_value(ROUND_FLOOR))
    options: list[Node] = []
    if first <= min(last, -1):
        options += [series("-", one) for one in _unsigned(max(1, -last), -first, places)]
    if last >= max(first, 0):
        options += _unsigned(max(0, first), last, places)
    return Either(tuple(options)) if options else None


def smallest_step(bounds: tuple[Decimal | None, ...], is_integer: bool) -> Decimal:
    """Return the difference of neighbouring numbers that `between` has for these bounds."""
    if is_integer:
        return Decimal(1)
    places = max([FRACTION_DIGITS, *(_count_places(bound) for bound in bounds if bound is not None)])
    return Decimal(1).scaleb(-min(MAX_DIGITS, places))


def _count_places(number: Decimal) -> int:
    exponent = number.normalize().as_tuple().exponent
    assert isinstance(exponent, int)  # a finite number
    return max(0, -exponent)


def _unsigned(low: int, high: int, places: int) -> list[Node]:
    """Return the texts of `low` to `high`, in units of the last of `places` digits after the point."""
    unit = 10**places
    options = []
    for length in range(len(str(low // unit)), len(str(high // unit)) + 1):  # digits before the point
        least = max(low, 10 ** (length - 1) * unit if length > 1 else 0)
        most = min(high, 10**length * unit - 1)
        options.append(_with_length(least, most, length, places))
    return options


def _with_length(low: int, high: int, length: int, places: int) -> Node:
    total = length + places
    lows, highs = str(low).zfill(total), str(high).zfill(total)

    @functools.cache
    def rest(at: int, equals_low: bool, equals_high: bool) -> Node:
        """The digits from `at` on; whether those before are those of a bound."""
        may_end = at >= length and not (equals_low and lows[at:].strip("0"))
        if at == total:
            return EMPTY
        smallest = int(lows[at]) if equals_low else 0
        largest = int(highs[at]) if equals_high else 9
        # Digits that equal a bound's are a case of their own; the others are free from here on.
        edges = {digit for digit, is_edge in ((smallest, equals_low), (largest, equals_high)) if is_edge}
        free = [digit for digit in range(smallest, largest + 1) if digit not in edges]
        options = [
            series(
                str(digit),
                rest(at + 1, equals_low and digit == smallest, equals_high and digit == largest),
            )
            for digit in sorted(edges)
        ]
        if free:
            digits = Chars(((ord("0") + free[0], ord("0") + free[-1]),))
            options.append(series(digits, rest(at + 1, False, False)))
        more: Node = Either(tuple(options))
        if at == length:
            more = series(".", more)
        return Either((more, EMPTY)) if may_end else more

    return rest(0, True, True)
