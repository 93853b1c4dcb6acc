"""Small charts as SVG: a histogram, dots and lines over time, columns.

In: numbers. Out: SVG text. Its colours are classes of the page's style sheet, so that they follow the theme.
"""

import math
from collections.abc import Sequence
from html import escape

from tinyedge.core.stats import percentile

WIDTH, HEIGHT = 480, 230
LEFT, RIGHT, TOP, BOTTOM = 48, 12, 18, 40  # margins for the axes, in pixels
TICKS = 5
CHARACTER = 7.5  # width of a bold character, in pixels, rather too large
HEADROOM = 1.4  # times the highest bar of a histogram; the names of the marks are above it


class Axes:
    """Axes of a chart: map values to pixels."""

    def __init__(self, x: tuple[float, float], y: tuple[float, float], x_label: str, y_label: str) -> None:
        self._x, self._y = x, y
        self._labels = x_label, y_label

    def x(self, value: float) -> float:
        """Return the position of an x value, in pixels from the left."""
        low, high = self._x
        return round(LEFT + (value - low) / (high - low or 1) * (WIDTH - LEFT - RIGHT), 2)

    def y(self, value: float) -> float:
        """Return the position of a y value, in pixels from the top."""
        low, high = self._y
        return round(HEIGHT - BOTTOM - (value - low) / (high - low or 1) * (HEIGHT - TOP - BOTTOM), 2)

    def render(self, marks: str, title: str, names: Sequence[tuple[float, str]] | None = None) -> str:
        """Return the chart as SVG.

        Args:
            marks: SVG of the data.
            title: Description of the chart, for screen readers.
            names: Ticks of the x axis with their labels; None labels round numbers.
        """
        if names is None:
            names = [(at, format_number(at)) for at in choose_ticks(*self._x)]
        parts = [
            f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">',
            *(
                f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{self.y(at)}" y2="{self.y(at)}"/>'
                + draw_text("tick end", LEFT - 6, self.y(at) + 4, format_number(at))
                for at in choose_ticks(*self._y)
            ),
            *(self._draw_tick(at, name) for at, name in names),
            draw_text("tick mid", (WIDTH + LEFT) / 2, HEIGHT - 6, self._labels[0]),
            draw_text("tick", LEFT, TOP - 4, self._labels[1]),
            marks,
            "</svg>",
        ]
        return "".join(parts)

    def _draw_tick(self, at: float, name: str) -> str:
        """Return the label of a tick of the x axis; one at the right end stays inside the chart."""
        x, half = self.x(at), CHARACTER * len(name) / 2
        is_inside = x + half <= WIDTH
        return draw_text(
            "tick mid" if is_inside else "tick end", x if is_inside else WIDTH, HEIGHT - BOTTOM + 16, name
        )


def draw_text(kind: str, x: float, y: float, words: str) -> str:
    """Return a text element at a position; `kind` are its CSS classes."""
    return f'<text class="{kind}" x="{x}" y="{y}">{escape(words)}</text>'


def draw_bar(x: float, width: float, y: float, baseline: float, label: str = "") -> str:
    """Return a vertical bar from `baseline` up to `y`, with a label as its tooltip."""
    title = f"<title>{escape(label)}</title>" if label else ""
    size = f'width="{max(0.5, width):.2f}" height="{baseline - y:.2f}"'
    return f'<rect class="bar" x="{x:.2f}" y="{y}" {size}>{title}</rect>'


def choose_ticks(low: float, high: float) -> list[float]:
    """Return about five round numbers from `low` to `high`; their step is 1, 2 or 5 times a power of ten."""
    span = high - low
    if not span > 0:
        return [low]
    rough = span / TICKS
    power = 10 ** math.floor(math.log10(rough))
    step = next(step * power for step in (1, 2, 5, 10) if step * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(at * step, 10) for at in range(first, math.floor(high / step + 1e-9) + 1)]


def format_number(value: float) -> str:
    """Format a number in a short form."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:g}"


def draw_histogram(values: Sequence[float], marks: Sequence[tuple[str, float]], unit: str) -> str:
    """Return a histogram of response times.

    A few very slow responses would squeeze all others into one bar. So values above `find_cut` are counted in
    a bar of their own at the right end, which is labelled with their number.

    Args:
        values: The values.
        marks: Values with a name, drawn as vertical lines.
        unit: Label of the x axis, which starts with the unit.
    """
    cut = find_cut(values)
    shown = [value for value in values if value <= cut]
    low, high = min(shown), max([*shown, *(at for _, at in marks if at <= cut)])
    padding = (high - low) * 0.05 or max(high * 0.05, 1e-9)
    low, high = max(0.0, low - padding), high + padding
    bins = min(48, max(8, round(math.sqrt(len(values)) * 2)))
    step = (high - low) / bins
    counts = [0] * bins
    for value in shown:
        counts[min(bins - 1, int((value - low) / step))] += 1
    above = len(values) - len(shown)
    end = high + 3 * step if above else high  # a gap, and a bar that is two bins wide
    axes = Axes((low, end), (0, max(*counts, above) * HEADROOM), unit, "responses")
    width = axes.x(low + step) - axes.x(low)
    drawn = [
        draw_bar(
            axes.x(low + i * step) + 0.5, width - 1, axes.y(count), axes.y(0),
            f"{count} from {low + i * step:.2f} to {low + (i + 1) * step:.2f} {unit}",
        )
        for i, count in enumerate(counts)
        if count
    ]  # fmt: skip
    if above:
        left, words = axes.x(high + step), f"{above} above {high:.4g} {unit.split()[0]}"
        drawn.append(
            draw_bar(left, 2 * width - 1, axes.y(above), axes.y(0), f"{words}, up to {max(values):.2f}")
        )
        drawn.append(draw_text("name end", WIDTH - RIGHT, axes.y(above) - 5, words))
    placed = [(f"{name} {format_number(round(at, 2))}", min(at, high + 2 * step)) for name, at in marks]
    ticks = [(at, format_number(at)) for at in choose_ticks(low, high)]
    title = f"Histogram of {len(values)} responses"
    return axes.render("".join(drawn) + _draw_marks(axes, placed), title, ticks)


def find_cut(values: Sequence[float]) -> float:
    """Return the value above which a histogram does not show values one by one.

    It is as far above the p95 as the smallest value is below it; at most 5% of the values are above.
    """
    ordered = sorted(values)
    p95 = percentile(ordered, 95)
    return p95 + (p95 - ordered[0]) or p95


def _draw_marks(axes: Axes, marks: Sequence[tuple[str, float]]) -> str:
    """Return vertical lines with names, in rows so that no name overlaps another or crosses a line.

    A line starts at the row of its name. A name is right of its line; left of it if it would leave the chart
    or reach a line whose name is left. In each group, the line that the other names point away from is first.
    """
    lefts: list[tuple[float, str]] = []
    rights: list[tuple[float, str]] = []
    for x, words in sorted(((axes.x(at), words) for words, at in marks), reverse=True):
        is_left = x + 4 + CHARACTER * len(words) > min([WIDTH, *(other for other, _ in lefts)])
        (lefts if is_left else rights).append((x, words))
    drawn = []
    for row, (x, words) in enumerate([*lefts, *reversed(rights)]):
        y = TOP + 14 * row
        drawn.append(f'<line class="mark" x1="{x}" x2="{x}" y1="{y + 2}" y2="{HEIGHT - BOTTOM}"/>')
        is_left = row < len(lefts)
        drawn.append(draw_text("name end" if is_left else "name", x - 4 if is_left else x + 4, y + 12, words))
    return "".join(drawn)


def draw_dots(points: Sequence[tuple[float, float, int, str]], x_label: str, y_label: str, title: str) -> str:
    """Return a scatter plot of points (x, y, group, label); the group selects the colour."""
    highest = max(y for _, y, _, _ in points)
    axes = Axes(
        (0, max(1.0, *(x for x, _, _, _ in points)) * 1.02), (0, highest * 1.05 or 1), x_label, y_label
    )
    marks = "".join(
        f'<circle class="group{group}" cx="{axes.x(x)}" cy="{axes.y(y)}" r="2.6">'
        f"<title>{escape(label)}</title></circle>"
        for x, y, group, label in points
    )
    return axes.render(marks, title)


def draw_line(points: Sequence[tuple[float, float]], x_label: str, y_label: str, title: str) -> str:
    """Return a line over time. The y axis starts at 0, so that small changes do not look large."""
    highest = max(y for _, y in points)
    axes = Axes((points[0][0], points[-1][0]), (0, highest * 1.15 or 1), x_label, y_label)
    path = " ".join(f"{axes.x(x)},{axes.y(y)}" for x, y in points)
    return axes.render(f'<polyline class="line" points="{path}"/>', title)


def draw_columns(values: Sequence[tuple[str, float]], y_label: str, title: str) -> str:
    """Return one column per name, with its value on top."""
    axes = Axes((0, len(values)), (0, max(value for _, value in values) * 1.15 or 1), "", y_label)
    width = (axes.x(1) - axes.x(0)) * 0.6
    marks = "".join(
        draw_bar(axes.x(i + 0.5) - width / 2, width, axes.y(value), axes.y(0))
        + draw_text("name mid", axes.x(i + 0.5), axes.y(value) - 5, format_number(round(value, 1)))
        for i, (_, value) in enumerate(values)
    )
    return axes.render(marks, title, [(i + 0.5, name) for i, (name, _) in enumerate(values)])
