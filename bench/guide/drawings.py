"""The guide's drawings: boxes and arrows as SVG.

In: nothing, or the tokenizer whose pieces are shown. Out: files beside the chapters.
"""

from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from tinyedge.core import files
from tinyedge.text.tokenizer import Tokenizer

STYLE = """  <style>
    .box { fill: #f6f8fa; stroke: #57606a; } .data { fill: #ddf4ff; stroke: #0969da; }
    .mark { fill: #fff8c5; stroke: #9a6700; } .name { font-weight: 600; fill: #1f2328; }
    .small { fill: #57606a; font-size: 11px; } .arrow { stroke: #57606a; stroke-width: 1.5; fill: none; }
    .headed { marker-end: url(#head); }
  </style>
  <defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">
    <path d="M0 0 L8 4 L0 8 z" fill="#57606a"/></marker></defs>
"""


@dataclass
class Drawing:
    """A drawing of a fixed size, in pixels."""

    width: int
    """Width."""

    height: int
    """Height."""

    parts: list[str] = field(default_factory=list)
    """SVG elements so far."""

    def box(
        self, x: int, y: int, width: int, height: int, name: str, small: str = "", kind: str = "box"
    ) -> None:
        """Draw a rectangle with a name, and a second line below it."""
        self.parts.append(f'<rect class="{kind}" x="{x}" y="{y}" width="{width}" height="{height}" rx="5"/>')
        middle = y + height // 2
        self.text(x + width // 2, middle - 3 if small else middle + 5, name, "name")
        if small:
            self.text(x + width // 2, middle + 13, small)

    def text(self, x: int, y: int, words: str, kind: str = "small", anchor: str = "middle") -> None:
        """Write a line of text; `y` is its baseline."""
        self.parts.append(
            f'<text class="{kind}" x="{x}" y="{y}" text-anchor="{anchor}">{escape(words)}</text>'
        )

    def arrow(self, *points: tuple[int, int]) -> None:
        """Draw a line through the points, with a head at the last one."""
        path = " L".join(f"{x} {y}" for x, y in points)
        self.parts.append(f'<path class="arrow headed" d="M{path}"/>')

    def write(self, path: Path) -> None:
        """Write the file."""
        body = "\n  ".join(self.parts)
        files.write_text(
            path,
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}"'
            f' font-family="system-ui, sans-serif" font-size="13">\n{STYLE}'
            f'  <rect width="{self.width}" height="{self.height}" fill="#ffffff"/>\n  {body}\n</svg>\n',
        )


def draw_steps() -> Drawing:
    """Every step from text to the board, with the chapters that explain it."""
    drawing = Drawing(860, 130)
    steps = [
        ("text", "sentences", "data", ""),
        ("tokens", "numbers", "data", "1"),
        ("model", "random weights", "box", "2"),
        ("windows", "of 128 tokens", "data", "3"),
        ("training", "guess, correct", "box", "4, 5"),
        ("evaluation", "on new text", "box", "6, 7, 8"),
        ("bundle", "budgets, board", "data", "9, 10"),
    ]
    for number, (name, small, kind, chapters) in enumerate(steps):
        x = 10 + 121 * number
        drawing.box(x, 30, 104, 50, name, small, kind)
        if chapters:
            drawing.text(x + 52, 102, f"chapter{'s' if ',' in chapters else ''} {chapters}")
        if number:
            drawing.arrow((x - 17, 55), (x - 1, 55))
    return drawing


def draw_tokens(tokenizer: Tokenizer, text: str) -> Drawing:
    """A sentence, cut into pieces, with their numbers. A space is shown as an open box."""
    ids = tokenizer.encode(text)
    pieces = [tokenizer.piece(token).decode().replace(" ", "␣") for token in ids]
    widths = [30 + 9 * len(piece) for piece in pieces]
    drawing = Drawing(max(20 + sum(widths) + 8 * len(widths), 520), 150)
    drawing.text(14, 26, text, "name", "start")
    x = 14
    for token, piece, width in zip(ids, pieces, widths, strict=True):
        drawing.box(x, 44, width, 32, piece)
        drawing.arrow((x + width // 2, 78), (x + width // 2, 98))
        drawing.box(x, 100, width, 32, str(token), kind="data")
        x += width + 8
    return drawing


def draw_model() -> Drawing:
    """The layers of the model from bottom to top, with the shape after each."""
    drawing = Drawing(700, 470)
    layers = [
        ("token ids", "", "data", "(B, T)"),
        (
            "token embedding + position embedding",
            "a row for each token, a row for each place",
            "box",
            "(B, T, 128)",
        ),
        ("attention, 4 heads", "looks at earlier tokens", "box", "(B, T, 128)"),
        ("add, LayerNorm", "", "mark", "(B, T, 128)"),
        (
            "feed-forward: 128 to 256, GELU, 256 to 128",
            "computes with each token alone",
            "box",
            "(B, T, 128)",
        ),
        ("add, LayerNorm", "", "mark", "(B, T, 128)"),
        ("output projection", "a score for each token of the vocabulary", "box", "(B, T, 8000)"),
    ]
    heights = [32, 46, 46, 32, 46, 32, 46]
    y = 450
    places = []
    for (name, small, kind, shape), height in zip(layers, heights, strict=True):
        y -= height
        drawing.box(140, y, 360, height, name, small, kind)
        drawing.text(520, y + height // 2 + 4, shape, anchor="start")
        places.append((y, height))
        if len(places) > 1:
            drawing.arrow((320, y + height + 22), (320, y + height + 2))
        y -= 22
    top, bottom = places[5][0] - 8, places[2][0] + places[2][1] + 8
    drawing.parts.append(
        f'<rect x="98" y="{top}" width="412" height="{bottom - top}" rx="8" fill="none" stroke="#57606a"'
        ' stroke-dasharray="5 4"/>'
    )
    drawing.text(50, (top + bottom) // 2, "block, twice", "name")
    for start, end in ((2, 3), (4, 5)):  # the way around a sublayer
        below = places[start][0] + places[start][1] + 12
        goal = places[end][0] + places[end][1] // 2
        drawing.arrow((320, below), (112, below), (112, goal), (138, goal))
    return drawing


def draw_windows() -> Drawing:
    """The text as a row of tokens, cut into windows; the targets are one token later."""
    drawing = Drawing(860, 270)
    drawing.text(
        14,
        24,
        "the text, one token after the other (a window has 4 tokens here, 128 in truth)",
        anchor="start",
    )
    words = ["BOS", "My", "sister", "lives", "in", "London", ".", "EOS", "BOS", "She", "works", "at", "a"]
    for number, word in enumerate(words):
        drawing.box(14 + 64 * number, 34, 58, 30, word, kind="data")
    for window in range(3):
        x = 14 + 64 * 4 * window
        drawing.parts.append(f'<path class="arrow" d="M{x} 72 v8 h{64 * 4 - 6} v-8"/>')
        drawing.text(x + 125, 98, f"window {window + 1}")
    drawing.text(14, 140, "window 1", "name", "start")
    for row, (name, start) in enumerate((("input", 0), ("target", 1))):
        y = 158 + 52 * row
        drawing.text(14, y + 20, name, anchor="start")
        for number in range(4):
            drawing.box(78 + 84 * number, y, 76, 30, words[start + number], kind="mark" if row else "data")
            if row:
                drawing.arrow((116 + 84 * number, 190), (116 + 84 * number, 208))
    drawing.text(430, 200, "each position predicts the token below it", anchor="start")
    return drawing


def draw_loop() -> Drawing:
    """The five parts of a training step, in a circle."""
    drawing = Drawing(780, 170)
    parts = [
        ("batch", "32 windows", "data"),
        ("forward pass", "logits", "box"),
        ("loss", "one number", "mark"),
        ("backward pass", "gradients", "box"),
        ("optimizer step", "new weights", "box"),
    ]
    for number, (name, small, kind) in enumerate(parts):
        x = 14 + 154 * number
        drawing.box(x, 30, 124, 52, name, small, kind)
        if number:
            drawing.arrow((x - 30, 56), (x - 2, 56))
    drawing.arrow((692, 84), (692, 130), (76, 130), (76, 86))
    drawing.text(384, 148, "again, with the next batch")
    return drawing


def draw_all(folder: Path, tokenizer: Tokenizer) -> None:
    """Write all drawings to a folder."""
    draw_steps().write(folder / "steps.svg")
    draw_tokens(tokenizer, "My sister lives in London.").write(folder / "tokens.svg")
    draw_model().write(folder / "model.svg")
    draw_windows().write(folder / "windows.svg")
    draw_loop().write(folder / "loop.svg")
